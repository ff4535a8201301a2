package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"openbank/health"
	"openbank/metric"
)

// surroundings tells the log once when there is something to wait for, and once when it is over, however many callers wait and
// however often they try.
//
// That the server is away, full or read-only concerns all callers: it is over when one of them succeeds. Rows that another session holds,
// or a statement that fails for whatever reason, concern the caller alone: one lane's success says nothing of the other's.
type surroundings struct {
	log       *slog.Logger
	condition *health.Condition

	mu      sync.Mutex
	waiting map[string]int // how many callers wait, by state
	since   time.Time
}

var everybodys = []string{stateAway, stateFull, stateReadOnly}

// enter takes a caller from one state to another; "" is well.
func (s *surroundings) enter(from, to string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from == to && s.waiting[to] > 0 {
		return
	}
	if s.waiting == nil {
		s.waiting = map[string]int{}
	}
	if len(s.waiting) == 0 {
		s.since = time.Now()
	}
	s.condition.Fails(to + ": " + err.Error())
	if s.waiting[to]++; s.waiting[to] == 1 {
		s.log.Warn(to+"; waiting", "error", err)
	}
	if from != to {
		s.forget(from)
	}
}

// leave takes a caller out of its state: because it succeeded, or because it gave up, which says nothing of the surroundings.
func (s *surroundings) leave(from string, succeeded bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		return
	}
	s.forget(from)
	defer func() {
		if len(s.waiting) == 0 {
			s.condition.Holds()
		}
	}()
	if !succeeded {
		return
	}
	over := from
	for _, state := range everybodys {
		if s.waiting[state] > 0 {
			delete(s.waiting, state)
			over = state
		}
	}
	if len(s.waiting) == 0 && over != "" {
		s.log.Info("Postgres works again", "after", time.Since(s.since).Round(time.Millisecond), "was", over)
	}
}

// forget counts a caller out of a state, unless another one's success has ended it for all.
func (s *surroundings) forget(state string) {
	if s.waiting[state] > 1 {
		s.waiting[state]--
	} else {
		delete(s.waiting, state)
	}
}

// retryCounters count the tries that are made again, by state.
func retryCounters(m *metric.Set) map[string]*metric.Counter {
	counters := map[string]*metric.Counter{}
	for state, cause := range map[string]string{
		stateAway: "away", stateFull: "full", stateReadOnly: "read_only", stateBlocked: "blocked", stateMeeting: "met", stateTaken: "no_slot", stateFailing: "failing",
	} {
		counters[state] = m.Counter("openbank_retries_total", string(health.Postgres), cause)
	}
	return counters
}

// The waits between tries. Two sessions that met try again at once, the first times; then they back off as well. What
// goes on for longer is told: an old handler's traffic, or a sequence that was set back.
const (
	firstWait = 10 * time.Millisecond
	lastWait  = 2 * time.Second
	atOnce    = 3
	unusual   = 10
)

// retry calls try until it succeeds, fails for a reason that no waiting mends, or ctx is done. The error is ctx's, a
// *FatalError, or one of class refused.
func (s *Store) retry(ctx context.Context, try func(context.Context) error) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = firstWait, lastWait
	pause.Reset()
	met := 0
	var err error
	state := ""
	enter := func(now string) {
		s.surroundings.enter(state, now, err)
		state = now
	}
	defer func() { s.surroundings.leave(state, err == nil) }()
	for {
		if ctx.Err() != nil {
			return gaveUp(ctx, err)
		}
		if err = try(ctx); err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return gaveUp(ctx, err)
		}
		v := s.classify(err)
		switch v.class {
		case fatal:
			return s.explain(err)
		case refused:
			return err
		case again:
			met++
			s.retries[stateMeeting].Inc()
			if met > unusual {
				enter(stateMeeting)
			}
			s.surroundings.log.Debug("running the batch again", "error", err)
			if met <= atOnce {
				continue
			}
		case wait:
			s.retries[v.state].Inc()
			if v.state == stateReadOnly || v.state == stateFailing {
				s.renew() // another server may answer at the same address by now
			}
			enter(v.state)
		}
		sleep(ctx, pause.NextBackOff())
	}
}

// read is retry for what is read by a session that waits for a server's answer for as long as it takes.
func (s *Store) read(ctx context.Context, try func(context.Context) error) error {
	return s.untilDone(ctx, func() error { return s.retry(ctx, try) })
}

// untilDone ends all sessions when ctx ends: a server that stands still gives no answer, not even that a statement is given up.
func (s *Store) untilDone(ctx context.Context, do func() error) error {
	defer s.lines.until(ctx)()
	err := do()
	switch {
	case err == nil || ctx.Err() == nil || errors.As(err, new(*FatalError)):
		return err
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%s: the server did not answer in time: %w", s.setting, err)
	case errors.Is(err, ctx.Err()):
		return err
	default: // of the sessions that were ended
		return gaveUp(ctx, err)
	}
}

// gaveUp is ctx's error, and what stood in the way.
func gaveUp(ctx context.Context, last error) error {
	if last == nil {
		return fmt.Errorf("waiting for Postgres: %w", ctx.Err())
	}
	return fmt.Errorf("waiting for Postgres: %w: %w", ctx.Err(), last)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
