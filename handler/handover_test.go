package handler

import "testing"

func TestHandover(t *testing.T) {
	t.Parallel()
	a, b := &lane{}, &lane{}
	batch := func(l *lane, n int) executed { return executed{lane: l, records: make([]record, n)} }

	t.Run("all that waits is taken, in order", func(t *testing.T) {
		t.Parallel()
		h := newHandover(100, 0)
		for n := range 50 {
			h.put(batch(a, n%3+1))
		}
		h.put(batch(b, 7))
		got, end := h.take()
		if end || len(got) != 51 {
			t.Fatalf("%d batches, end %t", len(got), end)
		}
		for n := range 50 {
			if len(got[n].records) != n%3+1 {
				t.Errorf("batch %d has %d records", n, len(got[n].records))
			}
		}
	})

	t.Run("a lane waits for room, and the other one doesn't wait for it", func(t *testing.T) {
		t.Parallel()
		h := newHandover(10, 0)
		if h.busy(a, 25, true) != nil {
			t.Error("no room where nothing waits")
		}
		h.put(batch(a, 25))
		taken := h.busy(a, 1, true)
		if taken == nil || h.busy(b, 10, true) != nil {
			t.Error("there is room beyond the limit, or none for the other lane")
		}
		h.put(batch(b, 5))
		if h.busy(b, 5, true) != nil || h.busy(b, 6, true) == nil {
			t.Error("the limit holds for what waits and what comes, together")
		}
		h.take()
		<-taken
		if h.busy(a, 10, true) != nil {
			t.Error("no room though all was taken")
		}
	})

	t.Run("a few large records fill a lane's room as many small ones do", func(t *testing.T) {
		t.Parallel()
		h := newHandover(1000, 0)
		large := executed{lane: a, records: []record{{value: make([]byte, queueBytes)}}}
		h.put(large)
		taken := h.busy(a, 1, true)
		if taken == nil || h.busy(b, 1, true) != nil {
			t.Error("there is room beyond the limit in bytes, or none for the other lane")
		}
		h.take()
		<-taken
		if h.busy(a, 1, true) != nil {
			t.Error("no room though all was taken")
		}
	})

	t.Run("a lane is busy while its latest batch is published, and not while it waits for the other lane's", func(t *testing.T) {
		t.Parallel()
		h := newHandover(10, 0)
		if h.busy(a, 1, false) != nil {
			t.Error("busy with nothing")
		}
		h.put(batch(a, 1))
		first := h.busy(a, 1, false)
		if first == nil || h.busy(b, 1, false) != nil {
			t.Error("what is about to be taken makes its own lane busy, and no other")
		}
		h.take()
		h.put(batch(b, 1))
		if h.busy(a, 1, false) == nil || h.busy(b, 1, false) != nil {
			t.Error("while a's batch is published, a is busy, and b, whose batch waits for that, isn't")
		}
		h.done()
		<-first
		if h.busy(a, 1, false) != nil || h.busy(b, 1, false) == nil {
			t.Error("when a's is published, b's is about to be taken")
		}
	})

	t.Run("few commands overlap with those before them, more wait for them", func(t *testing.T) {
		t.Parallel()
		h := newHandover(10, 4)
		h.put(batch(a, 1))
		if h.busy(a, 3, false) != nil || h.busy(a, 4, false) == nil {
			t.Error("what waits and what comes are few, together")
		}
		h.take()
		h.put(batch(a, 2))
		h.take()
		if h.busy(a, 1, false) != nil || h.busy(a, 2, false) == nil || h.busy(b, 10, false) != nil {
			t.Error("what is on its way and what comes are few, together and of one lane")
		}
		h.done()
		if h.busy(a, 2, false) != nil || h.busy(a, 3, false) == nil {
			t.Error("the oldest is published, the other one on its way")
		}
	})

	t.Run("what waits when it is closed is taken", func(t *testing.T) {
		t.Parallel()
		h := newHandover(1, 0)
		h.put(batch(a, 1))
		h.close()
		<-h.ready
		if got, end := h.take(); len(got) != 1 || !end {
			t.Errorf("%d batches, end %t", len(got), end)
		}
	})
}
