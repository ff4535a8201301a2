package handler

import (
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/twmb/franz-go/pkg/kfake"

	"openbank/certs"
)

// localhost is a listener on a loopback address that goes by its name, as a broker tells its clients where it is.
type localhost struct{ net.Listener }

type address string

func (l localhost) Addr() net.Addr {
	_, port, _ := net.SplitHostPort(l.Listener.Addr().String())
	return address(net.JoinHostPort("localhost", port))
}

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

// broker takes clients with a certificate that leads to trusted, and names itself in its CN alone.
func broker(t *testing.T, cn string, trusted *x509.CertPool) (address string, ca string) {
	t.Helper()
	o := certs.Options{Dir: filepath.Join(t.TempDir(), "certs"), Servers: []string{cn}, CNOnly: true, WithoutStores: true}
	if err := certs.Generate(o); err != nil {
		t.Fatal(err)
	}
	config, err := certs.ServerTLS(o.Files(cn))
	if err != nil {
		t.Fatal(err)
	}
	config.ClientCAs = trusted
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(config), kfake.ListenFn(func(network, _ string) (net.Listener, error) {
		listener, err := net.Listen(network, "127.0.0.1:0")
		return localhost{listener}, err
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster.ListenAddrs()[0], o.Files(cn).CA
}

// ask asks for metadata as the handler's clients would.
func ask(t *testing.T, k Kafka, patience time.Duration) error {
	t.Helper()
	logs := make(chan kafka.LogEvent, 1000)
	config := k.config("test", logs)
	client, err := kafka.NewAdminClient(&config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.GetMetadata(nil, true, int(patience.Milliseconds()))
	client.Close()
	return err
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The store is one that Java 8 would write, RC2 and all, with an intermediate certificate: librdkafka gets it as text, and must
// show the intermediate too, since the broker knows the root alone. The broker has a CN alone, and the check of it is on.
func TestAStoreThatWasReadIsAnIdentityForLibrdkafka(t *testing.T) {
	t.Parallel()
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM([]byte(read(t, "../certs/testdata/ca.crt")))
	own, err := certs.Files{KeyStore: "../certs/testdata/jdk8.keystore.jks", Password: certs.DefaultPassword}.Text()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cn      string
		skip    bool
		trusted bool
	}{
		"the host's name":                     {"localhost", false, true},
		"another host's":                      {"kafka-1", false, false},
		"another host's, which isn't checked": {"kafka-1", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at, ca := broker(t, c.cn, clients)
			k := Kafka{Brokers: at, TLS: TLS{Text: true, CA: read(t, ca), Cert: own.Cert, Key: own.Key, SkipHostnameCheck: c.skip}}
			patience := 30 * time.Second
			if !c.trusted {
				patience = 3 * time.Second // it tries again and again
			}
			if err := ask(t, k, patience); (err == nil) != c.trusted {
				t.Error(err)
			}
		})
	}
}
