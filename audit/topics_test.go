package audit

import (
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"openbank/connect"
)

// What retention takes while the topics are being read is no violation: the client goes on behind it.
func TestWhatIsDeletedWhileItIsBeingReadIsNotMissed(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]struct{ read, deleted int64 }{
		"the beginning": {0, 6}, "all of it": {0, 10}, "what comes next": {3, 6}, "what was read": {6, 3}, "all that comes": {3, 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			readWhileItIsDeleted(t, of.read, of.deleted)
		})
	}
}

func TestWhatThereIsNoneOfIsNamed(t *testing.T) {
	t.Parallel()
	topics := DefaultTopics()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topics.all()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	topics.ConfirmMoneyTransfer = "nope"
	for name, c := range map[string]struct{ brokers, says string }{
		"a topic": {cluster.ListenAddrs()[0], "there is no topic nope: run synchronizer apply first, or name the bank's topics (KAFKA_CMT_TOPIC and its like)"},
		"brokers": {"127.0.0.1:1", "connection refused: nothing answers there (named in KAFKA_BROKERS"},
	} {
		_, err := ReadTopics(t.Context(), connect.Kafka{Brokers: []string{c.brokers}}, nil, topics, nil)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// readWhileItIsDeleted has a topic of ten records, of which some are read before some are deleted.
func readWhileItIsDeleted(t *testing.T, read, until int64) {
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
	written := func(offset int64) time.Time { return time.UnixMilli(1_700_000_000_000 + offset) }
	write := func(from, to int64) {
		t.Helper()
		for offset := from; offset < to; offset++ {
			r := &kgo.Record{Topic: topics.ConfirmMoneyTransfer, Value: []byte("garbage"), Timestamp: written(offset)}
			if err := writer.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(0, read)
	deleted, holding := make(chan struct{}), make(chan struct{})
	hold := sync.OnceFunc(func() { close(holding) })
	var held atomic.Bool
	cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if held.Load() {
			hold()
			cluster.SleepControl(func() { <-deleted })
		}
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
	p := Partition{topics.ConfirmMoneyTransfer, 0}
	if err := r.reach(t.Context(), map[Partition]int64{p: read}); err != nil {
		t.Fatal(err)
	}
	held.Store(true)
	select {
	case <-holding: // no fetch from before waits for what is written now
	case <-time.After(time.Minute):
		t.Fatal("nothing is fetched")
	}
	write(read, 10)
	var before kadm.Offsets
	before.AddOffset(topics.ConfirmMoneyTransfer, 0, until, -1)
	if _, err := kadm.NewClient(writer).DeleteRecords(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	close(deleted)
	if err := r.reach(t.Context(), map[Partition]int64{p: 10}); err != nil {
		t.Fatal(err)
	}
	if err := r.finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := r.evidence.Scope
	var oldest time.Time // that may be taken for the first one that was not deleted unread
	switch {
	case until == 10:
	case read > until:
		oldest = written(0)
	default:
		oldest = written(until)
	}
	if at, cut := s.Cut[p.Topic]; s.Starts[p] != until || !cut || !at.Equal(oldest) || len(r.evidence.Deliveries) != int(10-max(until-read, 0)) {
		t.Errorf("%d records were read, and the scope is %+v", len(r.evidence.Deliveries), s)
	}
}
