//go:build !realkafka

package handler_test

import (
	"context"
	"testing"

	handlers "openbank/handler"
)

// A command below the group's former offset that was never executed, as behind an offset that was set ahead, or a dead letter whose cause is
// mended. The first handler after offsets were set back dies between Postgres and Kafka.
func TestWhatIsExecutedBelowOffsetsThatWereSetBackHasItsEvents(t *testing.T) {
	t.Parallel()
	for _, delivery := range []handlers.Delivery{handlers.ExactlyOnce, handlers.AtLeastOnce} {
		t.Run(string(delivery), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.synchronize()
			w := b.watch(creationAnswers, transferAnswers, events)
			var n ids
			skipped, second := b.pay(n.next()), b.pay(n.next())
			b.commitAt(transfers, 0, 1)
			h := b.start("DELIVERY=" + string(delivery))
			w.wait(transferAnswers, second, 1)
			b.open(w, n.next()) // a stop while it still joins would have the group wait for it
			b.eventually("the group is at rest", reasonableTimeout, b.hasAll(h))
			b.stop(h)
			b.commitAt(transfers, 0, 0)

			halfway := b.halfway(handlers.Config{Delivery: delivery})
			ctx, cancel := context.WithTimeout(t.Context(), reasonableTimeout)
			defer cancel()
			if err := halfway.Executed(ctx, 1); err != nil {
				t.Fatal("it is not executed:", err)
			}
			halfway.Stop()

			h = b.start("DELIVERY=" + string(delivery))
			w.wait(transferAnswers, skipped, 1)
			b.stop(h)
			versions := map[string]bool{}
			for _, event := range w.of(events, "") {
				versions[header(event, "account-version")] = true
			}
			if !versions["1"] || !versions["2"] {
				t.Errorf("of two changes there are the events %v", versions)
			}
			b.answered(reasonableTimeout, true)
		})
	}
}
