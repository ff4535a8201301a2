//go:build !realkafka

package handler_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"openbank/bank"
)

// A dead letter topic that takes nothing stalls the partition that the dead letter is from, and nothing else.
func TestADeadLetterThatIsRefusedStallsItsPartitionAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	var allowed atomic.Bool
	var refused atomic.Int64
	b.refuse(kmsg.Produce, func(request kmsg.Request) kmsg.Response {
		asked := request.(*kmsg.ProduceRequest)
		letter := func(topic string) bool { return strings.HasSuffix(topic, deadLetterSuffix) }
		if allowed.Load() || !slices.ContainsFunc(asked.Topics, func(at kmsg.ProduceRequestTopic) bool { return letter(at.Topic) }) {
			return nil
		}
		refused.Add(1)
		return producedWith(asked, func(topic string, _ int32) *kerr.Error {
			if letter(topic) {
				return kerr.TopicAuthorizationFailed
			}
			return kerr.NotEnoughReplicas // what came along with the dead letter is to be sent again
		})
	})
	h := b.start(serving)
	w := b.watch(creationAnswers, transferAnswers, transfers+deadLetterSuffix)
	manual := b.manual()
	var n ids
	before, after, other := b.deposit(&n, 4), b.deposit(&n, 4), b.deposit(&n, 5)
	garbage := &kgo.Record{Topic: transfers, Partition: 4, Key: []byte("garbage"), Value: []byte("garbage")}
	if err := manual.ProduceSync(t.Context(), before, garbage, after, other).FirstErr(); err != nil {
		t.Fatal(err)
	}
	b.eventually("the refusal is logged", reasonableTimeout, h.says("a dead letter is refused"))
	b.open(w, n.next())
	w.wait(transferAnswers, string(before.Key), 1)
	w.wait(transferAnswers, string(other.Key), 1)
	unready := b.is(h, "/readyz", http.StatusServiceUnavailable, "\nkafka: dead letters of "+transfers+" are refused by "+transfers+deadLetterSuffix+": ")
	b.eventually("it is tried again and refused again", reasonableTimeout, func() error {
		if err := unready(); err != nil {
			t.Error(err)
		}
		if refused.Load() < 3 {
			return fmt.Errorf("refused %d times", refused.Load())
		}
		return nil
	})
	if len(w.of(transfers+deadLetterSuffix, "")) > 0 || len(w.of(transferAnswers, string(after.Key))) > 0 {
		t.Error("the dead letter, or what comes behind it, is there")
	}
	allowed.Store(true)
	w.wait(transfers+deadLetterSuffix, "garbage", 1)
	w.wait(transferAnswers, string(after.Key), 1)
	b.eventually("it is ready", reasonableTimeout, b.is(h, "/readyz", http.StatusOK, "ready"))
	if report := b.answered(reasonableTimeout, false); report.Repeats != 0 {
		t.Errorf("%d repeats, though nobody was killed", report.Repeats)
	}
	if lines := strings.Count(h.text(), "a dead letter is refused"); lines != 1 {
		t.Error(fmt.Sprint("the refusal is logged ", lines, " times"))
	}
	b.stop(h)
}

// A dead letter without a topic to go to stalls its partition, and says so. It goes on when the topic can be made.
func TestADeadLetterWithoutATopicStallsItsPartition(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	admin := kadm.NewClient(b.client)
	if _, err := admin.DeleteTopics(t.Context(), transfers+deadLetterSuffix); err != nil {
		t.Fatal(err)
	}
	var allowed atomic.Bool
	cluster := b.bank.Kafka.Cluster()
	cluster.ControlKey(int16(kmsg.CreateTopics), func(request kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if allowed.Load() {
			return nil, nil, false
		}
		refused := request.ResponseKind().(*kmsg.CreateTopicsResponse)
		for _, asked := range request.(*kmsg.CreateTopicsRequest).Topics {
			topic := kmsg.NewCreateTopicsResponseTopic()
			topic.Topic, topic.ErrorCode = asked.Topic, kerr.TopicAuthorizationFailed.Code
			refused.Topics = append(refused.Topics, topic)
		}
		return refused, nil, true
	})
	h := b.start()
	w := b.watch(transferAnswers)
	b.eventually("the missing topic is logged", reasonableTimeout, h.says("will stall its partition"))
	manual := b.manual()
	var n ids
	send := func(records ...*kgo.Record) {
		t.Helper()
		if err := manual.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	// On partition 1 a record that can't be decoded, on partition 2 one that only Postgres can tell; commands before and
	// after each.
	first := b.deposit(&n, 2)
	send(first)
	w.wait(transferAnswers, string(first.Key), 1)
	reused := *first
	other := bank.ConfirmMoneyTransfer{ID: decode[bank.ConfirmMoneyTransfer](b, first).ID, Amount: 6, From: bank.Cash, To: bank.CompanyIBAN}
	reused.Value = b.command(&other).Value
	before1, after1, before2, after2 := b.deposit(&n, 1), b.deposit(&n, 1), b.deposit(&n, 2), b.deposit(&n, 2)
	send(before1, &kgo.Record{Topic: transfers, Partition: 1, Key: []byte("garbage"), Value: []byte("garbage")}, after1, before2, &reused, after2)
	w.wait(transferAnswers, string(before1.Key), 1)
	w.wait(transferAnswers, string(before2.Key), 1)
	for p := range int32(9) { // the others go on
		if p != 1 && p != 2 {
			r := b.deposit(&n, p)
			send(r)
			w.wait(transferAnswers, string(r.Key), 1)
		}
	}
	b.eventually("the stall is logged", reasonableTimeout, h.says("a dead letter waits for its topic"))
	for _, r := range []*kgo.Record{after1, after2} {
		if len(w.of(transferAnswers, string(r.Key))) > 0 {
			t.Errorf("partition %d went on", r.Partition)
		}
	}
	allowed.Store(true)
	letters := b.watch(transfers + deadLetterSuffix)
	if reason := header(letters.wait(transfers+deadLetterSuffix, "garbage", 1)[0], "dead-letter-reason"); reason == "" {
		t.Error("no reason")
	}
	letters.wait(transfers+deadLetterSuffix, string(first.Key), 1)
	w.wait(transferAnswers, string(after1.Key), 1)
	w.wait(transferAnswers, string(after2.Key), 1)
	b.answered(reasonableTimeout, false)
	b.stop(h)
}
