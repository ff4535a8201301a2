//go:build !realkafka

package handler_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"openbank/bank"
)

// readers are what reads a bank's output while its handlers are killed.
type readers struct {
	*bundle
	db                     *sql.DB
	committed, uncommitted *watch
	noOutput, noEnd        atomic.Bool // the brokers take no output, and no offsets without which output is not finished
	n                      ids
}

func newReaders(t *testing.T) *readers {
	t.Helper()
	b := setup(t)
	b.synchronize()
	topics := []string{creationAnswers, transferAnswers, events}
	r := &readers{bundle: b, db: b.connected(b.bank.Postgres.URL("")), committed: b.watch(topics...), uncommitted: b.watchAs(kgo.ReadUncommitted(), topics...)}
	b.refuse(kmsg.Produce, func(request kmsg.Request) kmsg.Response {
		asked := request.(*kmsg.ProduceRequest)
		if topic := asked.Topics[0].Topic; !r.noOutput.Load() || topic != transferAnswers && topic != events {
			return nil
		}
		return producedWith(asked, func(string, int32) *kerr.Error { return kerr.NotEnoughReplicas })
	})
	b.refuse(kmsg.OffsetCommit, func(request kmsg.Request) kmsg.Response {
		if !r.noEnd.Load() {
			return nil
		}
		return notCommitted(request.(*kmsg.OffsetCommitRequest))
	})
	b.refuse(kmsg.EndTxn, func(request kmsg.Request) kmsg.Response {
		asked := request.(*kmsg.EndTxnRequest)
		if !r.noEnd.Load() || !asked.Commit {
			return nil
		}
		response := asked.ResponseKind().(*kmsg.EndTxnResponse)
		response.ErrorCode = kerr.CoordinatorLoadInProgress.Code
		return response
	})
	return r
}

// move is a deposit with its answer and its event.
type move struct {
	record  *kgo.Record
	account string
}

// seen is how often a reader has both; an error when not equally often.
func (m move) seen(w *watch) (times int, err error) {
	answers, changes := len(w.of(transferAnswers, string(m.record.Key))), len(w.of(events, m.account))
	if answers != changes {
		err = fmt.Errorf("%d answers and %d events", answers, changes)
	}
	return answers, err
}

func (r *readers) sees(w *watch, m move, times int) func() error {
	return func() error {
		n, err := m.seen(w)
		if err == nil && n < times {
			err = fmt.Errorf("they are there %d times", n)
		}
		return err
	}
}

// executed says whether Postgres has committed it.
func (r *readers) executed(m move) error {
	var rows int
	err := r.db.QueryRowContext(r.t.Context(), `SELECT count(*) FROM cmt WHERE uuid = $1`, string(m.record.Key)).Scan(&rows)
	if err == nil && rows == 0 {
		err = errors.New("Postgres has no row")
	}
	return err
}

// finished says whether the group's offset is behind it.
func (r *readers) finished(m move) error {
	offsets, err := kadm.NewClient(r.client).FetchOffsets(r.t.Context(), "command-handler")
	if err != nil {
		return err
	}
	if at, _ := offsets.Lookup(transfers, m.record.Partition); at.At <= m.record.Offset {
		return fmt.Errorf("the group is at %d, the command at %d", at.At, m.record.Offset)
	}
	return nil
}

// killed kills a handler at a point with a deposit in its hands. What keeps it there ends when its successor has its partitions: nothing of what
// the dead one has sent is under way then.
func (r *readers) killed(h *handler, delivery, point string) (m move, successor *handler) {
	r.t.Helper()
	account := r.open(r.committed, r.n.next()).IBAN
	m = move{r.command(&bank.ConfirmMoneyTransfer{ID: r.n.next(), Amount: 5, From: bank.Cash, To: account}), account}
	reached := func() error { return nil }
	letGo := func() { r.noOutput.Store(false); r.noEnd.Store(false) }
	switch point {
	case beforePostgres:
		tx := r.lock(account)
		reached = func() error { return r.awaited(tx) }
		letGo = func() { _ = tx.Rollback() }
	case beforeOutput:
		r.noOutput.Store(true)
		reached = func() error { return r.executed(m) }
	case beforeOffsets:
		r.noEnd.Store(true)
		reached = r.sees(r.uncommitted, m, 1)
	case behindOffsets:
		reached = func() error { return r.finished(m) }
	}
	r.send(m.record)
	r.eventually(point, reasonableTimeout, reached)
	if n, _ := m.seen(r.committed); n != 0 && point == beforeOffsets && delivery == "exactly-once" {
		r.t.Errorf("a reader of committed records sees an answer before the transaction is committed")
	}
	h.Kill()
	successor = r.start("DELIVERY=" + delivery)
	r.eventually("a successor is there", reasonableTimeout, func() error {
		if strings.Count(successor.text(), "partitions assigned") < 2 {
			return errors.New("it has not both topics' partitions")
		}
		return nil
	})
	letGo()
	r.eventually("it is published", reasonableTimeout, func() error { return r.finished(m) })
	return m, successor
}

