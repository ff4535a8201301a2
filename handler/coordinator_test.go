//go:build !realkafka

package handler_test

import (
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"openbank/bank"
	"openbank/embedded"
)

// The group's coordinator says that it is not, and the client waits without end for another one that never comes. The handler gives such a
// client up, and whatever that one still does when it has found the coordinator after all is done by nobody's leave: each answer is there once.
func TestAClientThatHangsIsLeftBehind(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	h := b.start("DELIVERY=exactly-once")
	w := b.watch(creationAnswers, transferAnswers)
	var n ids
	account := b.open(w, n.next())
	deposit := bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 100, From: bank.Cash, To: account.IBAN}
	b.send(b.command(&deposit))
	w.wait(transferAnswers, deposit.ID.String(), 1)

	nobody, err := embedded.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	var misled atomic.Bool
	misled.Store(true)
	asked := make(chan struct{}, 1)
	cluster := b.bank.Kafka.Cluster()
	cluster.ControlKey(int16(kmsg.FindCoordinator), func(request kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		asks := request.(*kmsg.FindCoordinatorRequest)
		if asks.CoordinatorType != 0 || !misled.Load() {
			return nil, nil, false
		}
		select {
		case asked <- struct{}{}:
		default:
		}
		answer := asks.ResponseKind().(*kmsg.FindCoordinatorResponse)
		answer.NodeID, answer.Host, answer.Port = 99, "127.0.0.1", int32(nobody)
		for _, key := range asks.CoordinatorKeys {
			c := kmsg.NewFindCoordinatorResponseCoordinator()
			c.Key, c.NodeID, c.Host, c.Port = key, answer.NodeID, answer.Host, answer.Port
			answer.Coordinators = append(answer.Coordinators, c)
		}
		return answer, nil, true
	})
	cluster.ControlKey(int16(kmsg.TxnOffsetCommit), func(request kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if !misled.Load() {
			return nil, nil, false
		}
		return notInTransaction(request.(*kmsg.TxnOffsetCommitRequest), kerr.NotCoordinator), nil, true
	})
	first := n.next()
	b.send(b.command(&bank.ConfirmAccountCreation{ID: first, Type: bank.Auto}))
	b.eventually("the client is given up", reasonableTimeout, h.says("a new one goes on"))
	if err := h.says("the client does not return from it within 6s")(); err != nil {
		t.Error(err)
	}
	misled.Store(false)
	w.wait(creationAnswers, first.String(), 1)
	select {
	case <-asked:
	default:
		t.Error("nobody asked for the coordinator")
	}
	deposit.ID = n.next()
	b.send(b.command(&deposit))
	w.wait(transferAnswers, deposit.ID.String(), 1)
	if report := b.answered(reasonableTimeout, false); report.Repeats != 0 {
		t.Errorf("%d repeats", report.Repeats)
	}
	b.stop(h)
}
