package handler

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// flight counts the deliveries that a publication waits for.
type flight struct {
	pending atomic.Int64
	landed  chan struct{}

	mu    sync.Mutex
	first map[string]error // the first error of each topic, of records that the client did not take and of nameless reports
}

func (f *flight) fail(topic string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.first == nil {
		f.first = map[string]error{}
	}
	if f.first[topic] == nil {
		f.first[topic] = err
	}
}

// err is the first error of one topic, if any failed: the same one each time, whichever fails first, since it is logged.
func (f *flight) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.first) == 0 {
		return nil
	}
	topic := slices.Min(slices.Collect(maps.Keys(f.first)))
	return fmt.Errorf("producing to %s: %w", topic, f.first[topic])
}

func newFlight(n int) *flight {
	f := &flight{landed: make(chan struct{})}
	if n == 0 {
		close(f.landed)
	}
	f.pending.Store(int64(n))
	return f
}

func (f *flight) done(n int64) {
	if n > 0 && f.pending.Add(-n) == 0 {
		close(f.landed)
	}
}

// isDown says whether every report is there.
func (f *flight) isDown() bool { return f.pending.Load() == 0 }

// wait waits until every report is there. Error: ctx's cause.
func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.landed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
