package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/youmark/pkcs8"
)

const (
	// DefaultPassword encrypts the keys in the stack.
	DefaultPassword = "openbanksafe" // it is public, and so is every key that is encrypted with it

	caName          = "ca-root"
	defaultValidFor = 825 * 24 * time.Hour // the longest that macOS accepts of a server
	clockSkew       = time.Hour
)

// Options say what Generate makes, and where. The zero value of each field stands for the stack's.
type Options struct {
	// Dir gets the files that Names lists; it is made when it is missing.
	Dir string
	// Servers get certificates for server and client authentication, with the name, localhost and the loopback addresses
	// as alternative names, and files with the password for each of its uses, as the brokers' images want them. Default:
	// kafka-1 to kafka-3 and schema-registry.
	Servers []string
	// Clients get certificates for client authentication. Default: the stack's four services that talk to Kafka.
	Clients []string
	// Hosts are further alternative names of the servers, names and IP addresses.
	Hosts []string
	// CNOnly leaves the alternative names out, as in the stack of 2019: the servers are then known by their names alone.
	CNOnly bool
	// Password encrypts every key (PKCS#8, AES-256) and store. Default: DefaultPassword.
	Password string
	// ValidFor is how long, from an hour ago, all certificates are valid. Default: 825 days.
	ValidFor time.Duration
	// WithoutStores leaves the PKCS#12 stores and password files out, which take most of the time.
	WithoutStores bool
	// Readable lets every user of the machine read all files, as containers with users of their own must. Otherwise what is
	// secret is the owner's alone.
	Readable bool
}

func (o Options) withDefaults() Options {
	if len(o.Servers) == 0 {
		o.Servers = []string{"kafka-1", "kafka-2", "kafka-3", "schema-registry"}
	}
	if len(o.Clients) == 0 {
		o.Clients = []string{"command-handler", "command-generator", "heartbeat", "graphql-endpoint"}
	}
	if o.Password == "" {
		o.Password = DefaultPassword
	}
	if o.ValidFor == 0 {
		o.ValidFor = defaultValidFor
	}
	return o
}

// Names are the files that Generate makes, in its order.
func (o Options) Names() []string {
	o = o.withDefaults()
	names := []string{caName + ".crt", caName + ".key"}
	for i, name := range slices.Concat(o.Servers, o.Clients) {
		names = append(names, name+"-signed.pem", name+".key")
		if o.WithoutStores {
			continue
		}
		names = append(names, keyStoreName(name), trustStoreName(name))
		if i < len(o.Servers) {
			names = append(names, credentialNames(name)...)
		}
	}
	return names
}

// Files are the identity of one name of the set.
func (o Options) Files(name string) Files {
	o = o.withDefaults()
	return Files{
		CA: filepath.Join(o.Dir, caName+".crt"), Cert: filepath.Join(o.Dir, name+"-signed.pem"), Key: filepath.Join(o.Dir, name+".key"), Password: o.Password,
	}
}

// Stores are the same identity as Files, in PKCS#12.
func (o Options) Stores(name string) Files {
	o = o.withDefaults()
	return Files{KeyStore: filepath.Join(o.Dir, keyStoreName(name)), TrustStore: filepath.Join(o.Dir, trustStoreName(name)), Password: o.Password}
}

// Check returns an error that says which certificate of the set is missing, unreadable, not the CA's, or not valid until
// then.
func Check(options Options, until time.Time) error {
	o := options.withDefaults()
	for _, name := range slices.Concat(o.Servers, o.Clients) {
		files := o.Files(name)
		config, err := files.load()
		if err != nil {
			return err
		}
		for _, at := range []time.Time{time.Now(), until} {
			_, err := config.Certificates[0].Leaf.Verify(x509.VerifyOptions{
				Roots: config.RootCAs, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			})
			if err != nil {
				return fmt.Errorf("checking %s: %w", files.Cert, err)
			}
		}
	}
	return nil
}

