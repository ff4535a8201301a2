package certs_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"openbank/certs"
)

// The stores in testdata are keytool's and openssl's; make.sh beside them makes them.
func fixture(name string) string { return filepath.Join("testdata", name) }

func TestEveryKindOfStoreIsRead(t *testing.T) {
	t.Parallel()
	block, _ := pem.Decode(read(t, fixture("ca.crt")))
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	for _, key := range []string{"jdk17.keystore.jks", "jdk8.keystore.jks", "openssl.p12", "openssl-legacy.p12"} {
		for _, trust := range []string{"jdk17.truststore.jks", "jdk8.truststore.jks"} {
			files := certs.Files{KeyStore: fixture(key), TrustStore: fixture(trust), Password: "openbanksafe"}
			config, err := certs.ClientTLS(files)
			if err != nil {
				t.Errorf("%s and %s: %v", key, trust, err)
				continue
			}
			if !config.RootCAs.Equal(roots) {
				t.Errorf("%s holds another CA", trust)
			}
			if got := subjects(t, config.Certificates[0]); got != "command-handler, fixture intermediate" {
				t.Errorf("%s has the certificates of %s", key, got)
			}
			if _, err := certs.ServerTLS(files); err != nil {
				t.Errorf("a server with %s: %v", key, err)
			}
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func subjects(t *testing.T, pair tls.Certificate) string {
	t.Helper()
	names := make([]string, 0, len(pair.Certificate))
	for _, der := range pair.Certificate {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, certificate.Subject.CommonName)
	}
	return strings.Join(names, ", ")
}

func TestAStoreAsTextIsTheSameIdentity(t *testing.T) {
	t.Parallel()
	text, err := certs.Files{KeyStore: fixture("jdk8.keystore.jks"), TrustStore: fixture("jdk8.truststore.jks"), Password: "openbanksafe"}.Text()
	if err != nil {
		t.Fatal(err)
	}
	if text.CA != string(read(t, fixture("ca.crt"))) {
		t.Errorf("the CA is\n%s", text.CA)
	}
	pair, err := tls.X509KeyPair([]byte(text.Cert), []byte(text.Key))
	if err != nil {
		t.Fatal(err)
	}
	if got := subjects(t, pair); got != "command-handler, fixture intermediate" {
		t.Errorf("the certificates are of %s", got)
	}
}

func TestWhatIsWrongWithAStoreIsSaid(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	key, trust := fixture("jdk17.keystore.jks"), fixture("jdk17.truststore.jks")
	for name, c := range map[string]struct {
		files certs.Files
		says  string
	}{
		"another password for the key store":   {certs.Files{KeyStore: key, Password: "wrong"}, key + ": the password is wrong"},
		"another password for the trust store": {certs.Files{TrustStore: trust, Password: "wrong"}, trust + ": the password is wrong"},
		"another password for an old store":    {certs.Files{KeyStore: fixture("jdk8.keystore.jks"), Password: "wrong"}, "the password is wrong"},
		"no password":                          {certs.Files{KeyStore: key}, key + ": the password is wrong"},
		"a real JKS":                           {certs.Files{KeyStore: fixture("java.jks")}, "keytool -importkeystore -srckeystore testdata/java.jks -destkeystore testdata/java.jks -deststoretype PKCS12"},
		"PEM for a store":                      {certs.Files{TrustStore: fixture("ca.crt")}, "it is PEM, and this has to be a PKCS#12 store"},
		"something else for a store":           {certs.Files{TrustStore: fixture("make.sh")}, "it is not a PKCS#12 store"},
		"an empty file":                        {certs.Files{KeyStore: empty}, "it is empty"},
		"a missing file":                       {certs.Files{KeyStore: fixture("none.jks")}, "reading the key store: open testdata/none.jks: no such file"},
		"a trust store for the key store":      {certs.Files{KeyStore: trust, Password: "openbanksafe"}, trust + ": there is no private key in it, only 1 trusted"},
		"a key store for the trust store":      {certs.Files{TrustStore: key, Password: "openbanksafe"}, key + ": there is a private key in it"},
		"a certificate that nobody trusts":     {certs.Files{TrustStore: fixture("unmarked.p12"), Password: "openbanksafe"}, "marked as trusted"},
		"a store and PEM for one thing":        {certs.Files{CA: "a.crt", TrustStore: "b.jks"}, "a.crt and b.jks: name one of them"},
		"a key store and a key":                {certs.Files{KeyStore: "b.jks", Key: "a.key"}, "b.jks, and a certificate or key besides"},
	} {
		_, err := certs.ClientTLS(c.files)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want it to say %q", name, err, c.says)
		}
		if strings.HasSuffix(c.says, "the password is wrong") && !errors.Is(err, certs.ErrPassword) {
			t.Errorf("%s is no ErrPassword", name)
		}
	}
}