// readOn waits until both readers have everything that was written so far.
func (r *readers) readOn() {
	r.t.Helper()
	var last []*kgo.Record
	for _, topic := range []string{transferAnswers, events} {
		for p := range int32(partitions) {
			last = append(last, &kgo.Record{Topic: topic, Partition: p, Key: []byte("the end")})
		}
	}
	if err := r.manual().ProduceSync(r.t.Context(), last...).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
	for _, w := range []*watch{r.committed, r.uncommitted} {
		w.wait(transferAnswers, "the end", partitions)
		w.wait(events, "the end", partitions)
	}
}

// check wants both so often, each time the same.
func (m move) check(t *testing.T, w *watch, name string, times int) {
	t.Helper()
	answers, changes := w.of(transferAnswers, string(m.record.Key)), w.of(events, m.account)
	if len(answers) != times || len(changes) != times {
		t.Fatalf("%s: there are %d answers and %d events, not %d", name, len(answers), len(changes), times)
	}
	for _, all := range [][]*kgo.Record{answers, changes} {
		for _, r := range all {
			if !bytes.Equal(r.Value, all[0].Value) || !reflect.DeepEqual(r.Headers, all[0].Headers) {
				t.Errorf("%s: first %q with %v, then %q with %v", name, all[0].Value, all[0].Headers, r.Value, r.Headers)
			}
		}
	}
	if version := header(changes[0], "account-version"); version != "1" {
		t.Errorf("%s: the event has the account-version %q", name, version)
	}
}

const (
	beforePostgres = "before Postgres has committed"
	beforeOutput   = "after that, before output is produced"
	beforeOffsets  = "output produced, offsets not committed"
	behindOffsets  = "offsets committed"
)

// The points are those of the table in docs/delivery.md, and so is what is seen: what comes again is the same, byte for byte.
func TestWhatReadersSeeOfAHandlerThatWasKilled(t *testing.T) {
	t.Parallel()
	type times struct{ committed, uncommitted int }
	once := times{1, 1}
	for delivery, again := range map[string]times{"exactly-once": {1, 2}, "at-least-once": {2, 2}} {
		t.Run(delivery, func(t *testing.T) {
			t.Parallel()
			r := newReaders(t)
			moves, h := map[string]move{}, r.start("DELIVERY="+delivery)
			for _, point := range []string{beforePostgres, beforeOutput, beforeOffsets, behindOffsets} {
				moves[point], h = r.killed(h, delivery, point)
			}
			r.stop(h)
			r.answered(reasonableTimeout, delivery == "at-least-once")
			r.readOn()
			for point, m := range moves {
				want := once
				if point == beforeOffsets {
					want = again
				}
				m.check(t, r.committed, "killed "+point+", read_committed", want.committed)
				m.check(t, r.uncommitted, "killed "+point+", read_uncommitted", want.uncommitted)
			}
		})
	}
}

// For as long as the brokers do not take the offsets, nothing else of the transaction comes: from a handler that has lost its place in the group
// they never do, and then nobody has seen anything of it.
func TestATransactionSendsItsOffsetsBeforeItsRecords(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	h := b.start("DELIVERY=exactly-once")
	w := b.watchAs(kgo.ReadUncommitted(), creationAnswers, transferAnswers)
	var n ids
	account := b.open(w, n.next()).IBAN
	var allowed atomic.Bool
	var refused, produced atomic.Int64
	b.refuse(kmsg.TxnOffsetCommit, func(request kmsg.Request) kmsg.Response {
		if allowed.Load() {
			return nil
		}
		refused.Add(1)
		return notInTransaction(request.(*kmsg.TxnOffsetCommitRequest), kerr.CoordinatorLoadInProgress)
	})
	b.refuse(kmsg.Produce, func(request kmsg.Request) kmsg.Response {
		if !allowed.Load() && request.(*kmsg.ProduceRequest).TransactionID != nil {
			produced.Add(1)
		}
		return nil
	})
	deposit := b.command(&bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 5, From: bank.Cash, To: account})
	b.send(deposit)
	b.eventually("the client tries again and again", reasonableTimeout, func() error {
		if tries := refused.Load(); tries < 20 {
			return fmt.Errorf("%d so far", tries)
		}
		return nil
	})
	if requests := produced.Load(); requests != 0 {
		t.Errorf("%d requests to produce before the offsets are taken", requests)
	}
	allowed.Store(true)
	w.wait(transferAnswers, string(deposit.Key), 1)
	b.answered(reasonableTimeout, false)
	b.stop(h)
	if answers := w.of(transferAnswers, ""); len(answers) != 1 {
		t.Errorf("%d answers, to a reader of uncommitted records", len(answers))
	}
}
