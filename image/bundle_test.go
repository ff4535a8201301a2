//go:build docker

package image

import (
	"context"
	"database/sql"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"time"

	_ "github.com/lib/pq" // the driver
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
	"openbank/connect"
	"openbank/embedded"
	"openbank/predecessor"
	"openbank/realkafka"
)

// bundle is what a container of the handler needs around it, on the host.
type bundle struct {
	t        *testing.T
	ctx      context.Context // bounds all of the test
	layout   predecessor.Layout
	cluster  *realkafka.Cluster
	schemas  *realkafka.Registry
	postgres *embedded.Postgres
	kafka    connect.Kafka
	codec    *connect.Codec
	client   *kgo.Client
}

func setup(t *testing.T, config realkafka.Config, layout predecessor.Layout) *bundle {
	t.Helper()
	b := &bundle{t: t, layout: layout}
	b.startServers(config)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	b.ctx = ctx

	files := b.cluster.Certificates().Files("command-handler")
	b.kafka = connect.Kafka{
		Brokers: b.cluster.Addresses(), SSLCA: files.CA, SSLCert: files.Cert, SSLKey: files.Key, SSLKeyPassword: files.Password, SSLVerifyHostname: true,
	}
	registry, err := (connect.Registry{URLs: []string{b.schemas.URL()}}).Client(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(registry.Close)
	b.codec = connect.NewCodec(registry)
	if b.client, err = b.kafka.Client("test", kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.client.Close)
	return b
}

func (b *bundle) startServers(config realkafka.Config) {
	t := b.t
	t.Helper()
	var err error
	if b.cluster, err = realkafka.Start(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.cluster.Close(); err != nil {
			t.Error(err)
		}
	})
	if b.schemas, err = realkafka.StartRegistry(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.schemas.Close(); err != nil {
			t.Error(err)
		}
	})
	if b.postgres, err = embedded.StartPostgres(t.Context(), embedded.PostgresConfig{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // t's is done
		defer cancel()
		if err := b.postgres.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	db, err := sql.Open("postgres", b.postgres.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // it was only for this
	if err := b.layout.Create(t.Context(), db); err != nil {
		t.Fatal(err)
	}
}

// environment is what every service of the stack is told.
func (b *bundle) environment() []string {
	return []string{"KAFKA_BROKERS=" + strings.Join(b.cluster.Addresses(), ","), "SCHEMA_REGISTRY_URL=" + b.schemas.URL()}
}

// database says where Postgres is, as the layout's handler is told.
func (b *bundle) database() []string {
	where, err := url.Parse(b.postgres.URL(""))
	if err != nil {
		b.t.Fatal(err)
	}
	if b.layout.Name == predecessor.Clojure.Name {
		return []string{"KAFKA_CLIENT_ID=command-handler", "DB_HOSTNAME=" + where.Hostname(), "DB_PORT=" + where.Port(), "DB_PASSWORD=" + predecessor.Password}
	}
	address, err := b.layout.URL(where.String())
	if err != nil {
		b.t.Fatal(err)
	}
	return []string{"DATABASE_URL=" + address}
}

// options are a container's: on the host's network, with the certificates where the stack has them.
func (b *bundle) options(environment []string) []string {
	options := []string{"--network", "host", "--volume", b.cluster.Certificates().Dir + ":/etc/kafka/secrets:ro"}
	for _, variable := range environment {
		options = append(options, "--env", variable)
	}
	return options
}

// record is a command as the stack's clients send it.
func (b *bundle) record(topic string, id bank.ID, command any) *kgo.Record {
	b.t.Helper()
	wire, err := b.codec.Encode(b.ctx, topic, command)
	if err != nil {
		b.t.Fatal(err)
	}
	return &kgo.Record{Topic: topic, Key: []byte(id.String()), Value: wire}
}

func (b *bundle) produce(records []*kgo.Record) {
	b.t.Helper()
	if err := b.client.ProduceSync(b.ctx, records...).FirstErr(); err != nil {
		b.t.Fatal(err)
	}
}

func newID() (id bank.ID) {
	binary.BigEndian.PutUint64(id[:8], rand.Uint64())
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	return id
}
