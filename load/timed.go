package load

import (
	"time"

	"openbank/result"
)

// Timed is a stretch of commands whose answers are timed: each from the moment that it was due, or, with a rate of 0, all from
// one moment on, when they are counted alone.
type Timed struct {
	Latency *result.Latency
	// Seconds are by the second after the start in which a command was due, or with a rate of 0 was answered.
	Seconds []Second
	// Last is when the last answer could be read.
	Last time.Time

	recent   *result.Latency
	first, n int
	start    time.Time
	rate     float64
}

// Second is the answers of one second.
type Second struct {
	Answered int64
	Latency  *result.Latency // nil when none was timed
}

// Time times n commands that are not noted yet, after skipping so many, due at rate a second from start on.
func (b *Book) Time(skip, n int, rate float64, start time.Time) *Timed {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := &Timed{Latency: result.NewLatency(), recent: result.NewLatency(), first: len(b.commands) + skip, n: n, rate: rate, start: start}
	b.timed = append(b.timed, t)
	return t
}

// Recent is what was timed since the last call.
func (b *Book) Recent(t *Timed) *result.Latency {
	b.mu.Lock()
	defer b.mu.Unlock()
	recent := t.recent
	t.recent = result.NewLatency()
	return recent
}

// From sets the moment that commands which are counted alone count from.
func (t *Timed) From(start time.Time) { t.start = start }

// due is when the command with this place in the stretch is to be sent.
func (t *Timed) due(i int) time.Time {
	return t.start.Add(time.Duration(float64(i) / t.rate * float64(time.Second)))
}

func (t *Timed) record(n int, at time.Time) bool {
	i := n - t.first
	if i < 0 || i >= t.n {
		return false
	}
	if at.After(t.Last) {
		t.Last = at
	}
	if t.rate > 0 {
		since := t.due(i)
		took := min(max(int64(at.Sub(since)), int64(time.Microsecond)), int64(time.Hour))
		_ = t.Latency.RecordValue(took) // in its range
		_ = t.recent.RecordValue(took)
		second := t.second(since)
		if second.Latency == nil {
			second.Latency = result.NewLatency()
		}
		_ = second.Latency.RecordValue(took)
		second.Answered++
		return true
	}
	t.second(at).Answered++
	return true
}

func (t *Timed) second(at time.Time) *Second {
	second := max(0, int(at.Sub(t.start)/time.Second))
	for len(t.Seconds) <= second {
		t.Seconds = append(t.Seconds, Second{})
	}
	return &t.Seconds[second]
}

// Answered is how many of the stretch were.
func (t *Timed) Answered() (sum int64) {
	for _, second := range t.Seconds {
		sum += second.Answered
	}
	return sum
}
