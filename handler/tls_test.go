package handler

import (
	"crypto/x509"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"openbank/certs"
)

// A handler waits for brokers that do not take its certificate, or whose it does not take: what it waits for must name the setting.
func TestWhyTLSFailsIsSaidByItsSetting(t *testing.T) {
	t.Parallel()
	identity := func(validFor time.Duration) certs.Files {
		o := certs.Options{Dir: filepath.Join(t.TempDir(), "certs"), Servers: []string{"localhost"}, ValidFor: validFor, WithoutStores: true}
		if err := certs.Generate(o); err != nil {
			t.Fatal(err)
		}
		return o.Files("command-handler")
	}
	ours, expired, stranger := identity(time.Hour), identity(time.Nanosecond), identity(time.Hour)
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM([]byte(read(t, ours.CA)))
	clients.AppendCertsFromPEM([]byte(read(t, expired.CA)))
	secured, ca := broker(t, "localhost", clients)
	elsewhere, elsewhereCA := broker(t, "kafka-1", clients)
	for name, c := range map[string]struct {
		at, ca string
		own    certs.Files
		want   []string
	}{
		"all is well":                     {secured, ca, ours, nil},
		"our certificate has expired":     {secured, ca, expired, []string{"expired certificate", "KAFKA_SSL_CERT_LOCATION and KAFKA_SSL_KEY_LOCATION (or SSL_KEYSTORE_LOCATION)"}},
		"our certificate is a stranger's": {secured, ca, stranger, []string{"KAFKA_SSL_CERT_LOCATION and KAFKA_SSL_KEY_LOCATION (or SSL_KEYSTORE_LOCATION)"}},
		"the broker is a stranger":        {secured, ours.CA, ours, []string{"KAFKA_SSL_CA_LOCATION (or SSL_TRUSTSTORE_LOCATION)"}},
		"the broker is another host":      {elsewhere, elsewhereCA, ours, []string{"KAFKA_SSL_CA_LOCATION", "another host's"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.own.CA = c.ca
			dial, err := certs.Dialer(c.own, 0)
			if err != nil {
				t.Fatal(err)
			}
			const files = "This handler has read two files"
			_, err = Kafka{Brokers: c.at + "," + c.at, Dial: dial, Certificates: files}.ask(t.Context())
			if (err == nil) != (c.want == nil) {
				t.Fatalf("error %v", err)
			}
			if err != nil && strings.Count(err.Error(), files) != 1 {
				t.Errorf("the files are not told once: %v", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
		})
	}
}
