package handler

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A stop has a budget, Config.StopTimeout. Most of it is for the work in flight; stopReserve, but no more than a quarter of it, is kept for
// what follows: writing down how far it was published, and leaving the group. A server that stands still with its connection open holds
// its caller for longer than any of that, so nothing is waited for beyond the budget but for the two moments of lastMoment.
const (
	stopReserve = 2 * time.Second
	lastMoment  = 500 * time.Millisecond
)

// stop is the end of a run: stages are waited for in the order of the data's way.
type stop struct {
	h   *Handler
	end time.Time // of the budget
	// reserve is what of it is not for the work in flight.
	reserve time.Duration
	// overdue fires when the work in flight takes too long.
	overdue *time.Timer
}

func (h *Handler) beginStop() *stop {
	s := &stop{h: h, end: time.Now().Add(h.cfg.StopTimeout), reserve: min(stopReserve, h.cfg.StopTimeout/4)}
	forWork := h.cfg.StopTimeout - s.reserve
	// A stop that takes too long ends like a failure: what is not finished is left to the next handler.
	s.overdue = time.AfterFunc(forWork, func() {
		h.fail(fmt.Errorf("could not finish the work in flight within %s (of a stop's %s): what is left is done again at the next start", forWork, h.cfg.StopTimeout))
	})
	return s
}

// finish waits for the work in flight, writes down how far it was published, and ends the rest.
func (s *stop) finish(work context.Context, inFlight, rest func()) (finished bool) {
	defer s.overdue.Stop()
	return within(time.Until(s.end), func() {
		for _, l := range s.h.lanes {
			l.stopTaking()
		}
		inFlight()
		s.overdue.Stop()
		ctx, cancel := context.WithDeadline(work, s.end)
		defer cancel()
		for _, l := range s.h.lanes {
			l.lastProgress(ctx, s.end.Add(-s.reserve), s.reserve/3)
		}
		rest()
	})
}

// leave waits until the lanes have left the group. The broker hears of it only after it has answered what we asked before, and that may
// be a rebalance that waits for others.
func (s *stop) leave(left func()) {
	if !within(max(time.Until(s.end), lastMoment), left) {
		s.h.log.Warn("leaving the group takes too long: it will notice by itself", "group", s.h.cfg.Group)
	}
}

// result is Run's: why the work ended, nil for a stop.
func (h *Handler) result(work context.Context) error {
	if err := context.Cause(work); err != nil && !errors.Is(err, errStopped) {
		return err
	}
	var letters uint64
	for _, l := range h.lanes {
		letters += l.meter.buried()
	}
	h.log.Info("stopped", "executed", h.meter.total(nowExecuted), "unfinished", h.meter.total(unfinished),
		"duplicates", h.meter.total(duplicate), "dead_letters", letters)
	return nil
}

// within says whether f ended within d. If not, it goes on until the process ends.
func within(d time.Duration, f func()) bool {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f()
	}()
	select {
	case <-ended:
		return true
	case <-time.After(d):
		return false
	}
}
