package handler_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
)

// partitions is how many the topic of transfers has.
const partitions = 9

var slotIn = regexp.MustCompile(`msg="handling commands".* slot=(\d+)`)

// partitionsOf are the partitions of transfers that handlers have by the word of the brokers; none while the group is not at rest.
func (b *bundle) partitionsOf(handlers ...*handler) map[int32]bool {
	b.t.Helper()
	places := map[string]bool{}
	for _, h := range handlers {
		slot := slotIn.FindStringSubmatch(h.text())
		if slot == nil {
			b.t.Fatalf("%s does not say its slot", h.log)
		}
		places["command-handler-"+slot[1]+"-cmt"] = true
	}
	groups, err := kadm.NewClient(b.client).DescribeGroups(b.t.Context(), "command-handler")
	if err != nil {
		b.t.Fatal(err)
	}
	has := map[int32]bool{}
	if groups["command-handler"].State != "Stable" {
		return has
	}
	for _, m := range groups["command-handler"].Members {
		if assigned, ok := m.Assigned.AsConsumer(); ok && m.InstanceID != nil && places[*m.InstanceID] {
			for _, t := range assigned.Topics {
				for _, p := range t.Partitions {
					has[p] = true
				}
			}
		}
	}
	return has
}

// hasAll says whether the handler has all partitions of transfers, and the group is at rest.
func (b *bundle) hasAll(h *handler) func() error {
	return func() error {
		if has := b.partitionsOf(h); len(has) < partitions {
			return fmt.Errorf("it has %v", has)
		}
		return nil
	}
}

// A handler is killed while it gives partitions to another one, and its successor takes its place in the group at once, for which the group
// shares nothing out. What it had given up is nobody's then, until one of the two sees that.
func TestWhatADeadHandlerWasGivingUpFindsAnOwner(t *testing.T) {
	t.Parallel()
	for _, delivery := range []string{"exactly-once", "at-least-once"} {
		t.Run(delivery, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.synchronize()
			unseen := b.unseen()
			dying := b.start("DELIVERY=" + delivery)
			var n ids
			account := b.open(b.watch(creationAnswers), n.next())
			b.eventually("it has all partitions", reasonableTimeout, b.hasAll(dying))

			// What is in flight waits for a row, and the partitions with it.
			tx := b.lock(account.IBAN)
			var deposits []*kgo.Record
			for range 100 {
				deposits = append(deposits, b.command(&bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 1, From: bank.Cash, To: account.IBAN}))
			}
			b.send(deposits...)
			b.eventually("the handler waits for the row", reasonableTimeout, func() error { return b.awaited(tx) })
			other := b.start("DELIVERY=" + delivery)
			b.eventually("it is to give some up", reasonableTimeout, func() error {
				if in := b.members(); len(in) < 4 {
					return fmt.Errorf("in the group are only %v", in)
				}
				if has := b.partitionsOf(dying); len(has) == 0 || len(has) == partitions {
					return fmt.Errorf("it has %v", has)
				}
				return nil
			})
			dying.Kill()
			unseen.Store(true)
			b.takePlace("command-handler-0-cac", creations) // until the successor is there, however long it takes to start
			b.takePlace("command-handler-0-cmt", transfers)
			if err := tx.Rollback(); err != nil {
				t.Fatal(err)
			}
			successor := b.start("DELIVERY=" + delivery)
			b.eventually("the successor has both of its places", reasonableTimeout, func() error {
				if strings.Count(successor.text(), "partitions assigned") < 2 {
					return errors.New("not yet")
				}
				return nil
			})
			unseen.Store(false)
			b.eventually("every partition is somebody's", 2*reasonableTimeout, func() error {
				if have := b.partitionsOf(successor, other); len(have) < partitions {
					return fmt.Errorf("they have %v", have)
				}
				return nil
			})
			const found = "partitions are nobody's"
			if successor.says(found)() != nil && other.says(found)() != nil {
				t.Error("nobody said that partitions were nobody's")
			}
			b.answered(reasonableTimeout, delivery == "at-least-once")
			b.stop(successor)
			b.stop(other)
		})
	}
}
