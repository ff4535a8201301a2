package audit

import (
	"log/slog"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"openbank/connect"
)

// What retention takes while the topics are being read is no violation: the client goes on behind it.
func TestWhatIsDeletedWhileItIsBeingReadIsNotMissed(t *testing.T) {
	t.Parallel()
	for name, deleted := range map[string]int64{"the beginning": 6, "all of it": 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			readWhileItIsDeleted(t, deleted)
		})
	}
}

func readWhileItIsDeleted(t *testing.T, until int64) {
	topics := DefaultTopics()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topics.all()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	writer, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(writer.Close)
	for range 10 {
		if err := writer.ProduceSync(t.Context(), &kgo.Record{Topic: topics.ConfirmMoneyTransfer, Value: []byte("garbage")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	deleted := make(chan struct{})
	cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		cluster.SleepControl(func() { <-deleted })
		return nil, nil, false
	})
	registry, err := (connect.Registry{URLs: []string{"http://127.0.0.1:1"}}).Client(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(registry.Close)
	r, err := openTopics(t.Context(), connect.Kafka{Brokers: cluster.ListenAddrs()}, connect.NewCodec(registry), topics)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.client.Close)
	var before kadm.Offsets
	before.AddOffset(topics.ConfirmMoneyTransfer, 0, until, -1)
	if _, err := kadm.NewClient(writer).DeleteRecords(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	close(deleted)
	if err := r.reach(t.Context(), r.ends); err != nil {
		t.Fatal(err)
	}
	if err := r.finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := Partition{topics.ConfirmMoneyTransfer, 0}
	s := r.evidence.Scope
	if at, cut := s.Cut[p.Topic]; s.Starts[p] != until || !cut || at.IsZero() != (until == 10) || len(r.evidence.Deliveries) != int(10-until) {
		t.Errorf("%d records were read, and the scope is %+v", len(r.evidence.Deliveries), s)
	}
}