// Generate makes a development CA and the certificates that it signs. Keys are ECDSA on P-256, which OpenSSL and every
// JVM since Java 7 take. Nothing is overwritten: a file that is there already is an error, and then nothing is written.
func Generate(options Options) (err error) {
	o := options.withDefaults()
	for _, name := range o.Names() { // before the work; writing looks again
		if _, err := os.Lstat(filepath.Join(o.Dir, name)); err == nil {
			return o.thereAlready(name)
		}
	}
	files, err := o.generate()
	if err != nil {
		return fmt.Errorf("making certificates: %w", err)
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil { // certificates are public, keys have their own mode
		return fmt.Errorf("writing certificates: %w", err)
	}
	var written []string
	defer func() {
		if err == nil {
			return
		}
		for _, path := range written {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	for _, f := range files {
		path := filepath.Join(o.Dir, f.name)
		if o.Readable {
			f.mode = 0o644
		}
		if err := writeNew(path, f.text, f.mode); err != nil {
			if errors.Is(err, fs.ErrExist) {
				return o.thereAlready(f.name)
			}
			return fmt.Errorf("writing certificates: %w", err)
		}
		written = append(written, path)
	}
	return nil
}

func (o Options) thereAlready(name string) error {
	return fmt.Errorf("writing certificates: %s is there already; remove the old set or choose another directory", filepath.Join(o.Dir, name))
}

type file struct {
	name string
	text []byte
	mode fs.FileMode
}

// writeNew writes a file that is not there yet, and leaves none behind when it fails.
func writeNew(path string, text []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// hostName is a name that can stand in a certificate for a server, one of several beneath it (*.) included.
var hostName = regexp.MustCompile(`^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$`)

func (o Options) generate() ([]file, error) {
	seen := map[string]bool{caName: true}
	for _, name := range slices.Concat(o.Servers, o.Clients) {
		if seen[name] || name == "" || filepath.Base(name) != name {
			return nil, fmt.Errorf("%q can't be a name of the set: names are file names, and each stands there once", name)
		}
		seen[name] = true
	}
	for _, host := range slices.Concat(o.Servers, o.Hosts) {
		if net.ParseIP(host) == nil && !hostName.MatchString(host) {
			return nil, fmt.Errorf("%q is neither a host name nor an IP address: nobody could reach a server at it; write one such as kafka-1 or broker.example", host)
		}
	}
	if o.ValidFor < 0 {
		return nil, fmt.Errorf("they can't be valid for %s", o.ValidFor)
	}
	if o.CNOnly && len(o.Hosts) > 0 {
		return nil, fmt.Errorf("servers with a CN alone have no further names such as %s", o.Hosts[0])
	}

	now := time.Now()
	validity := x509.Certificate{NotBefore: now.Add(-clockSkew), NotAfter: now.Add(o.ValidFor)}

	ca := validity
	ca.Subject = pkix.Name{CommonName: "open-bank development CA"}
	ca.IsCA, ca.BasicConstraintsValid, ca.MaxPathLenZero = true, true, true
	ca.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	files, root, err := o.issue(caName+".crt", caName+".key", &ca, nil)
	if err != nil {
		return nil, err
	}
	for _, name := range o.Servers {
		server := validity
		server.Subject = pkix.Name{CommonName: name}
		server.KeyUsage = x509.KeyUsageDigitalSignature
		server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} // brokers are each other's clients
		hosts := slices.Concat([]string{name, "localhost", "127.0.0.1", "::1"}, o.Hosts)
		if o.CNOnly {
			hosts = nil
		}
		for _, host := range hosts {
			if ip := net.ParseIP(host); ip != nil {
				server.IPAddresses = append(server.IPAddresses, ip)
			} else {
				server.DNSNames = append(server.DNSNames, host)
			}
		}
		made, own, err := o.issue(name+"-signed.pem", name+".key", &server, root)
		if err != nil {
			return nil, err
		}
		files = append(files, made...)
		if made, err = o.stores(name, own, root); err != nil {
			return nil, err
		}
		files = append(files, made...)
		files = append(files, o.credentials(name)...)
	}
	for _, name := range o.Clients {
		client := validity
		client.Subject = pkix.Name{CommonName: name}
		client.KeyUsage = x509.KeyUsageDigitalSignature
		client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		made, own, err := o.issue(name+"-signed.pem", name+".key", &client, root)
		if err != nil {
			return nil, err
		}
		files = append(files, made...)
		if made, err = o.stores(name, own, root); err != nil {
			return nil, err
		}
		files = append(files, made...)
	}
	return files, nil
}

// identity is a certificate and its key: a CA that signs, or what it signed.
type identity struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// issue makes a key and its certificate, signed by the identity, or by itself when that is nil.
func (o Options) issue(certName, keyName string, certificate *x509.Certificate, by *identity) ([]file, *identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if certificate.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, nil, err
	}
	if by == nil {
		by = &identity{certificate, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, certificate, by.certificate, key.Public(), by.key)
	if err != nil {
		return nil, nil, fmt.Errorf("signing %s: %w", certName, err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("signing %s: %w", certName, err)
	}
	encrypted, err := pkcs8.MarshalPrivateKey(key, []byte(o.Password), pkcs8.DefaultOpts)
	if err != nil {
		return nil, nil, fmt.Errorf("encrypting %s: %w", keyName, err)
	}
	return []file{
		{certName, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644},
		{keyName, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: encrypted}), 0o600},
	}, &identity{signed, key}, nil
}
