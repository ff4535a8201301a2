package benchmark

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"openbank/fleet"
	"openbank/load"
	"openbank/result"
	"openbank/schemas"
	"openbank/usage"
)

// session is a contestant at work on a bank.
type session struct {
	bench      *Bench
	contestant Contestant
	handlers   int // processes
	cancel     context.CancelCauseFunc

	client  *load.Client
	book    *load.Book
	fleet   *fleet.Fleet
	watcher sync.WaitGroup
	reading *reading
}

// reading is somebody who follows the answers.
type reading struct {
	stop context.CancelFunc
	done chan struct{}
}

// open makes the bank, starts the handlers and opens the accounts.
func (s *session) open(ctx context.Context) (err error) {
	b := s.bench
	topics, kind := b.World.Topics, load.Bank
	if s.contestant.echo != "" {
		topics, kind = echoTopics, load.Echo
		if err := b.World.echoTopicsAnew(ctx); err != nil {
			return err
		}
	} else if err := b.World.fresh(ctx); err != nil {
		return err
	}
	if s.client, err = load.NewClient(b.World.Connection.Kafka, b.World.Connection.Registry, topics, b.Logger); err != nil {
		return err
	}
	s.client.Schemas = b.World.Topics
	if s.book, err = load.NewBook(kind); err != nil {
		return err
	}
	if err := b.ready(ctx, s.client); err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	if err := s.follow(ctx); err != nil {
		return err
	}
	if s.contestant.echo != "" {
		return s.book.Invent(b.Accounts)
	}
	b.Progress.Say(func() string { return "opening accounts" })
	err = s.client.Open(ctx, s.book, b.Accounts, b.Patience, func(open int) {
		b.Progress.Say(func() string { return fmt.Sprintf("%d of %d accounts are open", open, b.Accounts) })
	})
	if err == nil && s.handlers > 1 {
		err = b.World.shared(ctx, s.handlers)
	}
	return err
}

// ready waits for the topics and the registry. That there is no registry must be told here: later the client waits for it without end.
func (b *Bench) ready(ctx context.Context, client *load.Client) error {
	if err := b.World.until(ctx, vanish, "waiting for the topics", func() error { return client.Ready(ctx) }); err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, b.Patience)
	defer cancel()
	_, err := client.SchemaID(waiting, b.World.Topics.Transfers, schemas.NameConfirmMoneyTransfer)
	switch {
	case err != nil && waiting.Err() != nil:
		return fmt.Errorf("no answer from the schema registry (SCHEMA_REGISTRY_URL) within %s (--patience): %w", b.Patience, err)
	case err != nil:
		return fmt.Errorf("asking the schema registry (SCHEMA_REGISTRY_URL) for the schema of transfers: %w", err)
	}
	return nil
}

// command is how the contestant is started.
func (s *session) command(ctx context.Context) (fleet.Command, error) {
	if s.contestant.echo == "" {
		return *s.contestant.Command, nil
	}
	b := s.bench
	answer, err := s.client.SchemaID(ctx, b.World.Topics.TransferAnswers, schemas.NameMoneyTransferConfirmed)
	if err != nil {
		return fleet.Command{}, err
	}
	event, err := s.client.SchemaID(ctx, b.World.Topics.Events, schemas.NameBalanceChanged)
	if err != nil {
		return fleet.Command{}, err
	}
	url := b.World.DatabaseURL()
	if url == "" {
		return fleet.Command{}, errors.New("an echo needs the database: set DATABASE_URL")
	}
	return fleet.Command{
		Name: "echo", Path: b.Self,
		Args: []string{
			"floor-echo", "--delivery", s.contestant.echo, "--max-batch", strconv.Itoa(b.MaxBatch),
			"--commands", echoTopics.Transfers, "--answers", echoTopics.TransferAnswers, "--events", echoTopics.Events,
			"--answer-schema", strconv.Itoa(answer), "--event-schema", strconv.Itoa(event),
		},
		Environment: []string{"DATABASE_URL=" + url},
	}, nil
}

// start starts the handlers, unless they run already.
func (s *session) start(ctx context.Context) error {
	if s.contestant.echo == "" && s.contestant.Command == nil {
		return nil
	}
	command, err := s.command(ctx)
	if err != nil {
		return err
	}
	b := s.bench
	environment := b.World.Environment()
	if b.World.Own == nil {
		environment = os.Environ() // which leads to the stack
	}
	f, err := fleet.Start(command, s.handlers, b.World.Dir, environment)
	if err != nil {
		return err
	}
	s.fleet = f
	s.watcher.Go(func() {
		for range f.PIDs() {
			i := <-f.Ended()
			if !f.Stopping() {
				s.cancel(f.Unexpected(i))
			}
		}
	})
	return nil
}

// stop stops the handlers that start has started. How they end is no matter of the measurement, only that they do.
func (s *session) stop() {
	if s.fleet == nil {
		return
	}
	if err := s.fleet.Stop(); err != nil {
		s.note("it did not stop in order: " + firstLine(err))
	}
	s.watcher.Wait()
	s.fleet = nil
}

func firstLine(err error) string {
	text := err.Error()
	for i, r := range text {
		if r == '\n' {
			return text[:i]
		}
	}
	return text
}

// follow reads answers and events from now on.
func (s *session) follow(ctx context.Context) error {
	from, err := s.client.Committed(ctx)
	if err != nil {
		return err
	}
	following, stop := context.WithCancel(ctx)
	s.reading = &reading{stop, make(chan struct{})}
	done := s.reading.done
	go func() {
		defer close(done)
		if err := s.client.Follow(following, from, s.book); err != nil && following.Err() == nil {
			s.cancel(err)
		}
	}()
	return nil
}

// unfollow ends that.
func (s *session) unfollow() {
	if s.reading != nil {
		s.reading.stop()
		<-s.reading.done
		s.reading = nil
	}
}

// sample looks at the handler and whatever else takes part.
func (s *session) sample(start time.Time) *usage.Sampler {
	b := s.bench
	targets := []usage.Target{{Name: "benchmark", PIDs: []int{os.Getpid()}, Alone: true}} // its children are the others
	if s.fleet != nil {
		targets = append(targets, usage.Target{Name: result.Own, PIDs: s.fleet.PIDs()})
	}
	if b.World.Own != nil {
		for name, pids := range b.World.Own.PIDs() {
			targets = append(targets, usage.Target{Name: name, PIDs: pids})
		}
	}
	return usage.Start(append(targets, b.Targets...), b.Interval, start)
}

// settle waits until all has come.
func (s *session) settle(ctx context.Context, what string) error {
	return s.book.Await(ctx, s.bench.Patience, func(state load.State) {
		s.bench.Progress.Say(func() string {
			return fmt.Sprintf("%s: %d of %d answers, %d of %d events", what, state.Answers, state.Commands, state.Events, state.Expected)
		})
	})
}

func (s *session) close() error {
	s.unfollow()
	s.stop()
	s.watcher.Wait()
	if s.client != nil {
		s.client.Close()
	}
	if s.contestant.echo != "" && s.bench.World.Own == nil {
		ctx, cancel := context.WithTimeout(context.Background(), vanish)
		defer cancel()
		return s.bench.World.withoutEchoTopics(ctx)
	}
	return nil
}
