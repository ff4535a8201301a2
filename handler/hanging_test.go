package handler

import (
	"testing"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What is still under way is aborted, and what is ended is left as it is: brokers that know of a transaction need no help.
func TestEndingWhatHangsEndsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "answers", "events"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	h := &Handler{exactlyOnce: true, cfg: Config{Group: "bank", Kafka: Kafka{Brokers: cluster.ListenAddrs()[0]}}}
	if known, err := h.knows(t.Context(), "bank-0"); err != nil || known {
		t.Errorf("it knows a handler that never was: %t, %v", known, err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.TransactionalID("bank-0"), kgo.DefaultProduceTopic("answers"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), kgo.StringRecord("under way")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if known, err := h.knows(t.Context(), "bank-0"); err != nil || !known {
		t.Errorf("it does not know a handler: %t, %v", known, err)
	}
	if err := h.endTransaction(t.Context(), "bank-0", map[string]int{"answers": 3, "events": 3, "gone": 9}); !isKafka(err, kafka.ErrUnknownTopicOrPart) {
		t.Errorf("a topic that the brokers may not know yet: %v", err)
	}
	if err := h.endTransaction(t.Context(), "bank-0", map[string]int{"answers": 3, "events": 3}); err != nil {
		t.Fatal(err)
	}
	admin := kadm.NewClient(client)
	for _, topic := range []string{"answers", "events"} {
		ends, err := admin.ListEndOffsets(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		stable, err := admin.ListCommittedOffsets(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		for partition := range int32(3) {
			end, _ := ends.Lookup(topic, partition)
			if s, _ := stable.Lookup(topic, partition); end.Offset == 0 || s.Offset != end.Offset {
				t.Errorf("%s %d ends at %d, and for readers of committed records at %d", topic, partition, end.Offset, s.Offset)
			}
		}
	}
	if err := client.ProduceSync(t.Context(), kgo.StringRecord("from a fenced one")).FirstErr(); err == nil {
		t.Error("the handler that had the transaction is not fenced")
	}
}
