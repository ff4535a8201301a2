package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/audit"
	"openbank/bank"
	"openbank/fleet"
	"openbank/progress"
)

// watch follows answers and dead letters while the demo sends, as a client of the bank would: to know when all has come, to
// learn the accounts, and to take the time. Judging is not its business.
type watch struct {
	reach *reach

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced when something came
	answers  int64
	letters  int64
	last     time.Time // when the last of them came
	reasons  map[bank.ID]string
	accounts map[bank.ID]account
	due      map[bank.ID]time.Time // when the commands that are timed were to be sent
	latency  *hdrhistogram.Histogram
	failed   error
}

const slowest = 10 * time.Minute // what the histogram can hold

func newWatch(ctx context.Context, r *reach) (*watch, error) {
	if err := r.follow(ctx, false, creationAnswers, transferAnswers, audit.DeadLetter(creations), audit.DeadLetter(transfers)); err != nil {
		return nil, err
	}
	return &watch{
		reach: r, changed: make(chan struct{}),
		reasons: map[bank.ID]string{}, accounts: map[bank.ID]account{}, due: map[bank.ID]time.Time{},
		latency: hdrhistogram.New(1, slowest.Microseconds(), 3),
	}, nil
}

// run follows until ctx is done.
func (w *watch) run(ctx context.Context) {
	for {
		records, err := w.reach.next(ctx)
		if ctx.Err() != nil {
			return
		}
		now := time.Now()
		w.mu.Lock()
		for _, record := range records {
			if err != nil {
				break
			}
			err = w.take(ctx, record, now)
		}
		w.failed = err
		close(w.changed)
		w.changed = make(chan struct{})
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (w *watch) take(ctx context.Context, record *kgo.Record, now time.Time) error {
	w.last = now
	if record.Topic != creationAnswers && record.Topic != transferAnswers {
		w.letters++
		return nil
	}
	w.answers++
	message, err := w.reach.codec.Decode(ctx, record.Value)
	if err != nil {
		return fmt.Errorf("decoding an answer: %w", err)
	}
	var id bank.ID
	reason := ""
	switch m := message.(type) {
	case *bank.AccountCreationConfirmed:
		id = m.ID
		w.accounts[id] = account{m.IBAN, m.Token}
	case *bank.AccountCreationFailed:
		id, reason = m.ID, m.Reason
	case *bank.MoneyTransferConfirmed:
		id = m.ID
	case *bank.MoneyTransferFailed:
		id, reason = m.ID, m.Reason
	}
	w.reasons[id] = reason
	if due, ok := w.due[id]; ok {
		delete(w.due, id)
		if err := w.latency.RecordValue(max(1, now.Sub(due).Microseconds())); err != nil {
			return fmt.Errorf("noting a latency of %s: %w", now.Sub(due), err)
		}
	}
	return nil
}

// expect starts the clock of a command that is to be sent at due.
func (w *watch) expect(id bank.ID, due time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.due[id] = due
}

func (w *watch) counts() (answers, letters int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.answers, w.letters
}

// lastAt is when the latest record came.
func (w *watch) lastAt() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// until waits for so many answers and dead letters. It gives up when nothing has come for patience, when a handler ends, or
// when ctx is done.
func (w *watch) until(ctx context.Context, h *fleet.Fleet, p *progress.Progress, answers, letters int64, patience time.Duration) error {
	startAnswers, startLetters := w.counts()
	start := startAnswers + startLetters
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		w.mu.Lock()
		haveAnswers, haveLetters, failed, changed := w.answers, w.letters, w.failed, w.changed
		w.mu.Unlock()
		if failed != nil {
			return failed
		}
		p.At(haveAnswers+haveLetters-start, answers+letters-start)
		if haveAnswers >= answers && haveLetters >= letters {
			return nil
		}
		timer.Reset(patience)
		select {
		case <-changed:
		case i := <-h.Ended():
			return h.Unexpected(i)
		case <-timer.C:
			return fmt.Errorf("nothing has come for %s: %d of %d answers and %d of %d dead letters are here; see %s", patience, haveAnswers, answers, haveLetters, letters, h.Logs()[0])
		case <-ctx.Done():
			return fmt.Errorf("waiting for the answers, %d of %d are here: %w", haveAnswers, answers, context.Cause(ctx))
		}
	}
}
