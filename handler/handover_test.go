package handler

import (
	"context"
	"testing"
	"testing/synctest"
)

func TestHandover(t *testing.T) {
	t.Parallel()
	a, b := &lane{}, &lane{}
	batch := func(l *lane, n int) executed { return executed{lane: l, records: make([]record, n)} }

	t.Run("all that waits is taken, in order", func(t *testing.T) {
		t.Parallel()
		h := newHandover(100)
		for n := range 50 {
			h.put(t.Context(), batch(a, n%3+1))
		}
		h.put(t.Context(), batch(b, 7))
		got, open := h.take()
		if !open || len(got) != 51 {
			t.Fatalf("%d batches, open %t", len(got), open)
		}
		for n := range 50 {
			if len(got[n].records) != n%3+1 {
				t.Errorf("batch %d has %d records", n, len(got[n].records))
			}
		}
	})

	t.Run("a lane waits for room, and the other one doesn't wait for it", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			h := newHandover(10)
			h.put(t.Context(), batch(a, 25)) // as large as it may be, when nothing waits
			done := make(chan bool)
			go func() { done <- h.put(t.Context(), batch(a, 1)) }()
			synctest.Wait()
			select {
			case <-done:
				t.Error("there was room beyond the limit")
			default:
			}
			if !h.put(t.Context(), batch(b, 10)) {
				t.Error("the other lane was refused")
			}
			if got, _ := h.take(); len(got) != 2 {
				t.Errorf("%d batches, want 2", len(got))
			}
			if !<-done {
				t.Error("it was refused though there was room")
			}
		})
	})

	t.Run("a lane is busy while its latest batch is published, and not while it waits for the other lane's", func(t *testing.T) {
		t.Parallel()
		h := newHandover(10)
		if h.busy(a) != nil {
			t.Error("busy with nothing")
		}
		h.put(t.Context(), batch(a, 1))
		first := h.busy(a)
		if first == nil || h.busy(b) != nil {
			t.Error("what is about to be taken makes its own lane busy, and no other")
		}
		h.take()
		h.put(t.Context(), batch(b, 1))
		if h.busy(a) == nil || h.busy(b) != nil {
			t.Error("while a's batch is published, a is busy, and b, whose batch waits for that, isn't")
		}
		h.done()
		<-first
		if h.busy(a) != nil || h.busy(b) == nil {
			t.Error("when a's is published, b's is about to be taken")
		}
	})

	t.Run("who waits for room goes when the context ends", func(t *testing.T) {
		t.Parallel()
		h := newHandover(1)
		h.put(t.Context(), batch(a, 1))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if h.put(ctx, batch(a, 1)) {
			t.Error("it was let in")
		}
	})

	t.Run("what waits when it is closed is taken", func(t *testing.T) {
		t.Parallel()
		h := newHandover(1)
		h.put(t.Context(), batch(a, 1))
		h.close()
		if got, open := h.take(); len(got) != 1 || !open {
			t.Errorf("%d batches, open %t", len(got), open)
		}
		if _, open := h.take(); open {
			t.Error("it is still open")
		}
	})
}
