package benchmark

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/load"
	"openbank/progress"
	"openbank/result"
)

// Drain is how fast a backlog is answered.
type Drain struct {
	Commands int
	// WarmUp are commands that are sent and answered before, and do not count.
	WarmUp int
	// Cold starts the handler when the backlog is there. Otherwise it is at work already, and the backlog becomes visible all at
	// once: it is written in a transaction, which only holds back a handler that reads committed records.
	Cold bool
	// Handlers are how many processes share the work; each number is a turn of its own.
	Handlers []int
	// Hot are the shares of transfers on one account, 0 to 1; each is a turn of its own.
	Hot []float64
}

// Run measures it.
func (d Drain) Run(ctx context.Context, b *Bench) error {
	var turns []turn
	for _, c := range b.contestants() {
		for _, handlers := range d.Handlers {
			for _, hot := range d.Hot {
				title := c.Name
				if len(d.Handlers) > 1 {
					title += ", " + progress.Counted(handlers, "handler")
				}
				if len(d.Hot) > 1 {
					title += fmt.Sprintf(", %.0f%% on one account", 100*hot)
				}
				turns = append(turns, turn{title, func(ctx context.Context) error {
					return b.within(ctx, c, handlers, func(ctx context.Context, s *session) error {
						return s.drain(ctx, d, b.mix(hot), 0)
					})
				}})
			}
		}
	}
	return b.rounds(ctx, turns)
}

// drain measures one backlog. handled is what the round is noted under.
func (s *session) drain(ctx context.Context, d Drain, mix load.Mix, handled int64) error {
	b := s.bench
	if err := s.client.Burst(ctx, s.book, mix, d.WarmUp); err != nil {
		return err
	}
	if err := s.settle(ctx, "warming up"); err != nil {
		return err
	}
	// Who reads takes from the cores that are measured: all is read afterwards.
	s.unfollow()
	if d.Cold {
		s.stop()
	}
	from, err := s.client.Committed(ctx)
	if err != nil {
		return err
	}
	timed := s.book.Time(0, d.Commands, 0, time.Time{})
	release, err := s.backlog(ctx, d, mix)
	if err != nil {
		return err
	}
	defer release.close()
	if err := b.World.checkpoint(ctx); err != nil {
		return err
	}
	if d.Cold {
		if err := s.start(ctx); err != nil {
			return err
		}
	}
	start := time.Now()
	sampler := s.sample(start)
	if start, err = release.now(ctx); err != nil {
		return err
	}
	timed.From(start)
	shown, shownAt := int64(0), start
	commits, err := s.client.Drained(ctx, from, int64(d.Commands), b.Patience, func(answers int64) {
		b.Progress.Say(func() string {
			rate := float64(answers-shown) / time.Since(shownAt).Seconds()
			shown, shownAt = answers, time.Now()
			return fmt.Sprintf("%s of %s answered, %s/s", progress.Grouped(min(answers, int64(d.Commands))), progress.Grouped(int64(d.Commands)), result.Number(rate))
		})
	})
	used := sampler.Stop()
	if err != nil {
		return err
	}
	if err := s.readBack(ctx, from, commits); err != nil {
		return err
	}
	took := timed.Last.Sub(start)
	round := result.Round{
		Started: start, Duration: took, Handled: handled, Hot: mix.Hot, Handlers: s.handlers,
		Commands: int64(d.Commands), Answered: timed.Answered(), Rate: float64(timed.Answered()) / took.Seconds(), Usage: used,
	}
	for i, second := range timed.Seconds {
		round.Seconds = append(round.Seconds, result.Second{Second: i, Answered: second.Answered})
	}
	s.subject().Rounds = append(s.subject().Rounds, round)
	b.Progress.Done("%s commands/s", result.Number(round.Rate))
	return nil
}

// held is a backlog that can be let go.
type held struct {
	now   func(ctx context.Context) (time.Time, error)
	close func()
}

func (s *session) backlog(ctx context.Context, d Drain, mix load.Mix) (held, error) {
	b := s.bench
	if d.Cold {
		return held{func(context.Context) (time.Time, error) { return time.Now(), nil }, func() {}}, s.client.Burst(ctx, s.book, mix, d.Commands)
	}
	backlog, err := s.client.Backlog(ctx, s.book, mix, d.Commands, func(sent int) {
		b.Progress.Say(func() string {
			return fmt.Sprintf("%s of %s commands are written", progress.Grouped(int64(sent)), progress.Grouped(int64(d.Commands)))
		})
	})
	if err != nil {
		return held{}, err
	}
	return held{backlog.Release, func() { _ = backlog.Close() }}, nil // an interrupted one is aborted by the brokers too
}

// readBack reads the answers and events of a drain, and waits for those that are late.
func (s *session) readBack(ctx context.Context, from load.Offsets, commits load.Commits) error {
	changed := time.Now()
	for {
		to, err := s.client.Committed(ctx)
		if err != nil {
			return err
		}
		before := s.book.State()
		err = s.client.ReadBetween(ctx, from, to, s.book, func(r *kgo.Record) time.Time { return commits.At(r) }, func(records int64) {
			s.bench.Progress.Say(func() string { return "checking: " + progress.Counted(records, "record") + " read" })
		})
		if err != nil {
			return err
		}
		from = to
		now := s.book.State()
		if now.Complete() {
			return nil
		}
		if now.Answers+now.Events > before.Answers+before.Events {
			changed = time.Now()
		}
		if time.Since(changed) > s.bench.Patience {
			return fmt.Errorf("nothing has come for %s: %d of %d answers and %d of %d events are here", s.bench.Patience, now.Answers, now.Commands, now.Events, now.Expected)
		}
		if now.Answers < now.Commands {
			more, err := s.client.Drained(ctx, from, 1, s.bench.Patience, func(int64) {})
			if err != nil {
				return err
			}
			commits.Merge(more)
		}
	}
}
