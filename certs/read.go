package certs

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/youmark/pkcs8"
)

// CheckPath refuses a setting's value that is no path but what a file holds, as $(cat x.key) makes it: whatever names the path afterwards would
// tell the key. The error doesn't repeat the value, unless it is the path of a file with white space around it.
func CheckPath(setting, value string) error {
	if path := strings.TrimSpace(value); path != value && path != "" {
		_, err := os.Stat(value)
		if _, there := os.Stat(path); err != nil && there == nil {
			return fmt.Errorf("%s: %q begins or ends with white space; set it to %s", setting, value, path)
		}
	}
	switch {
	case strings.Contains(value, "-----BEGIN"):
		return fmt.Errorf("%s holds a key or certificate itself; it must be the path of a file", setting)
	case strings.ContainsAny(value, "\r\n"):
		return fmt.Errorf("%s has a line break in it, as keys and certificates have; it must be the path of a file", setting)
	}
	return nil
}

// CheckFile is CheckPath, and refuses a path at which there is nothing.
func CheckFile(setting, path string) error {
	if err := CheckPath(setting, path); err != nil {
		return err
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("%s: %w", setting, err)
	}
	return nil
}

// readBlocks reads the PEM blocks of a file; there is at least one.
func readBlocks(what, path string) ([]*pem.Block, error) {
	if err := CheckPath("what should name the "+what, path); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the %s: %w", what, err)
	}
	var blocks []*pem.Block
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		blocks, text = append(blocks, block), rest
	}
	if len(blocks) == 0 {
		return nil, fmt.Errorf("reading the %s: %s is not a PEM file", what, path)
	}
	return blocks, nil
}

func readCertificates(what, path string) ([]*x509.Certificate, error) {
	blocks, err := readBlocks(what, path)
	if err != nil {
		return nil, err
	}
	var found []*x509.Certificate
	for _, block := range blocks {
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading the %s in %s: %w", what, path, err)
		}
		found = append(found, certificate)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("reading the %s: there is no certificate in %s", what, path)
	}
	return found, nil
}

func readPair(certPath, keyPath, password string) (tls.Certificate, error) {
	chain, err := readCertificates("certificate", certPath)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := readKey(keyPath, password)
	if err != nil {
		return tls.Certificate{}, err
	}
	if !isKeyOf(key, chain[0]) {
		return tls.Certificate{}, fmt.Errorf("the key in %s is not the one of the certificate in %s", keyPath, certPath)
	}
	pair := tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, certificate := range chain {
		pair.Certificate = append(pair.Certificate, certificate.Raw)
	}
	return pair, nil
}

// readKey reads the first private key in the file.
func readKey(path, password string) (crypto.Signer, error) {
	blocks, err := readBlocks("key", path)
	if err != nil {
		return nil, err
	}
	for _, block := range blocks {
		var key any
		switch block.Type {
		case "ENCRYPTED PRIVATE KEY", "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY":
			key, err = parseKey(block, password)
		default: // parameters, or a certificate beside the key
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the key in %s: %w", path, err)
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("reading the key in %s: a %T cannot sign", path, key)
		}
		return signer, nil
	}
	return nil, fmt.Errorf("reading the key: there is no private key in %s", path)
}

func parseKey(block *pem.Block, password string) (any, error) {
	der := block.Bytes
	encrypted := block.Type == "ENCRYPTED PRIVATE KEY" || x509.IsEncryptedPEMBlock(block) //nolint:staticcheck // see decryptTraditional
	if encrypted && password == "" {
		return nil, errors.New("it is encrypted, and there is no password for it")
	}
	if block.Type == "ENCRYPTED PRIVATE KEY" {
		key, _, err := pkcs8.ParsePrivateKey(der, []byte(password))
		if err != nil {
			return nil, fmt.Errorf("the password is wrong, or the encryption is none that is known here: %w", err)
		}
		return key, nil
	}
	if encrypted {
		var err error
		if der, err = decryptTraditional(block, password); err != nil {
			return nil, err
		}
	}
	key, err := parseDER(block.Type, der)
	if err != nil && encrypted {
		// The format has no checksum: about one wrong password in 256 yields bytes that look right so far.
		return nil, fmt.Errorf("the password is wrong: %w", err)
	}
	return key, err
}

func parseDER(kind string, der []byte) (any, error) {
	switch kind {
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(der)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(der)
	default:
		return x509.ParsePKCS8PrivateKey(der)
	}
}

// decryptTraditional reads what `openssl genrsa -des3` wrote before OpenSSL 3. The format is insecure by design, for
// which the function is deprecated; keys in it are there all the same, and nothing else in the library reads them.
func decryptTraditional(block *pem.Block, password string) ([]byte, error) {
	der, err := x509.DecryptPEMBlock(block, []byte(password)) //nolint:staticcheck // as said above
	if errors.Is(err, x509.IncorrectPasswordError) {
		return nil, errors.New("the password is wrong")
	}
	if err != nil {
		return nil, fmt.Errorf("decrypting: %w", err)
	}
	return der, nil
}
