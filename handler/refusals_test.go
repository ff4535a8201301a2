//go:build !realkafka

package handler_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"openbank/bank"
	handlers "openbank/handler"
)

// refuse has the embedded Kafka answer a request itself while refuse returns a response.
func (b *bundle) refuse(key kmsg.Key, refuse func(kmsg.Request) kmsg.Response) {
	cluster := b.bank.Kafka.Cluster()
	cluster.ControlKey(int16(key), func(request kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		response := refuse(request)
		return response, nil, response != nil
	})
}

// producedWith answers a request to produce with an error for each partition, the client's to send again or the broker's last word.
func producedWith(asked *kmsg.ProduceRequest, why func(topic string, partition int32) *kerr.Error) kmsg.Response {
	response := asked.ResponseKind().(*kmsg.ProduceResponse)
	for _, at := range asked.Topics {
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic, topic.TopicID = at.Topic, at.TopicID
		for _, p := range at.Partitions {
			partition := kmsg.NewProduceResponseTopicPartition()
			partition.Partition, partition.ErrorCode = p.Partition, why(at.Topic, p.Partition).Code
			topic.Partitions = append(topic.Partitions, partition)
		}
		response.Topics = append(response.Topics, topic)
	}
	return response
}

// opened has a handler open accounts, at least once, and stop.
func (b *bundle) opened(n *ids, count int) (w *watch, ibans []string) {
	b.t.Helper()
	w = b.watch(creationAnswers, transferAnswers, events)
	h := b.start("DELIVERY=at-least-once")
	for range count {
		ibans = append(ibans, b.open(w, n.next()).IBAN)
	}
	b.stop(h)
	return w, ibans
}

// Without transactions, what a broker refuses is sent again until it is taken, the first time with what else of the publication goes to that
// topic. What goes to other topics is not.
func TestWhatABrokerRefusesIsSentAgainWithItsTopicAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	var n ids
	w, accounts := b.opened(&n, 20)

	var allowed atomic.Bool
	var blocked atomic.Int32 // the first partition of the events that is written to
	blocked.Store(-1)
	b.refuse(kmsg.Produce, func(request kmsg.Request) kmsg.Response {
		refused := false
		response := producedWith(request.(*kmsg.ProduceRequest), func(topic string, partition int32) *kerr.Error {
			if topic == events {
				blocked.CompareAndSwap(-1, partition)
				if partition == blocked.Load() {
					refused = true
					return kerr.TopicAuthorizationFailed
				}
			}
			return kerr.NotEnoughReplicas // the client itself sends it again
		})
		if !refused || allowed.Load() {
			return nil
		}
		return response
	})
	const deposits = 200 // several portions
	records := make([]*kgo.Record, deposits)
	for i := range records {
		records[i] = b.command(&bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 5, From: bank.Cash, To: accounts[i%len(accounts)]})
	}
	b.send(records...)
	h := b.halfway(handlers.Config{Delivery: handlers.AtLeastOnce})
	ctx, cancel := context.WithTimeout(t.Context(), reasonableTimeout)
	defer cancel()
	if err := h.Executed(ctx, deposits); err != nil {
		t.Fatal(err)
	}
	published := make(chan error, 1)
	go func() { published <- h.Publish(ctx) }()

	w.wait(events, "", 1)
	taken := string(w.of(events, "")[0].Key) // an account whose partition is not blocked
	b.eventually("what is not refused is taken", reasonableTimeout, func() error {
		if all := len(w.of(events, taken)); all < deposits/len(accounts) {
			return fmt.Errorf("%d events of the account", all)
		}
		return nil
	})
	for _, r := range w.of(events, "") {
		if r.Partition == blocked.Load() {
			t.Errorf("an event on partition %d, which is blocked", r.Partition)
		}
	}
	select {
	case err := <-published:
		t.Fatal("published before the events were taken:", err)
	default:
	}
	allowed.Store(true)
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	report := b.answered(reasonableTimeout, true) // of which equal repeats are a rule
	if report.Events != deposits || report.Answers != len(accounts)+deposits {
		t.Errorf("%d events, %d answers to %d commands, %d repeats", report.Events, report.Answers, len(accounts)+deposits, report.Repeats)
	}
	times := map[string]int{}
	for _, r := range w.of(events, "") {
		times[string(r.Key)+string(r.Value)]++ // with the new balance, which differs each time
	}
	if len(times) != deposits {
		t.Errorf("%d different events of %d deposits: what comes again is another one", len(times), deposits)
	}
	for event, n := range times {
		if n > 2 {
			t.Errorf("the event %q is there %d times", event, n)
		}
	}
}

