//go:build !realkafka

package handler_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"openbank/bank"
	"openbank/embedded"
)

// Without transactions, the answers to few commands have a connection of their own. When the brokers are slow with one of them, those of a
// burst that begins meanwhile do not overtake it.
func TestTheAnswersOfABurstComeBehindTheOneBefore(t *testing.T) {
	t.Parallel()
	b := setupWith(t, embedded.Config{Kafka: embedded.KafkaConfig{Brokers: 1}})
	b.synchronize()
	h := b.start("DELIVERY=at-least-once", "MAX_BATCH=40") // a full batch waits for nothing
	w := b.watch(creationAnswers, transferAnswers, events)
	var n ids
	account := b.open(w, n.next())

	var held atomic.Bool
	reached, release := make(chan struct{}), make(chan struct{})
	b.refuse(kmsg.Produce, func(request kmsg.Request) kmsg.Response {
		isAnswer := slices.ContainsFunc(request.(*kmsg.ProduceRequest).Topics, func(at kmsg.ProduceRequestTopic) bool { return at.Topic == transferAnswers })
		if isAnswer && held.CompareAndSwap(false, true) {
			b.bank.Kafka.Cluster().SleepControl(func() { // other connections are served meanwhile
				close(reached)
				<-release
			})
		}
		return nil
	})
	deposit := func() *bank.ConfirmMoneyTransfer {
		return &bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 1, From: bank.Cash, To: account.IBAN}
	}
	first := deposit()
	b.send(b.command(first))
	<-reached
	const full = "a batch is full for the first time"
	if h.says(full)() == nil {
		t.Error("a batch of one command counts as full")
	}
	burst := make([]*kgo.Record, 500)
	for i := range burst {
		burst[i] = b.command(deposit())
	}
	b.send(burst...)
	w.wait(events, "", 34) // more than may be on their way with the first one
	if overtaken := w.of(transferAnswers, ""); len(overtaken) > 0 {
		t.Errorf("%d answers have overtaken the one that is held", len(overtaken))
	}
	close(release)
	w.wait(transferAnswers, "", 1+len(burst))
	if n := strings.Count(h.text(), full); n != 1 {
		t.Errorf("%d times a batch is full for the first time", n)
	}
	b.answered(reasonableTimeout, false)
	b.stop(h)
}
