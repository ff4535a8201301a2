//go:build realkafka

package realkafka

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEveryVersionTakesRecordsFromClientsWithACertificate(t *testing.T) {
	for name, config := range map[string]Config{
		"current":            {},
		"current by CN":      {CNOnly: true},
		"of 2019, by CN":     {Version: Old, CNOnly: true},
		"three of 2019":      {Version: Old, Brokers: 3},
		"three of this year": {Brokers: 3, CNOnly: true},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := start(t, config)
			ctx, client := withTopic(t, cluster)
			if err := produce(ctx, client); err != nil {
				t.Error(err)
			}
			stranger, err := kgo.NewClient(kgo.SeedBrokers(cluster.Addresses()...), kgo.RequestRetries(0))
			if err != nil {
				t.Fatal(err)
			}
			defer stranger.Close()
			if err := stranger.Ping(ctx); err == nil {
				t.Error("a client without a certificate got an answer")
			}
		})
	}
}

func TestABrokerHasTheSettingsThatItIsGiven(t *testing.T) {
	const name = "transaction.partition.verification.enable"
	cluster := start(t, Config{Brief: true, Settings: map[string]string{name: "false"}})
	client, err := cluster.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	all, err := kadm.NewClient(client).DescribeBrokerConfigs(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range all[0].Configs {
		if setting.Key == name && setting.MaybeValue() != "false" {
			t.Errorf("%s is %s", name, setting.MaybeValue())
		}
	}
	// Kafka itself passes over it, and whoever misspells a setting would measure without it.
	if _, err := Start(t.Context(), Config{Brief: true, Settings: map[string]string{name + "d": "false"}}); err == nil || !strings.Contains(err.Error(), `no setting "`+name+`d"`) {
		t.Errorf("a setting that there is not: %v", err)
	}
}

func TestABrokerThatWasKilledComesBackWithWhatItHad(t *testing.T) {
	t.Parallel()
	cluster := start(t, Config{Brokers: 3})
	ctx, client := withTopic(t, cluster)
	for i := range 3 {
		cluster.Kill(i)
		if err := produce(ctx, client); err != nil {
			t.Fatalf("with two of three: %v", err)
		}
		if err := cluster.Restart(ctx, i); err != nil {
			t.Fatal(err)
		}
	}
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	if end, _ := ends.Lookup(topic, 0); end.Offset != 3 {
		t.Errorf("%d records, want 3: %v", end.Offset, end.Err)
	}
}

func TestTheRegistryAnswers(t *testing.T) {
	t.Parallel()
	registry, err := StartRegistry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := registry.Close(); err != nil {
		t.Error(err)
	}
}

const topic = "confirm_money_transfer"

func start(t *testing.T, config Config) *Cluster {
	t.Helper()
	config.Brief = true
	cluster, err := Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
	})
	return cluster
}

func withTopic(t *testing.T, cluster *Cluster) (context.Context, *kgo.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute) // three brokers that come back one by one, on a machine with ten times the work
	t.Cleanup(cancel)
	client, err := cluster.Client(kgo.RequiredAcks(kgo.AllISRAcks()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	created, err := kadm.NewClient(client).CreateTopic(ctx, 1, int16(len(cluster.Addresses())), nil, topic) // the old ones have no default
	if err == nil {
		err = created.Err
	}
	if err != nil {
		t.Fatal(err)
	}
	return ctx, client
}

func produce(ctx context.Context, client *kgo.Client) error {
	return client.ProduceSync(ctx, &kgo.Record{Topic: topic, Partition: 0, Value: []byte("a command")}).FirstErr()
}
