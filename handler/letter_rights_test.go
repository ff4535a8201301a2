//go:build !realkafka

package handler_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// In a transaction brokers refuse the topic before a dead letter is sent, and with it all others that are added beside it.
func TestADeadLetterTopicThatMayNotBeWrittenInATransactionStallsItsPartitionAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	var allowed atomic.Bool
	isLetter := func(topic string) bool { return strings.HasSuffix(topic, deadLetterSuffix) }
	b.refuse(kmsg.AddPartitionsToTxn, func(request kmsg.Request) kmsg.Response {
		asked := request.(*kmsg.AddPartitionsToTxnRequest)
		refused := false
		response := asked.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
		for _, at := range asked.Topics {
			topic := kmsg.NewAddPartitionsToTxnResponseTopic()
			topic.Topic = at.Topic
			for _, p := range at.Partitions {
				partition := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
				partition.Partition, partition.ErrorCode = p, kerr.OperationNotAttempted.Code
				if isLetter(at.Topic) {
					refused, partition.ErrorCode = true, kerr.TopicAuthorizationFailed.Code
				}
				topic.Partitions = append(topic.Partitions, partition)
			}
			response.Topics = append(response.Topics, topic)
		}
		if allowed.Load() || !refused {
			return nil
		}
		return response
	})
	h := b.start("DELIVERY=exactly-once")
	w := b.watch(creationAnswers, transferAnswers, transfers+deadLetterSuffix)
	var n ids
	garbage := &kgo.Record{Topic: transfers, Partition: 4, Key: []byte("garbage"), Value: []byte("garbage")}
	behind, other := b.deposit(&n, 4), b.deposit(&n, 5)
	if err := b.manual().ProduceSync(t.Context(), garbage, behind, other).FirstErr(); err != nil {
		t.Fatal(err)
	}
	b.eventually("the refusal is logged", reasonableTimeout, h.says("a dead letter is refused"))
	w.wait(transferAnswers, string(other.Key), 1)
	b.open(w, n.next())
	if len(w.of(transferAnswers, string(behind.Key))) > 0 {
		t.Error("what stands behind the refused one is answered")
	}
	allowed.Store(true)
	w.wait(transferAnswers, string(behind.Key), 1)
	if report := b.answered(reasonableTimeout, false); report.Repeats != 0 || report.DeadLetters != 1 {
		t.Errorf("%d repeats, %d dead letters", report.Repeats, report.DeadLetters)
	}
	b.stop(h)
}
