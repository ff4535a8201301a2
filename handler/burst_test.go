//go:build !realkafka

package handler_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"openbank/bank"
	"openbank/embedded"
	handlers "openbank/handler"
)

// holdUp has the brokers wait with the first records for a topic until they are released. Other connections are served meanwhile.
func (b *bundle) holdUp(topic string) (reached <-chan struct{}, release func()) {
	var held atomic.Bool
	waits, goesOn := make(chan struct{}), make(chan struct{})
	b.refuse(kmsg.Produce, func(request kmsg.Request) kmsg.Response {
		isOf := slices.ContainsFunc(request.(*kmsg.ProduceRequest).Topics, func(at kmsg.ProduceRequestTopic) bool { return at.Topic == topic })
		if isOf && held.CompareAndSwap(false, true) {
			b.bank.Kafka.Cluster().SleepControl(func() {
				close(waits)
				select {
				case <-goesOn:
				case <-b.t.Context().Done():
				}
			})
		}
		return nil
	})
	return waits, func() { close(goesOn) }
}

// Without transactions, the answers to few commands have a connection of their own: the brokers are slow with the events of one command, and
// the next one is answered.
func TestTheAnswersToFewCommandsWaitForNoEvents(t *testing.T) {
	t.Parallel()
	b := setupWith(t, embedded.Config{Kafka: embedded.KafkaConfig{Brokers: 1}})
	b.synchronize()
	h := b.start("DELIVERY=at-least-once")
	w := b.watch(creationAnswers, transferAnswers, events)
	var n ids
	account := b.open(w, n.next())

	reached, release := b.holdUp(events)
	deposit := func() *bank.ConfirmMoneyTransfer {
		return &bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 1, From: bank.Cash, To: account.IBAN}
	}
	b.send(b.command(deposit()))
	<-reached
	next := deposit()
	b.send(b.command(next))
	w.wait(transferAnswers, next.ID.String(), 1)
	if early := w.of(events, ""); len(early) > 0 {
		t.Errorf("%d events are there, which are held", len(early))
	}
	release()
	w.wait(events, "", 2)
	b.answered(reasonableTimeout, false)
	b.stop(h)
}

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

	reached, release := b.holdUp(transferAnswers)
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
	release()
	w.wait(transferAnswers, "", 1+len(burst))
	if n := strings.Count(h.text(), full); n != 1 {
		t.Errorf("%d times a batch is full for the first time", n)
	}
	b.answered(reasonableTimeout, false)
	b.stop(h)
}

// The next commands follow those on their way while these are no more than 32.
func TestThirtyTwoCommandsMayBeOnTheirWay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	var taken atomic.Bool
	b.refuse(kmsg.Produce, func(request kmsg.Request) kmsg.Response {
		asked := request.(*kmsg.ProduceRequest)
		if topic := asked.Topics[0].Topic; taken.Load() || topic != transferAnswers && topic != events {
			return nil
		}
		return producedWith(asked, func(string, int32) *kerr.Error { return kerr.NotEnoughReplicas }) // the client itself sends it again
	})
	h := b.halfway(handlers.Config{Delivery: handlers.AtLeastOnce})
	ctx, cancel := context.WithTimeout(t.Context(), reasonableTimeout)
	defer cancel()
	var n ids
	next := func() {
		t.Helper()
		b.send(b.command(&bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 5, From: bank.Cash, To: bank.CompanyIBAN}))
		if err := h.Executed(ctx, 1); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 32 {
		next()
		if err := h.Launch(ctx); err != nil {
			t.Fatalf("command %d waits for those before it: %v", i+1, err)
		}
	}
	next()
	over := make(chan error, 1)
	go func() { over <- h.Launch(ctx) }()
	select {
	case err := <-over:
		t.Fatal("command 33 does not wait: ", err)
	case <-time.After(time.Second): // one that does not wait is sooner
	}
	taken.Store(true)
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	if err := h.Publish(ctx); err != nil {
		t.Fatal(err)
	}
	b.answered(reasonableTimeout, false)
}
