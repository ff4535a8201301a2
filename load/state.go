package load

import (
	"context"
	"fmt"
	"time"
)

// State is how far a book is.
type State struct {
	Commands, Answers int64
	Events, Expected  int64 // of BalanceChanged; both are 0 in an Echo's book
	// Repeated are answers and events that came once more than they had to.
	Repeated int64
	Wrong    int64
	Faults   []string // the first of those that are wrong
	// Delivery is how the answers were published: exactly-once in transactions, at-least-once without. Empty when none came.
	Delivery string
	Last     time.Time // when the latest answer or event was read
}

// State returns it.
func (b *Book) State() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := State{
		Commands: int64(len(b.commands)), Answers: b.answers, Events: b.events, Expected: b.expectedEvents,
		Repeated: b.repeated, Wrong: b.wrong, Faults: append([]string(nil), b.faults...), Last: b.last,
	}
	switch {
	case b.transactional && b.plain:
		s.Delivery = "mixed"
	case b.transactional:
		s.Delivery = "exactly-once"
	case b.plain:
		s.Delivery = "at-least-once"
	}
	return s
}

// Complete says whether all has come that has to.
func (s State) Complete() bool { return s.Answers >= s.Commands && s.Events >= s.Expected }

// Await waits until all has come that must come of what was sent. It gives up when nothing has come for patience, or when ctx is
// done.
func (b *Book) Await(ctx context.Context, patience time.Duration, progress func(State)) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		b.mu.Lock()
		changed, opening := b.changed, len(b.opening)
		b.mu.Unlock()
		s := b.State()
		progress(s)
		if s.Complete() && opening == 0 {
			return nil
		}
		timer.Reset(patience)
		select {
		case <-changed:
		case <-timer.C:
			return fmt.Errorf("nothing has come for %s: %d of %d answers and %d of %d events are here, and %d accounts are not open yet",
				patience, s.Answers, s.Commands, s.Events, s.Expected, opening)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Settle holds the accounts to their events, once all have come. What is wrong counts from then on.
func (b *Book) Settle() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for n := range b.commands {
		if b.commands[n].state&answered == 0 {
			b.fault("command %d (%s) was not answered", n, b.id(n))
		}
	}
	if b.kind != Bank {
		return
	}
	for i := range b.accounts {
		a := &b.accounts[i]
		switch {
		case a.seen != a.events:
			b.fault("account %s changed %d times and should have %d times", a.iban, a.seen, a.events)
		case a.events > 0 && a.last != a.balance:
			b.fault("account %s ends with a balance of %d and should have %d", a.iban, a.last, a.balance)
		case a.links != mixed(a.balance)-mixed(0):
			b.fault("account %s: the balances of its events are no chain", a.iban)
		}
	}
}
