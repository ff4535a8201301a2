package handler

import "testing"

// A record that was dropped is in flight no more, and not handled: its partition's offsets must not pass it.
func TestOnlyWhatIsPublishedIsPassed(t *testing.T) {
	t.Parallel()
	const next, end = 10, 12
	for name, c := range map[string]struct {
		change func(*epoch)
		want   int64
	}{
		"idle":                         {func(*epoch) {}, end},
		"held":                         {func(e *epoch) { e.running = false }, noOffset},
		"no end seen since a seek":     {func(e *epoch) { e.readTo = noOffset }, noOffset},
		"the end is its last record":   {func(e *epoch) { e.readTo = next }, noOffset},
		"a record in flight":           {func(e *epoch) { e.inflight.Store(1) }, noOffset},
		"its last record was dropped":  {func(e *epoch) { e.finished.Store(next - 1); e.published.Store(next - 1) }, noOffset},
		"offsets were set back":        {func(e *epoch) { e.finished.Store(end + 5); e.published.Store(end + 5) }, noOffset},
		"offsets that Kafka lacks yet": {func(e *epoch) { e.published.Store(next - 1) }, noOffset},
	} {
		e := &epoch{running: true, next: next, readTo: end}
		e.finished.Store(next)
		e.published.Store(next)
		c.change(e)
		if got := e.passable(); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// A record that the queue refuses at a stop was not handled either, although nothing is in flight and all before it may have been published
// in former times.
func TestNothingIsPassedDuringAStop(t *testing.T) {
	t.Parallel()
	l := &lane{queue: newQueue(1, 1, 1), epochs: map[int32]*epoch{}}
	e := &epoch{running: true, next: 10, readTo: 12, idleAt: 12}
	e.finished.Store(10)
	e.published.Store(10)
	l.epochs[0] = e
	l.queue.close()
	if l.passEnds(); !e.running {
		t.Error("the partition is held to pass its end")
	}
}
