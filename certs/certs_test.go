package certs_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"openbank/certs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// generated is the whole set in a directory of the test.
func generated(t *testing.T, o certs.Options) certs.Options {
	t.Helper()
	o.Dir = filepath.Join(t.TempDir(), "certs")
	if err := certs.Generate(o); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestTheStacksNamesStandInTheDirectory(t *testing.T) {
	t.Parallel()
	o := generated(t, certs.Options{})
	for _, name := range []string{
		"ca-root.crt", "ca-root.key", "command-handler.key", "command-handler-signed.pem", "heartbeat-signed.pem",
		"command-generator.key", "graphql-endpoint.key", "kafka-1.key", "kafka-3-signed.pem", "schema-registry.key",
		"kafka.kafka-1.keystore.jks", "kafka.kafka-3.truststore.jks", "kafka.command-handler.keystore.jks", "kafka.command-generator.truststore.jks",
		"kafka.heartbeat.keystore.jks", "kafka.graphql-endpoint.truststore.jks",
		"kafka-1_sslkey_creds", "kafka-2_keystore_creds", "kafka-3_truststore_creds",
	} {
		info, err := os.Stat(filepath.Join(o.Dir, name))
		if err != nil {
			t.Error(err)
		} else if (strings.HasSuffix(name, ".key") || strings.HasSuffix(name, ".keystore.jks") || strings.HasSuffix(name, "_creds")) && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %s", name, info.Mode())
		}
	}
	said := o.Names()
	slices.Sort(said)
	if got := names(t, o.Dir); got != strings.Join(said, " ") {
		t.Errorf("the directory holds %s, and Names are %s", got, said)
	}
	if err := certs.Check(o, time.Now().Add(24*time.Hour)); err != nil {
		t.Error(err)
	}
	if err := certs.Check(o, time.Now().Add(3*365*24*time.Hour)); err == nil {
		t.Error("they seem to be valid for three years")
	}
}

func TestNothingIsOverwritten(t *testing.T) {
	t.Parallel()
	o := generated(t, certs.Options{Clients: []string{"command-handler"}})
	other := certs.Options{Dir: o.Dir, Servers: []string{"another"}}
	before := names(t, o.Dir)
	if err := certs.Generate(other); err == nil || !strings.Contains(err.Error(), "ca-root.crt is there already") {
		t.Errorf("a second set in the same directory: %v", err)
	}
	if after := names(t, o.Dir); after != before {
		t.Errorf("the directory held %s and holds %s", before, after)
	}
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]string, 0, len(entries))
	for _, entry := range entries {
		all = append(all, entry.Name())
	}
	return strings.Join(all, " ")
}

func TestEveryFormOfAKeyIsRead(t *testing.T) {
	t.Parallel()
	o := generated(t, certs.Options{})
	encrypted := o.Files("command-handler")
	ca, err := certs.ClientTLS(encrypted)
	if err != nil {
		t.Fatal(err)
	}
	key, ok := ca.Certificates[0].PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		t.Fatalf("the key is a %T", ca.Certificates[0].PrivateKey)
	}
	sec1, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	traditional, err := x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", sec1, []byte("secret"), x509.PEMCipher3DES) //nolint:staticcheck // the form under test
	if err != nil {
		t.Fatal(err)
	}
	write := func(block *pem.Block) string {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct{ key, password string }{
		"encrypted PKCS#8":          {encrypted.Key, certs.DefaultPassword},
		"plain PKCS#8":              {write(&pem.Block{Type: "PRIVATE KEY", Bytes: plain}), ""},
		"a password for plain":      {write(&pem.Block{Type: "PRIVATE KEY", Bytes: plain}), "unneeded"},
		"plain traditional":         {write(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}), ""},
		"encrypted traditional PEM": {write(traditional), "secret"},
	} {
		files := encrypted
		files.Key, files.Password = c.key, c.password
		if _, err := certs.ClientTLS(files); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]struct{ key, password, says string }{
		"a wrong password for PKCS#8":          {encrypted.Key, "wrong", "the password is wrong"},
		"no password for PKCS#8":               {encrypted.Key, "", "there is no password for it"},
		"a wrong password for traditional PEM": {write(traditional), "wrong", "the password is wrong"},
		"no password for traditional PEM":      {write(traditional), "", "there is no password for it"},
		"another's key":                        {o.Files("heartbeat").Key, certs.DefaultPassword, "is not the one of the certificate in"},
		"a missing file":                       {filepath.Join(o.Dir, "missing.key"), "", "missing.key: no such file"},
		"a certificate in place of the key":    {encrypted.Cert, "", "there is no private key in"},
		"no file at all":                       {"", "", "no key for it"},
	} {
		files := encrypted
		files.Key, files.Password = c.key, c.password
		_, err := certs.ClientTLS(files)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want it to say %q", name, err, c.says)
		} else if c.key != "" && !strings.Contains(err.Error(), c.key) {
			t.Errorf("%s: %v; want it to name %s", name, err, c.key)
		}
	}
	files := encrypted
	files.CA = encrypted.Key
	if _, err := certs.ClientTLS(files); err == nil || !strings.Contains(err.Error(), "there is no certificate in "+encrypted.Key) {
		t.Errorf("a key in place of the CA: %v", err)
	}
}

