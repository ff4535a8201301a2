package benchmark

import (
	"context"
	"errors"
	"time"

	"openbank/load"
	"openbank/result"
)

// Floor is what the machine can do at best: latency and drain of the echoes, the yardsticks, and how fast the load generator itself
// writes commands when nobody reads them.
type Floor struct {
	Latency
	Drain
}

// Run measures it.
func (f Floor) Run(ctx context.Context, b *Bench) error {
	turns := b.turns(func(ctx context.Context, s *session) error {
		for _, rate := range f.Rates {
			if err := s.latency(ctx, f.Latency, rate); err != nil {
				return err
			}
		}
		return s.drain(ctx, f.Drain, b.mix(0), 0)
	})
	return b.rounds(ctx, append(turns, turn{"load generator", func(ctx context.Context) error { return b.generator(ctx, f.Commands) }}))
}

// generator writes commands that nobody reads.
func (b *Bench) generator(ctx context.Context, commands int) (err error) {
	if err := b.World.echoTopicsAnew(ctx); err != nil {
		return err
	}
	s := &session{bench: b, contestant: Contestant{Name: "load generator"}}
	if s.client, err = load.NewClient(b.World.Connection.Kafka, b.World.Connection.Registry, echoTopics, b.Logger); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close(), b.World.withoutEchoTopics(context.WithoutCancel(ctx))) }()
	s.client.Schemas = b.World.Topics
	if s.book, err = load.NewBook(load.Echo); err != nil {
		return err
	}
	if err := s.book.Invent(b.Accounts); err != nil {
		return err
	}
	if err := b.ready(ctx, s.client); err != nil {
		return err
	}
	start := time.Now()
	sampler := s.sample(start)
	if err := s.client.Burst(ctx, s.book, b.mix(0), commands); err != nil {
		return err
	}
	took := time.Since(start)
	subject := b.subject(result.Subject{Name: "load generator", Kind: "floor", Command: "commands that nobody reads"})
	subject.Rounds = append(subject.Rounds, result.Round{
		Started: start, Duration: took, Commands: int64(commands), Rate: float64(commands) / took.Seconds(), Usage: sampler.Stop(),
	})
	b.Progress.Done("%s commands/s", result.Number(subject.Rounds[len(subject.Rounds)-1].Rate))
	return nil
}
