package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// surroundings tells the log once when Postgres enters a state that has to be waited out, and once when it is over,
// however many callers wait and however often they try.
type surroundings struct {
	log *slog.Logger

	mu    sync.Mutex
	state string // "" is well
	since time.Time
}

func (s *surroundings) enter(state string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == state {
		return
	}
	if s.state == "" {
		s.since = time.Now()
	}
	s.state = state
	s.log.Warn(state+"; waiting", "error", err)
}

func (s *surroundings) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == "" {
		return
	}
	s.log.Info("Postgres works again", "after", time.Since(s.since).Round(time.Millisecond), "was", s.state)
	s.state = ""
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
	for {
		if ctx.Err() != nil {
			return gaveUp(ctx, err)
		}
		if err = try(ctx); err == nil {
			s.surroundings.leave()
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
			if met > unusual {
				s.surroundings.enter(stateMeeting, err)
			}
			s.surroundings.log.Debug("running the batch again", "error", err)
			if met <= atOnce {
				continue
			}
		case wait:
			if v.state == stateReadOnly || v.state == stateFailing {
				s.renew() // another server may answer at the same address by now
			}
			s.surroundings.enter(v.state, err)
		}
		sleep(ctx, pause.NextBackOff())
	}
}

// gaveUp is ctx's error, and what stood in the way.
func gaveUp(ctx context.Context, last error) error {
	return fmt.Errorf("waiting for Postgres: %w", errors.Join(ctx.Err(), last))
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
