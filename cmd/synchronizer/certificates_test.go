//go:build !realkafka

package main

import (
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"openbank/certs"
)

// named is a listener on a loopback address that goes by localhost, as a broker tells its clients where it is.
type named struct{ net.Listener }

type localhost string

func (n named) Addr() net.Addr {
	_, port, _ := net.SplitHostPort(n.Listener.Addr().String())
	return localhost(net.JoinHostPort("localhost", port))
}

func (localhost) Network() string  { return "tcp" }
func (l localhost) String() string { return string(l) }

// In the stack of 2019 a certificate names its host in the CN alone, which Go's own check does not look at.
func TestServersWithACNAloneAreTrustedByTheirName(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		server string // whose certificate brokers and registry show
		says   string
	}{
		"the host's own": {"localhost", ""},
		"another host's": {"kafka-1", "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := certs.Options{Dir: filepath.Join(t.TempDir(), "certs"), Servers: []string{c.server}, CNOnly: true}
			if err := certs.Generate(o); err != nil {
				t.Fatal(err)
			}
			server, err := certs.ServerTLS(o.Files(c.server))
			if err != nil {
				t.Fatal(err)
			}
			kafka, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.TLS(server), kfake.ListenFn(func(network, _ string) (net.Listener, error) {
				listener, err := net.Listen(network, "127.0.0.1:0")
				return named{listener}, err
			}))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(kafka.Close)
			registry := srfake.New()
			t.Cleanup(registry.Close)
			plain, err := url.Parse(registry.URL())
			if err != nil {
				t.Fatal(err)
			}
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			front := &http.Server{Handler: httputil.NewSingleHostReverseProxy(plain), TLSConfig: server}
			served := make(chan struct{})
			go func() {
				defer close(served)
				_ = front.ServeTLS(listener, "", "") // it ends by Close alone
			}()
			t.Cleanup(func() { _ = front.Close(); <-served })

			pem, stores := o.Files("command-handler"), o.Stores("command-handler")
			common := map[string]string{
				"KAFKA_BROKERS":               strings.Join(kafka.ListenAddrs(), ","),
				"SCHEMA_REGISTRY_URL":         "https://" + named{listener}.Addr().String(),
				"SCHEMA_REGISTRY_CA_LOCATION": pem.CA, "SCHEMA_REGISTRY_CERT_LOCATION": pem.Cert,
				"SCHEMA_REGISTRY_KEY_LOCATION": pem.Key, "SCHEMA_REGISTRY_KEY_PASSWORD": pem.Password,
			}
			for handler, own := range map[string]map[string]string{
				"Rust": {"KAFKA_SSL_CA_LOCATION": pem.CA, "KAFKA_SSL_CERT_LOCATION": pem.Cert, "KAFKA_SSL_KEY_LOCATION": pem.Key, "KAFKA_SSL_KEY_PASSWORD": pem.Password},
				"Clojure": {
					"SSL_KEYSTORE_LOCATION": filepath.Base(stores.KeyStore), "SSL_TRUSTSTORE_LOCATION": filepath.Base(stores.TrustStore),
					"SSL_PASSWORD": stores.Password, "SSL_STORE_DIRECTORY": o.Dir,
				},
			} {
				getenv := func(variable string) string {
					if value := own[variable]; value != "" {
						return value
					}
					return common[variable]
				}
				got := synchronize(t, getenv, "apply")
				if c.says == "" && got.err != nil || c.says != "" && (got.err == nil || !strings.Contains(got.err.Error(), c.says)) {
					t.Errorf("in the %s handler's environment: %+v", handler, got)
				}
			}
		})
	}
}
