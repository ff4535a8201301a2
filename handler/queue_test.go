package handler

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func queued(offset int64, bytes int) record {
	return record{value: make([]byte, bytes), offset: offset}
}

func never() <-chan time.Time { return nil }

func free(int, bool) <-chan struct{} { return nil }

func TestQueue(t *testing.T) {
	t.Parallel()
	t.Run("takes all that waits in order, at most the limit", func(t *testing.T) {
		t.Parallel()
		q := newQueue(3, 3, 1<<20)
		for i := range int64(5) {
			q.put(queued(i, 1))
		}
		first, _ := q.take(never(), free)
		rest, _ := q.take(never(), free)
		if len(first) != 3 || len(rest) != 2 || first[0].offset != 0 || rest[1].offset != 4 {
			t.Fatalf("took %d and %d records", len(first), len(rest))
		}
		if q.load() != 0 {
			t.Errorf("an empty queue has load %v", q.load())
		}
	})
	t.Run("does not wait for company", func(t *testing.T) {
		t.Parallel()
		q := newQueue(10, 10, 1<<20)
		got := make(chan int)
		go func() {
			r, _ := q.take(never(), free)
			got <- len(r)
		}()
		q.put(queued(0, 1))
		if n := <-got; n != 1 {
			t.Fatalf("took %d records", n)
		}
	})
	t.Run("is full by number or by bytes and has room again after a take", func(t *testing.T) {
		t.Parallel()
		for _, q := range []*queue{newQueue(2, 2, 1<<30), newQueue(1000, 1000, 3000)} {
			q.put(queued(0, 500))
			q.put(queued(1, 500))
			if q.hasRoom(time.Millisecond) {
				t.Fatalf("has room at load %v", q.load())
			}
			room := make(chan bool)
			go func() { room <- q.hasRoom(time.Minute) }()
			q.take(never(), free)
			if !<-room {
				t.Error("no room after everything was taken")
			}
		}
	})
	t.Run("waits while the producer is busy, unless it is full", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(3, 3, 1<<20)
			var over atomic.Pointer[chan struct{}]
			begin := func() { c := make(chan struct{}); over.Store(&c) }
			busy := func(_ int, full bool) <-chan struct{} {
				if full {
					return nil
				}
				if c := over.Load(); c != nil {
					return *c
				}
				return nil
			}
			got := make(chan int, 1)
			take := func() {
				go func() {
					r, _ := q.take(never(), busy)
					got <- len(r)
				}()
			}
			begin()
			take()
			q.put(queued(0, 1))
			q.put(queued(1, 1))
			synctest.Wait()
			if len(got) > 0 {
				t.Fatalf("took %d records while the producer was busy", <-got)
			}
			close(*over.Swap(nil))
			if n := <-got; n != 2 {
				t.Errorf("took %d records, want 2", n)
			}
			begin()
			take()
			for i := range int64(3) {
				q.put(queued(i, 1))
			}
			if n := <-got; n != 3 {
				t.Errorf("took %d records, want 3", n)
			}
		})
	})
	t.Run("gives back what waits when it closes and takes nothing more", func(t *testing.T) {
		t.Parallel()
		q := newQueue(10, 10, 1<<20)
		q.put(queued(0, 1))
		if left := q.close(); len(left) != 1 {
			t.Fatalf("%d records left", len(left))
		}
		if q.put(queued(1, 1)) {
			t.Error("a closed queue took a record")
		}
		if _, open := q.take(never(), free); open {
			t.Error("a closed queue is open")
		}
	})
	t.Run("returns without records when idle", func(t *testing.T) {
		t.Parallel()
		idle := make(chan time.Time, 1)
		idle <- time.Time{}
		if r, open := newQueue(1, 1, 1).take(idle, free); len(r) != 0 || !open {
			t.Fatalf("took %d records, open %v", len(r), open)
		}
	})
}