// Without transactions, few commands are published without waiting for those before them. When a broker refuses some, what came behind them
// goes out once more behind them, so that the last copies stand in order.
func TestWhatOvertookARefusedRecordIsSentAgainBehindIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	var n ids
	w := b.watch(creationAnswers, transferAnswers, events)
	first := b.start("DELIVERY=at-least-once")
	account := b.open(w, n.next()).IBAN
	// Brokers take what overtook from a producer that is new to a partition only where there is something already.
	b.send(b.command(&bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 5, From: bank.Cash, To: account}))
	w.wait(events, account, 1)
	b.stop(first)
	cluster, refused, launched := b.bank.Kafka.Cluster(), false, make(chan struct{})
	b.refuse(kmsg.Produce, func(request kmsg.Request) kmsg.Response {
		asked := request.(*kmsg.ProduceRequest)
		if asked.Topics[0].Topic != events || refused {
			return nil
		}
		refused = true
		cluster.SleepControl(func() { <-launched }) // others are served meanwhile
		return producedWith(asked, func(string, int32) *kerr.Error { return kerr.TopicAuthorizationFailed })
	})
	h := b.halfway(handlers.Config{Delivery: handlers.AtLeastOnce})
	ctx, cancel := context.WithTimeout(t.Context(), 2*reasonableTimeout)
	defer cancel()
	const deposits = 5
	for range deposits {
		b.send(b.command(&bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 5, From: bank.Cash, To: account}))
		if err := h.Executed(ctx, 1); err != nil {
			t.Fatal(err)
		}
		if err := h.Launch(ctx); err != nil {
			t.Fatal(err)
		}
	}
	close(launched)
	if err := h.Publish(ctx); err != nil {
		t.Fatal(err)
	}
	if report := b.answered(reasonableTimeout, true); report.Events != 1+deposits || report.Answers != 2+deposits {
		t.Errorf("%d events, %d answers to %d commands", report.Events, report.Answers, 2+deposits)
	}
	b.eventually("the last copies stand in order", reasonableTimeout, func() error {
		var versions []string
		for _, r := range w.of(events, account)[1:] {
			versions = append(versions, string(r.Headers[0].Value)) // of one digit
		}
		if last := versions[max(0, len(versions)-deposits):]; len(last) < deposits || !slices.IsSorted(last) || len(versions) == deposits || len(versions) > 2*deposits-1 {
			return fmt.Errorf("the events came with the versions %v", versions)
		}
		return nil
	})
}

