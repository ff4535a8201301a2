//go:build foreign

package certs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"openbank/certs"
)

// These tests ask keytool and openssl, which not every machine has: make test-stores runs them, make test does not.

func ask(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestJavaAndOpenSSLReadTheSet(t *testing.T) {
	t.Parallel()
	o := generated(t, certs.Options{})
	for _, name := range []string{"kafka-1", "kafka-2", "kafka-3", "schema-registry", "command-handler", "command-generator", "heartbeat", "graphql-endpoint"} {
		files, stores := o.Files(name), o.Stores(name)
		if got := ask(t, "keytool", "-list", "-v", "-keystore", stores.KeyStore, "-storepass", stores.Password); !strings.Contains(got, "PrivateKeyEntry") || !strings.Contains(got, "Owner: CN="+name+"\n") || !strings.Contains(got, "Certificate chain length: 2") {
			t.Errorf("keytool finds in %s\n%s", stores.KeyStore, got)
		}
		// Listing does not decrypt the key, copying does.
		again := certs.Files{KeyStore: filepath.Join(t.TempDir(), "again"), TrustStore: stores.TrustStore, Password: stores.Password}
		ask(t, "keytool", "-importkeystore", "-srckeystore", stores.KeyStore, "-srcstorepass", stores.Password, "-destkeystore", again.KeyStore, "-deststorepass", again.Password, "-deststoretype", "PKCS12")
		if _, err := certs.ClientTLS(again); err != nil {
			t.Error(err)
		}
		if got := ask(t, "keytool", "-list", "-keystore", stores.TrustStore, "-storepass", stores.Password); !strings.Contains(got, "trustedCertEntry") {
			t.Errorf("keytool finds in %s\n%s", stores.TrustStore, got)
		}
		for _, store := range []string{stores.KeyStore, stores.TrustStore} {
			if got := ask(t, "openssl", "pkcs12", "-in", store, "-passin", "pass:"+stores.Password, "-nodes"); !strings.Contains(got, "BEGIN CERTIFICATE") {
				t.Errorf("openssl finds in %s\n%s", store, got)
			}
		}
		ask(t, "openssl", "verify", "-CAfile", files.CA, files.Cert)
		ask(t, "openssl", "pkey", "-in", files.Key, "-passin", "pass:"+files.Password, "-check", "-noout")
	}
}

// The command that the error gives is run as it stands there.
func TestAJKSIsMendedAsItIsSaid(t *testing.T) {
	t.Parallel()
	store := filepath.Join(t.TempDir(), "kafka.command-handler.keystore.jks")
	if err := os.WriteFile(store, read(t, fixture("java.jks")), 0o600); err != nil {
		t.Fatal(err)
	}
	files := certs.Files{KeyStore: store, Password: certs.DefaultPassword}
	_, err := certs.ClientTLS(files)
	_, command, _ := strings.Cut(err.Error(), "as "+store+".old: ")
	words := strings.Fields(command)
	if len(words) == 0 || words[0] != "keytool" {
		t.Fatalf("no command in: %v", err)
	}
	ask(t, words[0], append(words[1:], "-srcstorepass", files.Password, "-deststorepass", files.Password)...) // it would ask for them
	if _, err := certs.ClientTLS(files); err != nil {
		t.Error(err)
	}
	if string(read(t, store+".old")) != string(read(t, fixture("java.jks"))) {
		t.Error("the old store is not kept")
	}
}
