// Package certs answers for TLS identities: it reads the certificate and key files of the open-bank stack in every form
// that they come in, checks servers the way the stack needs, and makes a development CA with certificates under the
// stack's names.
//
// The stack's brokers have certificates of 2019's kind, with the host name as CN and no alternative names. librdkafka
// accepts those, crypto/tls does not look at the CN; the configurations made here accept a CN that is the host name, and
// only when there are no alternative names.
//
// Errors name the file and what is wrong with it; passwords and keys are never part of one. Out of scope: stores in Java's
// own format (JKS), revocation, and being a CA for anything but development.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Files are where a TLS identity lies: PEM, or PKCS#12 stores as Java has them, or one of each.
type Files struct {
	// CA holds the certificates that the other side's is checked against. Empty: the system's.
	CA string
	// Cert and Key are the own certificate (and what leads from it to the CA) and its key: PKCS#8 or traditional,
	// encrypted or not. Both empty: a client without a certificate.
	Cert, Key string
	// TrustStore stands in for CA, KeyStore for Cert and Key; PKCS#12 both.
	TrustStore, KeyStore string
	// Password decrypts Key, and opens the stores. It is not looked at when Key is not encrypted.
	Password string
	// SkipHostname has a client check only that the server's certificate is the CA's, not whose it is.
	SkipHostname bool
}

// ClientTLS is a client's configuration. A dialer must set ServerName to the host that it dials, as net/http and
// franz-go do. crypto/tls does not pass an IP address on to the check: for one, the certificate must be for IP addresses,
// but which is not compared. Dialer does compare.
func ClientTLS(files Files) (*tls.Config, error) {
	config, err := files.load()
	if err != nil {
		return nil, err
	}
	roots, skip := config.RootCAs, files.SkipHostname
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if !skip && state.ServerName == "" {
			return verifyServer(roots, state, func(leaf *x509.Certificate) error {
				if len(leaf.IPAddresses) == 0 {
					return errors.New("an IP address was dialled, and the server's certificate is for names alone: dial it by name")
				}
				return nil
			})
		}
		return verifyServer(roots, state, hostCheck(state.ServerName, skip))
	}
	return config, nil
}

// Dialer dials with the client's configuration and checks the certificate against the host part of the address that it
// is given, IP addresses too. timeout bounds connecting and handshake together; 0 leaves that to the context.
func Dialer(files Files, timeout time.Duration) (func(ctx context.Context, network, address string) (net.Conn, error), error) {
	base, err := files.load()
	if err != nil {
		return nil, err
	}
	roots, skip := base.RootCAs, files.SkipHostname
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("dialling %q: %w", address, err)
		}
		config := base.Clone()
		config.ServerName = host
		config.VerifyConnection = func(state tls.ConnectionState) error {
			return verifyServer(roots, state, hostCheck(host, skip))
		}
		dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: timeout}, Config: config}
		if timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		return dialer.DialContext(ctx, network, address)
	}, nil
}

// ServerTLS is the configuration of a server that lets in only clients with a certificate of the CA.
func ServerTLS(files Files) (*tls.Config, error) {
	config, err := files.load()
	if err != nil {
		return nil, err
	}
	if config.RootCAs == nil || len(config.Certificates) == 0 {
		return nil, errors.New("a server needs a CA, a certificate and a key")
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: config.Certificates, ClientCAs: config.RootCAs, ClientAuth: tls.RequireAndVerifyClientCert,
	}, nil
}

// load reads the files into a configuration that checks nothing yet: its user sets VerifyConnection.
func (f Files) load() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true} // VerifyConnection verifies, CN included
	trusted, err := f.trusted()
	if err != nil {
		return nil, err
	}
	if trusted != nil {
		config.RootCAs = x509.NewCertPool()
		for _, certificate := range trusted {
			config.RootCAs.AddCert(certificate)
		}
	}
	own, err := f.own()
	if err != nil {
		return nil, err
	}
	if own != nil {
		config.Certificates = []tls.Certificate{*own}
	}
	return config, nil
}

// trusted are the certificates that the other side's is checked against; none are the system's.
func (f Files) trusted() ([]*x509.Certificate, error) {
	switch {
	case f.CA != "" && f.TrustStore != "":
		return nil, fmt.Errorf("there are two sets of trusted certificates, %s and %s: name one of them", f.CA, f.TrustStore)
	case f.CA != "":
		return readCertificates("CA certificate", f.CA)
	case f.TrustStore != "":
		return readTrustStore(f.TrustStore, f.Password)
	}
	return nil, nil
}

// own is the own certificate with its key; nil when there is none.
func (f Files) own() (*tls.Certificate, error) {
	var own tls.Certificate
	var err error
	switch {
	case f.KeyStore != "" && (f.Cert != "" || f.Key != ""):
		return nil, fmt.Errorf("there is a key store, %s, and a certificate or key besides: name one or the other", f.KeyStore)
	case f.KeyStore != "":
		own, err = readKeyStore(f.KeyStore, f.Password)
	case f.Cert == "" && f.Key == "":
		return nil, nil
	case f.Cert == "":
		return nil, fmt.Errorf("there is a key, %s, and no certificate for it", f.Key)
	case f.Key == "":
		return nil, fmt.Errorf("there is a certificate, %s, and no key for it", f.Cert)
	default:
		own, err = readPair(f.Cert, f.Key, f.Password)
	}
	if err != nil {
		return nil, err
	}
	return &own, nil
}

// Text is a TLS identity as PEM text, for a library that reads neither every store nor every encryption of a key. Key is
// not encrypted. What Files doesn't name is empty.
type Text struct{ CA, Cert, Key string }

// Text reads the files.
func (f Files) Text() (Text, error) {
	trusted, err := f.trusted()
	if err != nil {
		return Text{}, err
	}
	var text Text
	for _, certificate := range trusted {
		text.CA += certificatePEM(certificate.Raw)
	}
	own, err := f.own()
	if own == nil || err != nil {
		return text, err
	}
	for _, link := range own.Certificate {
		text.Cert += certificatePEM(link)
	}
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		return Text{}, fmt.Errorf("writing the key as PEM: %w", err)
	}
	text.Key = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	return text, nil
}

func certificatePEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// verifyServer checks the chain, then the leaf by check.
func verifyServer(roots *x509.CertPool, state tls.ConnectionState, check func(*x509.Certificate) error) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server sent no certificate")
	}
	leaf := state.PeerCertificates[0]
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()} // the zero KeyUsages is server authentication
	for _, other := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(other)
	}
	if _, err := leaf.Verify(options); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	if err := check(leaf); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	return nil
}

func hostCheck(host string, skip bool) func(*x509.Certificate) error {
	return func(leaf *x509.Certificate) error {
		if skip || namedByCN(leaf, host) {
			return nil
		}
		return leaf.VerifyHostname(host)
	}
}

// namedByCN is RFC 2818's old rule: the CN is the host name, letter case aside, if there is no alternative name of any
// kind. Never for an IP address, as in librdkafka.
func namedByCN(leaf *x509.Certificate, host string) bool {
	none := len(leaf.DNSNames)+len(leaf.IPAddresses)+len(leaf.EmailAddresses)+len(leaf.URIs) == 0
	host = strings.TrimSuffix(host, ".")
	return none && host != "" && net.ParseIP(host) == nil && strings.EqualFold(leaf.Subject.CommonName, host)
}
