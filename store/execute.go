package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/lib/pq"

	"openbank/crash"
)

// Execute executes a batch and returns an outcome for each command, in the same order. When it returns, all of it is
// committed. It waits as long as the surroundings take, until ctx is done, and may run the batch several times until
// then; only the last run, whose rows were committed, speaks. After an error nothing is known about the batch: it is to
// be executed again, and the rows will tell what had been done.
//
// A command that Postgres refuses is found by halving the batch, in order, and comes back as a DeadLetter. A batch of
// more than MaxBatch commands takes several transactions.
//
// Errors: ctx's, or a *FatalError.
func (s *Store) Execute(ctx context.Context, b Batch) ([]Outcome, error) {
	for i := range b.Commands {
		if c := &b.Commands[i]; (c.Creation == nil) == (c.Transfer == nil) {
			return nil, &FatalError{Sentence: fmt.Sprintf("command %d of a batch must be either a creation or a transfer", i)}
		}
	}
	outcomes := make([]Outcome, len(b.Commands))
	commands, rest := b.Commands, outcomes
	for len(commands) > MaxBatch {
		if err := s.run(ctx, commands[:MaxBatch], nil, rest[:MaxBatch]); err != nil {
			return nil, err
		}
		commands, rest = commands[MaxBatch:], rest[MaxBatch:]
	}
	if err := s.run(ctx, commands, b.Progress, rest); err != nil {
		return nil, err
	}
	return outcomes, nil
}

// run executes at most MaxBatch commands, in one transaction if all goes well. Progress goes with the last of them, for
// it covers all.
func (s *Store) run(ctx context.Context, commands []Command, progress []Progress, outcomes []Outcome) error {
	if len(commands) == 0 && len(progress) == 0 {
		return nil
	}
	err := s.retry(ctx, func(ctx context.Context) error { return s.try(ctx, commands, progress, outcomes) })
	if err == nil || ctx.Err() != nil {
		return err
	}
	var stop *FatalError
	if errors.As(err, &stop) {
		return err
	}
	switch len(commands) {
	case 0:
		return &FatalError{"Postgres refuses to store the progress of a partition", err}
	case 1:
		outcomes[0] = Outcome{Disposition: DeadLetter, Reason: refusal(err)}
		return s.run(ctx, nil, progress, nil)
	}
	half := len(commands) / 2
	if err := s.run(ctx, commands[:half], nil, outcomes[:half]); err != nil {
		return err
	}
	return s.run(ctx, commands[half:], progress, outcomes[half:])
}

// refusal is the dead letter's reason for a command that Postgres refuses.
func refusal(err error) string {
	var pe *pq.Error
	if errors.As(err, &pe) {
		return "refused by Postgres: " + pe.Message + " (" + string(pe.Code) + ")"
	}
	return "refused by Postgres: " + err.Error()
}

// try runs a batch once. Whatever goes wrong, the transaction is rolled back and outcomes are void.
func (s *Store) try(ctx context.Context, commands []Command, progress []Progress, outcomes []Outcome) error {
	for sessions := s.executing.Stats().MaxOpenConnections; ; {
		opened := s.opened.Load()
		b := newBatch(commands, outcomes)
		if err := s.numberTopics(ctx, b); err != nil {
			return err
		}
		begun := false
		err := s.lend(ctx, func(t *session) error {
			if s.opened.Load() != opened {
				return errRenumber
			}
			if err := b.drawIdentities(s.random); err != nil {
				return err
			}
			crash.Point("before-row-locks", len(commands))
			if err := t.begin(ctx, b); err != nil {
				t.rollback()
				return err
			}
			begun = true
			return s.finish(ctx, t, b, progress)
		})
		switch {
		case errors.Is(err, errRenumber):
		case !begun && sessions > 0 && errors.Is(err, driver.ErrBadConn):
			sessions-- // one that the server has ended while nobody used it says so at its first message
		default:
			return err
		}
	}
}

// errRenumber says that a session was opened after the topics were numbered, perhaps with a server where the numbers mean something else.
var errRenumber = errors.New("a session was opened meanwhile")

// finish decides a batch that begin has read, writes it and commits.
func (s *Store) finish(ctx context.Context, t *session, b *batch, progress []Progress) error {
	crash.Point("after-row-locks", len(b.commands))
	b.since = s.since.Load()
	b.decide()
	if err := t.write(ctx, b, progress); err != nil {
		t.rollback()
		return err
	}
	crash.Point("before-postgres-commit", len(b.commands))
	if err := t.Commit(); err != nil { // or perhaps it was: the next run's look-up will tell
		return fmt.Errorf("committing: %w", err)
	}
	crash.Point("after-postgres-commit", len(b.commands))
	s.memory.keep(progress)
	return nil
}

// rollback ends a transaction that failed, if there is one. Where that fails as well the session is broken: the server rolls back, and the
// pool drops it.
func (t *session) rollback() {
	if t.IsValid() {
		_ = t.Rollback()
	}
}
