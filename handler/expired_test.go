//go:build !realkafka

package handler_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"openbank/certs"
	"openbank/embedded"
)

// warns wants a line of a warning with all of these texts.
func (h *handler) warns(texts ...string) func() error {
	return func() error {
	lines:
		for _, line := range h.lines() {
			for _, text := range append(texts, "level=WARN") {
				if !strings.Contains(line, text) {
					continue lines
				}
			}
			return nil
		}
		return fmt.Errorf("%s has no warning with %q", filepath.Base(h.log), texts)
	}
}

// generated are the certificates of a bank whose directory is dir, or of nobody's.
func generated(t *testing.T, dir string, validFor time.Duration) certs.Options {
	t.Helper()
	o := certs.Options{Dir: filepath.Join(dir, "certs"), ValidFor: validFor, WithoutStores: true}
	if err := certs.Generate(o); err != nil {
		t.Fatal(err)
	}
	return o
}

// A certificate that runs out under a handler shows when the brokers come back. The handler's own does so here by the brokers' clock.
func TestACertificateThatExpiresUnderAHandlerIsSaidByItsSetting(t *testing.T) {
	t.Parallel()
	const lane = "topic=confirm_money_transfer"
	for name, c := range map[string]struct {
		change func(t *testing.T, brokers *tls.Config)
		says   []string
		asked  string // what the handler's own question to the brokers adds
	}{
		"its own": {func(_ *testing.T, brokers *tls.Config) {
			brokers.Time = func() time.Time { return time.Now().AddDate(4, 0, 0) }
		}, []string{"certificate expired", "set KAFKA_SSL_CERT_LOCATION and KAFKA_SSL_KEY_LOCATION"}, "expired certificate"},
		"the brokers'": {func(t *testing.T, brokers *tls.Config) {
			other, err := certs.ServerTLS(generated(t, t.TempDir(), time.Nanosecond).Files("kafka-1"))
			if err != nil {
				t.Fatal(err)
			}
			brokers.Certificates = other.Certificates
		}, []string{"certificate verify failed", "KAFKA_SSL_CA_LOCATION (or SSL_TRUSTSTORE_LOCATION) vouches for", "or has expired"}, "the certificate of CN=kafka-1 is valid from "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, err := os.MkdirTemp("", "expired-test-")
			if err == nil {
				err = os.Chmod(dir, 0o711) // Postgres may be another user
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			brokers, err := certs.ServerTLS(generated(t, dir, 0).Files("kafka-1"))
			if err != nil {
				t.Fatal(err)
			}
			later := brokers.Clone()
			c.change(t, later)
			var shown atomic.Pointer[tls.Config] // nil for what they began with
			brokers.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return shown.Load(), nil }
			b := setupWith(t, embedded.Config{Dir: dir, Kafka: embedded.KafkaConfig{TLS: brokers}})
			b.synchronize()
			h := b.start(serving)
			b.eventually("it is ready", reasonableTimeout, b.is(h, "/readyz", http.StatusOK, "ready"))

			if err := b.bank.Kafka.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.eventually("it says that Kafka is away", reasonableTimeout, h.warns("no connection to Kafka", lane))
			shown.Store(later)
			if err := b.bank.Kafka.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			files := []string{"KAFKA_SSL_CERT_LOCATION, " + b.kafka.SSLCert + ", valid until 20", "KAFKA_SSL_CA_LOCATION, " + b.kafka.SSLCA + ": start it again"}
			b.eventually("it warns", reasonableTimeout, h.warns(append(append(c.says, files...), lane)...))
			for _, text := range append(files, c.asked) {
				b.eventually("it waits for that", reasonableTimeout, b.is(h, "/readyz", http.StatusServiceUnavailable, text))
			}
			shown.Store(nil)
			b.eventually("it goes on", reasonableTimeout, b.is(h, "/readyz", http.StatusOK, "ready"))
			b.stop(h)
		})
	}
}
