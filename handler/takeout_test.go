//go:build !realkafka

package handler_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"openbank/bank"
	handlers "openbank/handler"
)

// executedInEach has a handler execute a command of each partition.
func (b *bundle) executedInEach(ctx context.Context, h *handlers.Halfway) {
	b.t.Helper()
	var n ids
	var records []*kgo.Record
	for partition := range int32(partitions) {
		r := b.command(&bank.ConfirmMoneyTransfer{ID: n.next(), Token: bank.CompanyToken, Amount: 100, From: bank.CompanyIBAN, To: "Albert Heijn BV"})
		r.Partition = partition
		records = append(records, r)
	}
	if err := b.manual().ProduceSync(ctx, records...).FirstErr(); err != nil {
		b.t.Fatal(err)
	}
	if err := h.Executed(ctx, len(records)); err != nil {
		b.t.Fatal(err)
	}
}

// The group gives the place of a handler up that does not join again in time, as when the answer to its join is lost, and another one handles
// what is the first one's, and leaves. The first one then has its partitions back, and its client tells it nothing of all that.
func TestWhatAnotherHandlerHadMeanwhileIsNotPublishedTwice(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	cluster, held, answer := b.bank.Kafka.Cluster(), 0, make(chan struct{})
	cluster.ControlKey(int16(kmsg.JoinGroup), func(request kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		join := request.(*kmsg.JoinGroupRequest)
		join.RebalanceTimeoutMillis = 8000
		if join.MemberID == "" || join.InstanceID == nil || *join.InstanceID != "command-handler-0-cmt" || held > 0 {
			return nil, nil, false
		}
		held++
		cluster.SleepControl(func() { <-answer }) // others are served meanwhile
		refusal := join.ResponseKind().(*kmsg.JoinGroupResponse)
		refusal.ErrorCode = kerr.UnknownMemberID.Code
		return refusal, nil, true
	})
	h := b.halfway(handlers.Config{Delivery: handlers.ExactlyOnce})
	ctx, cancel := context.WithTimeout(t.Context(), 2*reasonableTimeout)
	defer cancel()
	w := b.watch(transferAnswers)
	b.executedInEach(ctx, h)
	other := b.start("DELIVERY=exactly-once")
	b.eventually("the other one has answered all", reasonableTimeout, func() error {
		if n := len(w.of(transferAnswers, "")); n < partitions {
			return fmt.Errorf("%d answers", n)
		}
		return nil
	})
	b.stop(other)
	close(answer)
	if err := h.Publish(ctx); err != nil {
		t.Fatal(err)
	}
	if held == 0 {
		t.Error("it was not asked to join again")
	}
	if report := b.answered(reasonableTimeout, false); report.Repeats != 0 {
		t.Errorf("%d repeats", report.Repeats)
	}
	h.Stop()
}

// The client is told to give partitions up while its Poll goroutine is busy, and takes another partition's being taken out for the answer: they
// are another handler's before we hear of it.
func TestWhatAnotherHandlerHasBeforeWeHearOfItIsNotPublishedTwice(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	h := b.halfway(handlers.Config{Delivery: handlers.ExactlyOnce})
	ctx, cancel := context.WithTimeout(t.Context(), 2*reasonableTimeout)
	defer cancel()
	w := b.watch(transferAnswers)
	b.executedInEach(ctx, h)
	published := make(chan error, 1)
	var other *handler
	h.Busy(func(takeOut func(int32)) {
		other = b.start("DELIVERY=exactly-once")
		b.eventually("the group has let the other one in, and wants partitions back for it", reasonableTimeout, func() error {
			groups, err := kadm.NewClient(b.client).DescribeGroups(ctx, "command-handler")
			if err == nil && (len(groups["command-handler"].Members) < 3 || groups["command-handler"].State != "Stable") {
				err = errors.New(groups["command-handler"].State)
			}
			return err
		})
		b.eventually("the other one has some, and has answered", reasonableTimeout, func() error {
			takeOut(0)
			if len(w.of(transferAnswers, "")) == 0 {
				return errors.New("it has answered nothing")
			}
			return nil
		})
		go func() { published <- h.Publish(ctx) }()
		b.eventually("the brokers refuse it, again and again", reasonableTimeout, func() error {
			select {
			case err := <-published:
				t.Errorf("it is published before we hear of what has changed (%v)", err)
				published <- err
				return nil
			default:
			}
			if n := h.Rebalanced(); n < 3 {
				return fmt.Errorf("%d times", n)
			}
			return nil
		})
	})
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	h.Stop() // what it has begun anew is the other one's
	if report := b.answered(reasonableTimeout, false); report.Repeats != 0 {
		t.Errorf("%d repeats", report.Repeats)
	}
	b.stop(other)
}
