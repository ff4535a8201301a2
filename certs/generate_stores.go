package certs

import (
	"crypto/x509"
	"fmt"

	"software.sslmate.com/src/go-pkcs12"
)

// storeEncoder writes with 3DES and a SHA-1 MAC, not for their strength: the Java 8 of the stack's images of 2019 reads
// nothing newer, OpenSSL 3 nothing older (RC2), and every later one of either reads this. The iterations are as many as
// keytool makes.
var storeEncoder = pkcs12.LegacyDES.WithIterations(10_000)

func keyStoreName(name string) string   { return "kafka." + name + ".keystore.jks" }
func trustStoreName(name string) string { return "kafka." + name + ".truststore.jks" }

// credentialNames are what the brokers' images read passwords from.
func credentialNames(name string) []string {
	return []string{name + "_sslkey_creds", name + "_keystore_creds", name + "_truststore_creds"}
}

// stores are an identity and the CA in the form that the JVM services have them.
func (o Options) stores(name string, own, root *identity) ([]file, error) {
	if o.WithoutStores {
		return nil, nil
	}
	authority := []*x509.Certificate{root.certificate}
	key, err := storeEncoder.Encode(own.key, own.certificate, authority, o.Password)
	if err != nil {
		return nil, fmt.Errorf("making %s: %w", keyStoreName(name), err)
	}
	trust, err := storeEncoder.EncodeTrustStoreEntries([]pkcs12.TrustStoreEntry{{Cert: root.certificate, FriendlyName: "caroot"}}, o.Password)
	if err != nil {
		return nil, fmt.Errorf("making %s: %w", trustStoreName(name), err)
	}
	return []file{{keyStoreName(name), key, 0o600}, {trustStoreName(name), trust, 0o644}}, nil
}

func (o Options) credentials(name string) []file {
	if o.WithoutStores {
		return nil
	}
	var files []file
	for _, name := range credentialNames(name) {
		files = append(files, file{name, []byte(o.Password + "\n"), 0o600})
	}
	return files
}
