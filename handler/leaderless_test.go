//go:build !realkafka

package handler_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// leaderless takes the leaders of a topic's partitions away until some are elected. asked is how often somebody was told that there are none.
func (b *bundle) leaderless(topic string) (asked *atomic.Int64, elect func()) {
	b.t.Helper()
	client, err := b.kafka.Client("asks for others")
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(client.Close)
	asked = new(atomic.Int64)
	var elected atomic.Bool
	cluster := b.bank.Kafka.Cluster()
	b.refuse(kmsg.Metadata, func(request kmsg.Request) kmsg.Response {
		asks := request.(*kmsg.MetadataRequest)
		about := slices.ContainsFunc(asks.Topics, func(at kmsg.MetadataRequestTopic) bool { return at.Topic != nil && *at.Topic == topic })
		if elected.Load() || asks.IncludeTopicAuthorizedOperations || asks.Topics != nil && !about {
			return nil
		}
		same := *asks
		same.IncludeTopicAuthorizedOperations = true // by which client's requests are known here
		var answer *kmsg.MetadataResponse
		var err error
		cluster.SleepControl(func() { answer, err = same.RequestWith(b.t.Context(), client) })
		if err != nil {
			b.t.Error("asking for others:", err)
			return nil
		}
		answer.SetVersion(asks.Version)
		for i := range answer.Topics {
			if at := &answer.Topics[i]; at.Topic != nil && *at.Topic == topic {
				asked.Add(1)
				for j := range at.Partitions {
					at.Partitions[j].Leader, at.Partitions[j].ErrorCode = -1, kerr.LeaderNotAvailable.Code
				}
			}
		}
		return answer
	})
	// For whoever has asked before.
	fault := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.NotLeaderForPartition, Count: -1})
	return asked, func() {
		elected.Store(true)
		fault.Remove()
	}
}

// A dead letter topic without a leader refuses nothing: it is waited for like every other topic, and what comes behind the dead letter waits
// with it, in both lanes.
func TestADeadLetterTopicWithoutALeaderIsWaitedForByBothLanes(t *testing.T) {
	t.Parallel()
	for _, delivery := range []string{"exactly-once", "at-least-once"} {
		t.Run(delivery, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.synchronize()
			h := b.start("DELIVERY=" + delivery)
			w := b.watch(creationAnswers, transferAnswers)
			var n ids
			b.open(w, n.next())
			asked, elect := b.leaderless(transfers + deadLetterSuffix)
			told := func(times int64) {
				t.Helper()
				b.eventually("the handler looks for a leader", reasonableTimeout, func() error {
					if now := asked.Load(); now < times {
						return fmt.Errorf("told %d times that there is none, not %d", now, times)
					}
					return nil
				})
			}
			manual := b.manual()
			garbage := &kgo.Record{Topic: transfers, Partition: 4, Key: []byte("garbage"), Value: []byte("garbage")}
			if err := manual.ProduceSync(t.Context(), garbage).FirstErr(); err != nil {
				t.Fatal(err)
			}
			told(1)
			behind, other, creation := b.deposit(&n, 4), b.deposit(&n, 5), b.creations(&n, 1)[0]
			if err := manual.ProduceSync(t.Context(), behind, other).FirstErr(); err != nil {
				t.Fatal(err)
			}
			b.send(creation)
			db := b.connected(b.bank.Postgres.URL(""))
			b.eventually("the other lane has executed what came then", reasonableTimeout, func() error {
				var executed int
				err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM cac`).Scan(&executed)
				if err == nil && executed < 2 {
					err = fmt.Errorf("%d are executed", executed)
				}
				return err
			})
			if delivery == "exactly-once" {
				b.eventually("the brokers give the transaction up", reasonableTimeout, h.says("a new one goes on"))
			}
			told(asked.Load() + 5)
			if n := len(w.of(creationAnswers, "")) + len(w.of(transferAnswers, "")); n > 1 {
				t.Errorf("%d commands behind the dead letter are answered", n-1)
			}
			elect()
			w.wait(creationAnswers, string(creation.Key), 1)
			w.wait(transferAnswers, string(behind.Key), 1)
			w.wait(transferAnswers, string(other.Key), 1)
			if report := b.answered(reasonableTimeout, false); report.DeadLetters != 1 {
				t.Errorf("%d dead letters of one record", report.DeadLetters)
			}
			if h.says("a dead letter is refused")() == nil {
				t.Error("a topic without a leader counts as one that refuses")
			}
			b.stop(h)
		})
	}
}
