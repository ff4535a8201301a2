// Package benchmark answers for the scenarios: what is done to a bank in which order, which handlers take turns, and what is noted
// of it. The commands and their answers are package load's, the yardsticks floor's and tpcb's, the samples usage's, and the file
// that comes of it is result's.
//
//	round 1   handler A   handler B   echo   TPC-B
//	round 2   handler A   handler B   echo   TPC-B      so that whatever else the machine does falls on all of them alike
//	…
//
// Each turn of a handler has a bank of its own where the surroundings are ours: another database, topics made anew, no groups. On
// somebody else's stack nothing is deleted, and every turn opens accounts of its own.
//
// A run fails with the first turn in which an answer is missing, or contradicts what it has to be; what was measured until then is
// in the result all the same.
package benchmark

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"openbank/fleet"
	"openbank/load"
	"openbank/progress"
	"openbank/result"
	"openbank/usage"
)

// Config is what all scenarios have in common.
type Config struct {
	World    *World
	Handlers []Contestant
	// Echoes are the deliveries of the echoes that take turns with the handlers.
	Echoes []string
	// Stores are the yardsticks of the database that do: TPCB, Writes, Fsync.
	Stores []string
	Self   string // this program, which is the echo as well

	Rounds int
	// WarmUpRounds come before the others and do not count: a JVM that has just started, as that of brokers, is several times as slow as
	// it is half a minute later, which whoever comes first would be held to.
	WarmUpRounds int

	Accounts int           // that each turn opens
	Rejected float64       // share of transfers with a wrong token, 0 to 1
	Patience time.Duration // how long nothing may come while something is waited for
	MaxBatch int           // of the echo and the bare writes

	Scale, Clients int           // of TPC-B
	StoreTime      time.Duration // of each turn of a yardstick of the database
	FsyncDir       string

	Targets  []usage.Target // sampled besides the handler
	Interval time.Duration  // between samples

	Progress *progress.Progress
	Logger   *slog.Logger
}

// The yardsticks of a database.
const (
	TPCB   = "tpcb"
	Writes = "writes"
	Fsync  = "fsync"
)

// Contestant is a handler that is measured.
type Contestant struct {
	Name    string
	Command *fleet.Command // nil: it runs already
	Text    string         // the command as it was given, without secrets
	Version string

	echo string // delivery, when it is an echo
}

// Bench is one run.
type Bench struct {
	Config
	Result *result.Run

	subjects map[string]int // index in Result, by name
}

// New makes a run that writes into r.
func New(config Config, r *result.Run) *Bench {
	return &Bench{Config: config, Result: r, subjects: map[string]int{}}
}

// turn is one contestant's part of a round.
type turn struct {
	title string
	take  func(ctx context.Context) error
}

// wrong is that answers contradict what they have to be.
type wrong struct {
	who    string
	count  int64
	faults []string
}

func (w *wrong) Error() string {
	return fmt.Sprintf("%s was wrong %s:\n  %s", w.who, progress.Counted(w.count, "time"), strings.Join(w.faults, "\n  "))
}

// subject is where a contestant's rounds go.
func (b *Bench) subject(s result.Subject) *result.Subject {
	i, known := b.subjects[s.Name]
	if !known {
		i = len(b.Result.Subjects)
		b.subjects[s.Name] = i
		b.Result.Subjects = append(b.Result.Subjects, s)
	}
	return &b.Result.Subjects[i]
}

func (b *Bench) handlerSubject(c Contestant) *result.Subject {
	kind := "handler"
	if c.echo != "" {
		kind = "floor"
	}
	return b.subject(result.Subject{Name: c.Name, Kind: kind, Command: c.Text, Version: c.Version, Delivery: c.echo})
}

// contestants are the handlers and the echoes.
func (b *Bench) contestants() []Contestant {
	all := append([]Contestant(nil), b.Handlers...)
	for _, delivery := range b.Echoes {
		all = append(all, Contestant{Name: "echo, " + delivery, echo: delivery, Text: "floor-echo --delivery " + delivery, Version: b.Result.Tool})
	}
	return all
}

// rounds lets all take turns.
func (b *Bench) rounds(ctx context.Context, turns []turn) (err error) {
	stores, closeStores, err := b.stores(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStores()) }()
	for round := -b.WarmUpRounds; round < b.Rounds; round++ {
		if round == 0 {
			for i := range b.Result.Subjects {
				b.Result.Subjects[i].Rounds, b.Result.Subjects[i].Notes = nil, nil
			}
			turns = append(turns, stores...) // in which there is nothing to be warmed
		}
		for _, t := range turns {
			title := t.title
			switch {
			case round < 0:
				title += ", to warm up"
			case b.Rounds > 1:
				title = fmt.Sprintf("%s, round %d of %d", title, round+1, b.Rounds)
			}
			b.Progress.Step(title)
			if err := t.take(ctx); err != nil {
				b.Progress.Abandon()
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				return fmt.Errorf("%s: %w", t.title, err)
			}
		}
	}
	return nil
}

// turns makes one for each contestant.
func (b *Bench) turns(take func(ctx context.Context, s *session) error) []turn {
	var turns []turn
	for _, c := range b.contestants() {
		turns = append(turns, turn{c.Name, func(ctx context.Context) error { return b.within(ctx, c, 1, take) }})
	}
	return turns
}

// within gives a contestant a bank, and holds it to its books in the end.
func (b *Bench) within(ctx context.Context, c Contestant, handlers int, take func(ctx context.Context, s *session) error) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &session{bench: b, contestant: c, handlers: handlers, cancel: cancel}
	defer func() {
		// What happened first is why the rest did not.
		if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
			err = cause
		}
		err = errors.Join(err, s.close())
	}()
	if err := s.open(ctx); err != nil {
		return err
	}
	err = take(ctx, s)
	if err == nil {
		s.book.Settle()
	}
	return errors.Join(s.judge(), err)
}

// judge looks at what the books say by now: what is wrong is an error.
func (s *session) judge() error {
	state := s.book.State()
	subject := s.subject()
	if s.contestant.echo == "" {
		switch {
		case subject.Delivery == "":
			subject.Delivery = state.Delivery
		case subject.Delivery != state.Delivery && state.Delivery != "":
			s.note("it delivered " + state.Delivery + " in one round and " + subject.Delivery + " in another one")
		}
	}
	if state.Repeated > 0 && state.Wrong == 0 {
		s.note(progress.Counted(state.Repeated, "answer or event") + " came again, as at-least-once allows")
	}
	if state.Wrong == 0 {
		return nil
	}
	if n := len(subject.Rounds); n > 0 {
		subject.Rounds[n-1].Wrong += state.Wrong
	}
	b := s.bench.Result
	b.Faults = append(b.Faults, state.Faults...)
	return &wrong{s.contestant.Name, state.Wrong, state.Faults}
}

func (s *session) subject() *result.Subject { return s.bench.handlerSubject(s.contestant) }

func (s *session) note(text string) {
	subject := s.subject()
	for _, n := range subject.Notes {
		if n == text {
			return
		}
	}
	subject.Notes = append(subject.Notes, text)
}

func (b *Bench) mix(hot float64) load.Mix { return load.Mix{Rejected: b.Rejected, Hot: hot} }
