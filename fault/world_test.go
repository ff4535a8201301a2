package fault

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/audit"
	"openbank/connect"
	"openbank/embedded"
	"openbank/registry"
	"openbank/topology"
)

// world is a bank's surroundings behind proxies. Many schedules run in it, one after the other, each with topics, a group and
// a database of its own.
type world struct {
	bank     *servers
	brokers  []*proxy
	registry *proxy
	postgres *proxy

	kafka  connect.Kafka
	client *kgo.Client // produces and administers
	direct *registry.Client
	codec  *connect.Codec

	fill func(ctx context.Context, long time.Duration) error // takes all room on Postgres' disk for a while
}

const brokerCount = 3

// newWorld starts everything; it ends with the test.
func newWorld(t *testing.T, server embedded.PostgresConfig) *world {
	t.Helper()
	w := &world{registry: newProxy(t), postgres: newProxy(t)}
	config := embedded.Config{Postgres: server}
	for range brokerCount {
		p := newProxy(t)
		port, err := embedded.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		w.brokers = append(w.brokers, p)
		config.Kafka.Ports = append(config.Kafka.Ports, port)
		config.Kafka.Advertised = append(config.Kafka.Advertised, p.port())
	}
	var err error
	if w.bank, err = startServers(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := w.bank.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	for i, p := range w.brokers {
		p.aim(t, fmt.Sprintf("127.0.0.1:%d", config.Kafka.Ports[i]))
	}
	w.registry.aim(t, host(t, w.bank.Registry.URL()))
	w.postgres.aim(t, host(t, w.bank.Postgres.URL("")))

	w.kafka = connect.Kafka{
		Brokers: strings.Split(w.bank.Getenv("KAFKA_BROKERS"), ","),
		SSLCA:   w.bank.Getenv("KAFKA_SSL_CA_LOCATION"), SSLCert: w.bank.Getenv("KAFKA_SSL_CERT_LOCATION"),
		SSLKey: w.bank.Getenv("KAFKA_SSL_KEY_LOCATION"), SSLKeyPassword: w.bank.Getenv("KAFKA_SSL_KEY_PASSWORD"), SSLVerifyHostname: true,
	}
	if w.direct, err = (connect.Registry{URLs: []string{w.bank.Registry.URL()}}).Client(slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.direct.Close)
	w.codec = connect.NewCodec(w.direct)
	// A connection that ends at once is of our own making: it is tried again.
	w.client, err = w.kafka.Client("test", kgo.ProducerLinger(0), kgo.MaxBufferedRecords(200000), kgo.MetadataMinAge(100*time.Millisecond), kgo.AlwaysRetryEOF())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.Close)
	return w
}

func host(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// synchronize makes a schedule's topics and registers their schemas.
func (w *world) synchronize(ctx context.Context, name func(topic string) string) error {
	want, err := topology.Default()
	if err != nil {
		return err
	}
	for i := range want.Topics {
		t := &want.Topics[i]
		for j := range t.Schemas {
			t.Schemas[j].Subject = strings.Replace(t.Schemas[j].Subject, t.Name+"-", name(t.Name)+"-", 1)
		}
		if source, ok := strings.CutSuffix(t.Name, ".dead-letter"); ok {
			t.Name = audit.DeadLetter(name(source))
		} else {
			t.Name = name(t.Name)
		}
		t.Partitions = min(t.Partitions, partitions)
		config := map[string]string{}
		maps.Copy(config, t.Config)
		config["retention.ms"] = "-1" // some senders' clocks are behind by more than is kept otherwise
		t.Config = config
	}
	target := &topology.Target{Kafka: w.client, Registry: w.direct, Brokers: brokerCount, Logger: slog.New(slog.DiscardHandler)}
	plan, err := target.Plan(ctx, want)
	if err != nil {
		return err
	}
	return target.Apply(ctx, plan)
}

// partitions is how many a topic of transfers has.
const partitions = 3

// environment is how a handler reaches the bank through the proxies.
func (w *world) environment(database string) []string {
	return append(w.bank.Environment(), "SCHEMA_REGISTRY_URL="+w.registry.before(w.bank.Registry.URL()), "DATABASE_URL="+w.postgres.before(w.bank.Postgres.URL(database)))
}

// make makes a fault and waits until it is over. Join and leave, and poison, are the run's.
func (w *world) make(ctx context.Context, f fault) error {
	while := func() {
		select {
		case <-time.After(f.long):
		case <-ctx.Done():
		}
	}
	if w.fill != nil && f.where == postgres {
		return w.fill(ctx, f.long)
	}
	if f.what == restart {
		if f.where == postgres {
			w.bank.Postgres.Kill()
			while()
			return w.bank.Postgres.Start(context.WithoutCancel(ctx))
		}
		return w.restartBrokers(ctx, f, while)
	}
	network := networkFaults[f.what]
	switch f.where {
	case oneBroker:
		network(w.brokers[f.broker()], while)
	case registrar:
		network(w.registry, while)
	case postgres:
		network(w.postgres, while)
	case brokers:
		done := make(chan struct{})
		for _, p := range w.brokers {
			go func() {
				network(p, while)
				done <- struct{}{}
			}()
		}
		for range w.brokers {
			<-done
		}
	}
	return nil
}
