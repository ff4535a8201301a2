package handler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

const (
	// firstRejoin and lastRejoin bound the pause before a lane joins the group anew; it doubles from one to the other for as long as
	// the lane is fenced soon after it has joined.
	firstRejoin = 100 * time.Millisecond
	lastRejoin  = 30 * time.Second
	// soon is within what time a fencing belongs to the one before.
	soon = time.Minute
)

// fenced takes the news that another member has this lane's place in the group. That need not be so: brokers that come back may take an
// earlier try of ours to join for somebody else's, and a client that was told so is dead. What tells is the slot, which the place is named
// after: while it is ours, a new consumer takes the place back, with new epochs, so that nothing of what the old one read is published.
// When it is another's, the lease ends the handler.
//
// A place that was configured has no lease. Another handler may well be configured with it, and each would fence the other for ever: so it
// is taken back once, and given up when it is gone again soon after.
func (l *lane) fenced(work context.Context) {
	if l.rejoining {
		return
	}
	l.endWatch()
	l.retire(slices.Collect(maps.Values(l.epochs)))
	l.meter.fenced.Inc()
	l.joined.Fails("group " + l.h.cfg.Group + " has another member in its place for topic " + l.topic.name + ": it joins anew")
	if time.Since(l.fencedAt) > soon {
		l.fencings = 0
	}
	l.fencings++
	l.fencedAt = time.Now()
	if l.h.cfg.GroupInstanceID != "" && l.fencings > 1 {
		l.h.fail(errors.New(replaced(l.h.cfg.Group, l.h.instanceID())))
		return
	}
	l.rejoining = true
	wait := min(firstRejoin<<min(l.fencings-1, 10), lastRejoin)
	l.log.Warn("the brokers say that another member has our place in the group: joining anew", "group", l.h.cfg.Group, "after", wait)
	l.background.Go(func() {
		pause(l.ctx, wait)
		err := l.h.until(l.ctx, l.log, joiningAnew, func() error { return l.h.lease.Confirm(l.ctx) })
		l.post(func() {
			l.rejoining = false
			if err == nil {
				err = l.joinAnew(work)
			}
			if err != nil && l.ctx.Err() == nil {
				l.h.fail(fmt.Errorf("joining group %s anew: %w", l.h.cfg.Group, err))
			}
		})
	})
}

// joinAnew replaces the consumer.
func (l *lane) joinAnew(work context.Context) error {
	fresh, err := l.newConsumer()
	if err != nil {
		return err
	}
	l.inUse.Lock()
	old := l.consumer
	l.consumer = fresh
	l.inUse.Unlock()
	// The old one is closed before the new one joins, or it would take the place for lost to the new one.
	if err := old.Close(); err != nil {
		l.log.Debug("closing the fenced consumer", "error", err)
	}
	l.paused = false
	return l.subscribe(work)
}

// ask calls the consumer from another goroutine than Poll's, which may replace it.
func (l *lane) ask(call func(*kafka.Consumer) error) error {
	l.inUse.RLock()
	defer l.inUse.RUnlock()
	return call(l.consumer)
}