// serve answers TLS handshakes on 127.0.0.1 until the test ends, and returns the address.
func serve(t *testing.T, config *tls.Config) string {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if tlsConn, ok := conn.(*tls.Conn); ok {
				if tlsConn.HandshakeContext(context.Background()) == nil {
					_, _ = tlsConn.Write([]byte("!"))
				}
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return listener.Addr().String()
}

// reach shakes hands as a client that dials host, and reads what the server says after it.
func reach(t *testing.T, config *tls.Config, address, host string) error {
	t.Helper()
	config = config.Clone()
	config.ServerName = host
	conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return errors.Join(err, conn.Close())
}

// What stands where a path belongs may be the key.
func TestAKeyInPlaceOfItsPathIsNotTold(t *testing.T) {
	t.Parallel()
	const text = "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----"
	for name, c := range map[string]struct{ value, says string }{
		"a path":                {"/etc/keys/my begin.key", ""},
		"a path and a line end": {"certs_test.go\n", `KEY: "certs_test.go\n" begins or ends with white space; set it to certs_test.go`},
		"a line end of no path": {"hush\n", "KEY has a line break in it"},
		"a key":                 {text, "KEY holds a key or certificate itself; it must be the path of a file"},
		"a key in one line":     {strings.ReplaceAll(text, "\n", ""), "KEY holds a key"},
		"a key without a head":  {"hush\nhush", "KEY has a line break in it"},
	} {
		if err := certs.CheckPath("KEY", c.value); (err == nil) != (c.says == "") || err != nil && (!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hush")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, files := range map[string]certs.Files{
		"a CA": {CA: text}, "a certificate": {Cert: text, Key: "x"}, "a key store": {KeyStore: text}, "a trust store": {TrustStore: text},
	} {
		if _, err := certs.ClientTLS(files); err == nil || strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), "must be the path of a file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheStoresOfASetAreItsIdentities(t *testing.T) {
	t.Parallel()
	o := generated(t, certs.Options{Servers: []string{"kafka-1"}, Clients: []string{"heartbeat"}, Password: "chosen", CNOnly: true, Readable: true})
	server, err := certs.ServerTLS(o.Stores("kafka-1"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := certs.ClientTLS(o.Stores("heartbeat"))
	if err != nil {
		t.Fatal(err)
	}
	address := serve(t, server)
	for host, trusted := range map[string]bool{"kafka-1": true, "localhost": false, "127.0.0.1": false} {
		if err := reach(t, client, address, host); (err == nil) != trusted {
			t.Errorf("%s: %v", host, err)
		}
	}
	pem, err := certs.ClientTLS(o.Files("heartbeat"))
	if err != nil {
		t.Fatal(err)
	}
	if !client.Certificates[0].Leaf.Equal(pem.Certificates[0].Leaf) || !client.RootCAs.Equal(pem.RootCAs) {
		t.Error("stores and PEM files are not the same identity")
	}
	for _, name := range o.Names() {
		info, err := os.Stat(filepath.Join(o.Dir, name))
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != 0o644 {
			t.Errorf("%s is to be read by all, and has mode %s", name, info.Mode())
		}
	}
	if got := string(read(t, filepath.Join(o.Dir, "kafka-1_keystore_creds"))); got != "chosen\n" {
		t.Errorf("the password file says %q", got)
	}
}

func TestClientAndServerOfOneSetTrustEachOther(t *testing.T) {
	t.Parallel()
	o := generated(t, certs.Options{Hosts: []string{"broker.example", "10.1.2.3"}})
	server, err := certs.ServerTLS(o.Files("kafka-1"))
	if err != nil {
		t.Fatal(err)
	}
	address := serve(t, server)
	client, err := certs.ClientTLS(o.Files("command-handler"))
	if err != nil {
		t.Fatal(err)
	}
	for host, trusted := range map[string]bool{
		"kafka-1": true, "localhost": true, "127.0.0.1": true, "::1": true, "broker.example": true, "10.1.2.3": true,
		"kafka-2": false, "elsewhere.example": false,
	} {
		if err := reach(t, client, address, host); (err == nil) != trusted {
			t.Errorf("%s: %v", host, err)
		}
	}
	dial, err := certs.Dialer(o.Files("command-handler"), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := dial(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}

	anonymous, err := certs.ClientTLS(certs.Files{CA: o.Files("").CA})
	if err != nil {
		t.Fatal(err)
	}
	if err := reach(t, anonymous, address, "kafka-1"); err == nil {
		t.Error("a client without a certificate was let in")
	}
	stranger, err := certs.ClientTLS(generated(t, certs.Options{}).Files("command-handler"))
	if err != nil {
		t.Fatal(err)
	}
	if err := reach(t, stranger, address, "kafka-1"); err == nil {
		t.Error("a server of another CA was trusted")
	}
}

// authority is a CA and a server certificate with names as given.
func authority(t *testing.T, cn string, dns []string, ips []net.IP) (caPath string, server *tls.Config) {
	t.Helper()
	caKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: cn}, DNSNames: dns, IPAddresses: ips, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	caPath = filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(caPath, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), 0o600); err != nil {
		t.Fatal(err)
	}
	return caPath, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func TestACommonNameCountsOnlyWithoutAlternativeNames(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cn, host string
		dns      []string
		ips      []net.IP
		trusted  bool
		skipped  bool // trusted when host names are not checked
	}{
		"the CN is the host name, as in the 2019 stack":    {cn: "kafka-1", host: "kafka-1", trusted: true, skipped: true},
		"letter case does not count":                       {cn: "kafka-1", host: "KAFKA-1", trusted: true, skipped: true},
		"the CN is another host's":                         {cn: "kafka-1", host: "kafka-2", skipped: true},
		"an alternative name is there, and the CN is moot": {cn: "kafka-1", host: "kafka-1", dns: []string{"kafka-9"}, skipped: true},
		"a CN is no address":                               {cn: "127.0.0.1", host: "127.0.0.1", skipped: true},
		"an alternative name is the host":                  {cn: "x", host: "kafka-9", dns: []string{"kafka-9"}, trusted: true, skipped: true},
		"an alternative address is the host":               {cn: "x", host: "127.0.0.1", ips: []net.IP{net.IPv4(127, 0, 0, 1)}, trusted: true, skipped: true},
		"an empty CN is nobody's":                          {cn: "", host: "kafka-1", skipped: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca, server := authority(t, c.cn, c.dns, c.ips)
			address := serve(t, server)
			for _, skip := range []bool{false, true} {
				config, err := certs.ClientTLS(certs.Files{CA: ca, SkipHostname: skip})
				if err != nil {
					t.Fatal(err)
				}
				want := c.trusted
				if skip {
					want = c.skipped
				}
				if err := reach(t, config, address, c.host); (err == nil) != want {
					t.Errorf("skip %t: %v", skip, err)
				}
			}
		})
	}
}

func TestADialerComparesTheAddressItself(t *testing.T) {
	t.Parallel()
	for ip, trusted := range map[string]bool{"127.0.0.1": true, "10.1.2.3": false} {
		ca, server := authority(t, "kafka-1", nil, []net.IP{net.ParseIP(ip)})
		address := serve(t, server)
		dial, err := certs.Dialer(certs.Files{CA: ca}, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := dial(t.Context(), "tcp", address)
		if (err == nil) != trusted {
			t.Errorf("a certificate for %s, dialled at %s: %v", ip, address, err)
		}
		if conn != nil {
			_ = conn.Close()
		}
	}
}
