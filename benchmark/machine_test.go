package benchmark

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/embedded"
	"openbank/surroundings"
)

func TestBrokersOfAnotherMakeAreCalledNoReleaseOfKafka(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options []kfake.Opt
		want    string
	}{
		"the embedded ones": {nil, surroundings.EmbeddedKafka},
		"others":            {[]kfake.Opt{kfake.ClusterID("another")}, "none of Apache Kafka's releases, by their API versions"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kafka, err := embedded.StartKafka(t.Context(), embedded.KafkaConfig{Brokers: 1, Options: c.options})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := kafka.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}()
			client, err := kgo.NewClient(kgo.SeedBrokers(kafka.Addresses()))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if got, err := brokersVersion(t.Context(), kadm.NewClient(client)); err != nil || got != c.want {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}
