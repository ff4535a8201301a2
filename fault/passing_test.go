package fault

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/embedded"
	"openbank/process"
)

// What says how far partitions are handled passes the end of a transaction in steps, in Postgres and in Kafka. Wherever a handler dies
// between them, the next one finds that nothing was lost, passes the end, and goes on.
func TestTheBooksAreRightAfterAKillWhileTheEndOfATransactionIsPassed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, embedded.PostgresConfig{})
	seed := seedOrTime()
	next := seed
	t.Logf("from seed %d on", seed)
	for _, delivery := range []string{exactlyOnce, atLeastOnce} {
		for _, point := range passPoints {
			s := schedule{seed: next, delivery: delivery, maxBatch: 10}
			next++
			t.Run(delivery+", "+point, func(t *testing.T) {
				t.Parallel()
				w.lead(t, s, seed, func(ctx context.Context, r *run) error { return r.pass(ctx, crashAt{point: point, passage: 1}) })
			})
		}
	}
}

// lead has the handlers of a schedule come and go as the test leads them. When that fails, their logs stay; seed is the test's first.
func (w *world) lead(t *testing.T, s schedule, seed uint64, through func(context.Context, *run) error) {
	logs, err := os.MkdirTemp("", fmt.Sprintf("openbank-schedule-%d-", s.seed))
	if err != nil {
		t.Fatal(err)
	}
	ctx, fail := context.WithCancelCause(t.Context())
	defer fail(nil)
	r, err := w.prepare(ctx, s, logs, fail)
	if err == nil {
		err = through(ctx, r)
	}
	if err != nil {
		t.Fatalf("%v; its logs are in %s; again: go test ./fault -run '%s' %s-args -seed %d", err, logs, t.Name(), tags, seed)
	}
	if err := errors.Join(r.clear(ctx), os.RemoveAll(logs)); err != nil {
		t.Error(err)
	}
}

// pass has a handler die while it passes the end of a transaction, and the next one do it again.
func (r *run) pass(ctx context.Context, crash crashAt) error {
	p, log, err := r.alone("CRASH_AT=" + crash.String())
	if err != nil {
		return err
	}
	defer p.Kill()
	if err := r.sendInTransactions(ctx, 3); err != nil {
		return err
	}
	if err := killedItself(ctx, p, log); err != nil {
		return err
	}
	next, log, err := r.alone()
	if err != nil {
		return err
	}
	defer next.Kill()
	if err := r.passed(ctx, next, log); err != nil {
		return err
	}
	if err := r.sendInTransactions(ctx, 2); err != nil {
		return err
	}
	report, err := r.answered(ctx)
	if err != nil {
		return err
	}
	if want := r.load.count; report.Commands != want || report.Answers != want { // each once: all were answered before anybody died
		return fmt.Errorf("%d commands were sent, there are %d and %d answers", want, report.Commands, report.Answers)
	}
	return r.fleet.end(ctx, next, log)
}

// passed waits until Postgres and the group have the partition handled up to its end.
func (r *run) passed(ctx context.Context, handler *process.Process, log string) (err error) {
	db, err := sql.Open("postgres", r.world.bank.Postgres.URL(r.database))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	admin := kadm.NewClient(r.world.client)
	for deadline := time.Now().Add(settleTime); ; {
		ends, err := admin.ListEndOffsets(ctx, r.topics.ConfirmAccountCreation)
		if err != nil {
			return err
		}
		committed, err := admin.FetchOffsets(ctx, r.group())
		if err != nil {
			return err
		}
		end, _ := ends.Lookup(r.topics.ConfirmAccountCreation, 0)
		at, _ := committed.Lookup(r.topics.ConfirmAccountCreation, 0)
		var executed, published int64
		const reached = `SELECT executed_to, published_to FROM progress WHERE topic = $1 AND partition = 0`
		if err := db.QueryRowContext(ctx, reached, r.topics.ConfirmAccountCreation).Scan(&executed, &published); err != nil {
			return err
		}
		if executed == end.Offset && published == end.Offset && at.At == end.Offset {
			return nil
		}
		if !handler.Running() || time.Now().After(deadline) {
			return fmt.Errorf("executed to %d, published to %d, the group at %d, the log's end %d, see %s: %s", executed, published, at.At, end.Offset, log, lastLine(log))
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// sendInTransactions sends n commands in a transaction, and as many in one that is aborted.
func (r *run) sendInTransactions(ctx context.Context, n int) error {
	sender, err := r.world.kafka.Client("sender", kgo.TransactionalID("sender-"+r.group()))
	if err != nil {
		return err
	}
	defer sender.Close()
	for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		var records []*kgo.Record
		for range n {
			record, err := r.load.creation()
			if err != nil {
				return err
			}
			records = append(records, record)
		}
		err := sender.BeginTransaction()
		if err == nil {
			err = sender.ProduceSync(ctx, records...).FirstErr()
		}
		if err = errors.Join(err, sender.EndTransaction(ctx, end)); err != nil {
			return fmt.Errorf("sending commands in a transaction: %w", err)
		}
	}
	r.load.count += n
	return nil
}