// A client that fails for good sends nothing any more, and does not say so of what it would have had to send again. That is published by the
// client in its place, at least once.
func TestAProducerThatFailsWithRecordsOnTheirWayIsReplaced(t *testing.T) {
	t.Parallel()
	for topic, answers := range map[string]bool{transferAnswers: true, events: false} {
		t.Run(topic, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.synchronize()
			var held atomic.Bool
			underWay, failed := make(chan struct{}), make(chan struct{})
			cluster := b.bank.Kafka.Cluster()
			b.refuse(kmsg.Produce, func(request kmsg.Request) kmsg.Response {
				asked := request.(*kmsg.ProduceRequest)
				if asked.Topics[0].Topic != topic || !held.CompareAndSwap(false, true) {
					return nil
				}
				close(underWay)
				cluster.SleepControl(func() { // others are served meanwhile
					select {
					case <-failed:
					case <-time.After(reasonableTimeout):
					}
				})
				return producedWith(asked, func(string, int32) *kerr.Error { return kerr.NotLeaderForPartition }) // the client is to send it again
			})
			h := b.halfway(handlers.Config{Delivery: handlers.AtLeastOnce})
			ctx, cancel := context.WithTimeout(t.Context(), reasonableTimeout)
			defer cancel()
			var n ids
			b.send(b.command(&bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 5, From: bank.Cash, To: bank.CompanyIBAN}))
			if err := h.Executed(ctx, 1); err != nil {
				t.Fatal(err)
			}
			if err := h.Launch(ctx); err != nil {
				t.Fatal(err)
			}
			<-underWay
			if err := h.Fail(answers); err != nil {
				t.Fatal(err)
			}
			err := h.Publish(ctx) // for which the broker's answer is not waited
			close(failed)
			if err != nil {
				t.Fatal(err)
			}
			if report := b.answered(reasonableTimeout, true); report.Events != 1 || report.Answers != 1 {
				t.Errorf("%d events, %d answers to a command", report.Events, report.Answers)
			}
		})
	}
}

// A commit may take effect and its answer be lost, and the producer be fenced before it can ask again. The group's offsets tell: what they
// cover is published, and is not sent again.
func TestACommitThatTookEffectAfterAllIsNotRepeated(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	h := b.start("DELIVERY=exactly-once")
	w := b.watch(creationAnswers, transferAnswers)
	var n ids
	account := b.open(w, n.next())

	committer, err := b.kafka.Client("committer")
	if err != nil {
		t.Fatal(err)
	}
	defer committer.Close()
	var lost atomic.Int64
	cluster := b.bank.Kafka.Cluster()
	cluster.ControlKey(int16(kmsg.EndTxn), func(request kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		asked := request.(*kmsg.EndTxnRequest)
		if !asked.Commit || !lost.CompareAndSwap(0, 1) {
			return nil, nil, false
		}
		same := *asked
		cluster.SleepControl(func() { // others are served meanwhile: it takes effect
			if answer, err := same.RequestWith(t.Context(), committer); err != nil || answer.ErrorCode != 0 {
				t.Errorf("committing for the handler: %+v, %v", answer, err)
			}
		})
		answer := asked.ResponseKind().(*kmsg.EndTxnResponse)
		answer.ErrorCode = kerr.ProducerFenced.Code
		return answer, nil, true
	})
	deposit := bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 100, From: bank.Cash, To: account.IBAN}
	b.send(b.command(&deposit))
	w.wait(transferAnswers, deposit.ID.String(), 1)
	b.eventually("the producer is replaced", reasonableTimeout, h.says("a new one goes on"))
	b.open(w, n.next()) // which comes behind
	if report := b.answered(reasonableTimeout, false); report.Repeats != 0 || lost.Load() != 1 {
		t.Errorf("%d repeats, %d commits lost", report.Repeats, lost.Load())
	}
	b.stop(h)
}

// pay sends a payment of the company's, with that id, to the first partition, and returns the id.
func (b *bundle) pay(id bank.ID) string {
	b.t.Helper()
	r := b.command(&bank.ConfirmMoneyTransfer{ID: id, Token: bank.CompanyToken, Amount: 100, From: bank.CompanyIBAN, To: "Albert Heijn BV"})
	r.Partition = 0
	if err := b.manual().ProduceSync(b.t.Context(), r).FirstErr(); err != nil {
		b.t.Fatal(err)
	}
	return id.String()
}

// deposit is a transfer of 5 cents in cash to the company's account, for a partition.
func (b *bundle) deposit(n *ids, partition int32) *kgo.Record {
	b.t.Helper()
	r := b.command(&bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 5, From: bank.Cash, To: bank.CompanyIBAN})
	r.Partition = partition
	return r
}
