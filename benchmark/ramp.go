package benchmark

import (
	"context"
	"fmt"
	"sync"
	"time"

	"openbank/progress"
	"openbank/result"
)

// Ramp is the procedure of the published results: a person's interaction each Interval, five deposits and five transfers to the
// company in turn, each looked for every CheckEvery until its BalanceChanged is there; after each Every interactions the load
// beside them goes up by Step; the end is Timeouts interactions that took longer than Timeout, or Interactions of them.
type Ramp struct {
	Interval     time.Duration
	CheckEvery   time.Duration // 0: the moment that it is read
	Every        int
	Step         float64 // commands a second
	Timeout      time.Duration
	Timeouts     int
	Interactions int
}

// Run measures it; each round is one such run.
func (r Ramp) Run(ctx context.Context, b *Bench) error {
	return b.rounds(ctx, b.turns(func(ctx context.Context, s *session) error { return s.ramp(ctx, r) }))
}

// background is the load beside the interactions.
type background struct {
	s        *session
	stop     context.CancelFunc
	sending  sync.WaitGroup
	mu       sync.Mutex
	lateness *result.Latency
}

// at sends at another rate from now on.
func (l *background) at(ctx context.Context, rate float64) {
	l.end()
	if rate == 0 {
		return
	}
	ctx, stop := context.WithCancel(ctx)
	l.stop = stop
	l.sending.Go(func() {
		lateness, err := l.s.client.Send(ctx, l.s.book, l.s.bench.mix(0), 0, -1, rate, time.Now())
		if err != nil {
			l.s.cancel(err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.lateness.Merge(lateness.Histogram)
	})
}

func (l *background) end() {
	if l.stop != nil {
		l.stop()
		l.sending.Wait()
		l.stop = nil
	}
}

func (s *session) ramp(ctx context.Context, r Ramp) error {
	b := s.bench
	if err := b.World.checkpoint(ctx); err != nil {
		return err
	}
	beside := &background{s: s, lateness: result.NewLatency()}
	defer beside.end()
	start := time.Now()
	round := result.Round{Started: start, Handlers: s.handlers, Latency: result.NewLatency()}
	sampler := s.sample(start)
	tick := time.NewTicker(r.Interval)
	defer tick.Stop()
	before := s.book.State()
	var failed error
	for i := 0; i < r.Interactions && round.TimedOut < int64(r.Timeouts); i++ {
		if i > 0 && i%r.Every == 0 {
			round.Load += r.Step
			beside.at(ctx, round.Load)
		}
		at := time.Since(start)
		took, seen, err := s.client.Interact(ctx, s.book, 0, i/5%2 == 0, r.Timeout)
		if err != nil {
			failed = err
			break
		}
		took = r.checked(took)
		if !seen {
			round.TimedOut++
		}
		round.Samples = append(round.Samples, result.Sample{At: at, Load: round.Load, Latency: took, Timeout: !seen})
		_ = round.Latency.RecordValue(max(int64(took), int64(time.Microsecond))) // in its range
		b.Progress.Say(func() string {
			return fmt.Sprintf("%s at %s/s beside it: %s; so far p50 %s, p99 %s, %s", progress.Counted(i+1, "interaction"), result.Number(round.Load), ms(took),
				ms(round.Latency.At(50)), ms(round.Latency.At(99)), progress.Counted(round.TimedOut, "time-out"))
		})
		select {
		case <-tick.C:
		case <-ctx.Done():
			failed = context.Cause(ctx)
		}
		if failed != nil {
			break
		}
	}
	beside.end()
	round.Usage = sampler.Stop()
	round.Duration = time.Since(start)
	if failed == nil {
		failed = s.settle(ctx, "waiting for the last answers")
	}
	after := s.book.State()
	round.Commands, round.Answered = after.Commands-before.Commands, after.Answers-before.Answers
	round.Rate = float64(round.Answered) / after.Last.Sub(start).Seconds()
	round.Lateness = beside.lateness
	if len(round.Samples) == 0 {
		return failed
	}
	s.subject().Rounds = append(s.subject().Rounds, round)
	if by := beside.lateness.At(99); by > late {
		s.note(fmt.Sprintf("up to %s/s the load generator was late by %s at its p99", result.Number(round.Load), ms(by)))
	}
	b.Progress.Done("%s/s reached after %s, p50 %s, p99 %s, %s", result.Number(round.Load), progress.Counted(len(round.Samples), "interaction"),
		ms(round.Latency.At(50)), ms(round.Latency.At(99)), progress.Counted(round.TimedOut, "time-out"))
	return failed
}

// checked is when somebody who looks every CheckEvery sees what was there after a time.
func (r Ramp) checked(took time.Duration) time.Duration {
	if r.CheckEvery == 0 {
		return took
	}
	return (took + r.CheckEvery - 1) / r.CheckEvery * r.CheckEvery
}
