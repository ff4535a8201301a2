package handler_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Where commands come in transactions, the end of each takes an offset, and so do records of ones that were aborted. The group's offsets go
// beyond them: when retention has emptied the partition, the next handler finds that nothing was lost.
func TestWhatRetentionEmptiesUpToTheEndOfATransactionIsNotMissed(t *testing.T) {
	t.Parallel()
	for _, delivery := range []string{"exactly-once", "at-least-once"} {
		t.Run(delivery, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.synchronize()
			var n ids
			h := b.start(serving, "DELIVERY="+delivery)
			w := b.watch(creationAnswers)
			sender, err := b.kafka.Client("sender", kgo.TransactionalID("sender"))
			if err != nil {
				t.Fatal(err)
			}
			defer sender.Close()
			for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
				err := sender.BeginTransaction()
				err = errors.Join(err, sender.ProduceSync(t.Context(), b.creations(&n, 3)...).FirstErr())
				if err = errors.Join(err, sender.EndTransaction(t.Context(), end)); err != nil {
					t.Fatal(err)
				}
			}
			w.wait(creationAnswers, "", 3)
			admin := kadm.NewClient(b.client)
			var end int64
			b.eventually("the group's offset is where the log ends", reasonableTimeout, func() error {
				ends, err := admin.ListEndOffsets(t.Context(), creations)
				if err != nil {
					return err
				}
				committed, err := admin.FetchOffsets(t.Context(), "command-handler")
				if err != nil {
					return err
				}
				at, _ := committed.Lookup(creations, 0)
				last, _ := ends.Lookup(creations, 0)
				if end = last.Offset; at.At != end || end < 8 {
					return fmt.Errorf("it is %d, the log ends at %d", at.At, end)
				}
				return nil
			})
			b.eventually("nothing is left to handle", reasonableTimeout, b.caughtUp(h))
			b.stop(h)
			var executed, published int64
			const reached = `SELECT executed_to, published_to FROM progress WHERE topic = $1 AND partition = 0`
			if err := b.connected(b.bank.Postgres.URL("")).QueryRowContext(t.Context(), reached, creations).Scan(&executed, &published); err != nil {
				t.Fatal(err)
			}
			if executed != end || published != end {
				t.Errorf("Postgres knows of %d executed and %d published, the log ends at %d", executed, published, end)
			}
			b.trim(end)
			h = b.start("DELIVERY=" + delivery)
			b.open(w, n.next())
			if answers := len(w.of(creationAnswers, "")); answers != 4 {
				t.Errorf("%d answers", answers)
			}
			b.stop(h)
		})
	}
}
