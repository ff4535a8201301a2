package benchmark

import (
	"context"
	"fmt"
	"time"

	"openbank/load"
	"openbank/progress"
	"openbank/result"
)

// Latency is how long a command takes from when it is due to when its answer is read, at constant rates that do not wait for the
// bank.
type Latency struct {
	Rates    []float64 // commands a second
	WarmUp   time.Duration
	Duration time.Duration
}

// Run measures it. All rates of a turn are on the same bank, one after the other.
func (l Latency) Run(ctx context.Context, b *Bench) error {
	return b.rounds(ctx, b.turns(func(ctx context.Context, s *session) error {
		for _, rate := range l.Rates {
			if err := s.latency(ctx, l, rate); err != nil {
				return err
			}
		}
		return nil
	}))
}

// late is from which lateness of the generator on, at its p99, a result has a note about it.
const late = time.Millisecond

// lead is how long before its first command a stretch is prepared.
const lead = 50 * time.Millisecond

func (s *session) latency(ctx context.Context, l Latency, rate float64) error {
	b := s.bench
	b.Progress.Step(fmt.Sprintf("%s at %s/s", s.contestant.Name, result.Number(rate)))
	if err := b.World.checkpoint(ctx); err != nil {
		return err
	}
	warm, n := int(rate*l.WarmUp.Seconds()), max(1, int(rate*l.Duration.Seconds()))
	start := time.Now().Add(lead)
	measured := start.Add(time.Duration(float64(warm) / rate * float64(time.Second)))
	timed := s.book.Time(warm, n, rate, measured)
	sending, cancel := context.WithCancel(ctx)
	defer cancel()
	type sent struct {
		lateness *result.Latency
		err      error
	}
	ended := make(chan sent, 1)
	go func() {
		lateness, err := s.client.Send(sending, s.book, b.mix(0), warm, warm+n, rate, start)
		ended <- sent{lateness, err}
	}()
	outcome, used, err := sent{}, []result.Usage(nil), error(nil)
	select {
	case <-time.After(time.Until(measured)):
	case <-ctx.Done():
		cancel()
		<-ended
		return context.Cause(ctx)
	}
	sampler := s.sample(measured)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
waiting:
	for {
		select {
		case outcome = <-ended:
			break waiting
		case <-tick.C:
			s.show(timed)
		}
	}
	used = sampler.Stop()
	if err = outcome.err; err == nil {
		err = s.settle(ctx, "waiting for the last answers")
	}
	if timed.Answered() > 0 { // also of one that was interrupted
		s.noteLatency(timed, rate, n, outcome.lateness, used, measured)
	}
	return err
}

// show tells the current rate and percentiles.
func (s *session) show(timed *load.Timed) {
	s.bench.Progress.Say(func() string {
		recent := s.book.Recent(timed)
		state := s.book.State()
		if recent.TotalCount() == 0 {
			return fmt.Sprintf("no answer; %s wait", progress.Grouped(state.Commands-state.Answers))
		}
		return fmt.Sprintf("p50 %s, p99 %s, max %s; %s answers wait", ms(recent.At(50)), ms(recent.At(99)),
			ms(recent.At(100)), progress.Grouped(state.Commands-state.Answers))
	})
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }

func (s *session) noteLatency(timed *load.Timed, rate float64, n int, lateness *result.Latency, used []result.Usage, start time.Time) {
	took := timed.Last.Sub(start)
	round := result.Round{
		Started: start, Duration: took, Load: rate, Handlers: s.handlers, Commands: int64(n), Answered: timed.Answered(),
		Rate: float64(timed.Answered()) / took.Seconds(), Latency: timed.Latency, Lateness: lateness, Usage: used, Seconds: seconds(timed),
	}
	s.subject().Rounds = append(s.subject().Rounds, round)
	if by := lateness.At(99); by > late {
		s.note(fmt.Sprintf("at %s/s the load generator itself was late by %s at its p99: that is in the latencies", result.Number(rate), ms(by)))
	}
	s.bench.Progress.Done("p50 %s, p99 %s, max %s", ms(timed.Latency.At(50)), ms(timed.Latency.At(99)), ms(timed.Latency.At(100)))
}

func seconds(timed *load.Timed) []result.Second {
	var all []result.Second
	for i, second := range timed.Seconds {
		if l := second.Latency; l != nil {
			all = append(all, result.Second{Second: i, Answered: second.Answered, P50: l.At(50), P99: l.At(99), Max: l.At(100)})
		}
	}
	return all
}
