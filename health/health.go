// Package health knows what keeps a process from its work, and whether its stages still move.
//
// Ready is whoever has all that it needs: a condition that does not hold, such as a database that is away, makes a process not
// ready, and says why. Live is whoever would not be helped by a restart: a process that waits for others is live, for as long as it
// takes; one of whose stages stands still although nothing is being waited for is not.
package health

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Dependency is whom or what a condition is about.
type Dependency string

// What a handler needs.
const (
	Kafka    Dependency = "kafka"
	Registry Dependency = "registry"
	Postgres Dependency = "postgres"
	Slot     Dependency = "slot"  // the lease that its identity in Kafka is made of
	Group    Dependency = "group" // its place in the consumer group
	Itself   Dependency = "handler"
)

// Dependencies are all of them.
var Dependencies = []Dependency{Kafka, Registry, Postgres, Slot, Group, Itself}

// Patience is for how long a stage may stand still, with nothing being waited for, until a restart is what would help. Nothing that a stage
// asks of a server that answers takes longer than 60 s, the time-out of a statement in Postgres.
const Patience = 5 * time.Minute

// Board is where a process notes its conditions and stages. It is safe for concurrent use; use New.
type Board struct {
	patience time.Duration

	mu         sync.Mutex
	conditions []*Condition
	stages     []*Stage
	restored   time.Time // when a condition last came to hold
}

// New returns a board on which all is well.
func New() *Board { return &Board{patience: Patience} }

// Condition is something without which a process does not do its work. Made anew it holds.
type Condition struct {
	board      *Board
	dependency Dependency
	missing    string // why it does not hold; "" when it does
	since      time.Time
}

// Condition makes a condition.
func (b *Board) Condition(on Dependency) *Condition {
	c := &Condition{board: b, dependency: on}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conditions = append(b.conditions, c)
	return c
}

// Fails says that the condition does not hold, and why; the reason must hold no secret.
func (c *Condition) Fails(reason string) {
	c.board.mu.Lock()
	defer c.board.mu.Unlock()
	if c.missing == "" {
		c.since = time.Now()
	}
	c.missing = reason
}

// Holds says that it holds.
func (c *Condition) Holds() {
	c.board.mu.Lock()
	defer c.board.mu.Unlock()
	c.holds()
}

func (c *Condition) holds() {
	if c.missing != "" {
		c.missing, c.board.restored = "", time.Now()
	}
}

// Ends takes the condition off the board.
func (c *Condition) Ends() {
	c.board.mu.Lock()
	defer c.board.mu.Unlock()
	c.holds()
	c.board.conditions = slices.DeleteFunc(c.board.conditions, func(o *Condition) bool { return o == c })
}

// Missing says of each condition that does not hold what is missing, why and for how long, in one line each. Ready is who has none.
func (b *Board) Missing() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var lines []string
	for _, c := range b.conditions {
		if c.missing != "" {
			reason := strings.Join(strings.Fields(c.missing), " ")
			lines = append(lines, fmt.Sprintf("%s: %s (for %s)", c.dependency, reason, time.Since(c.since).Round(time.Second)))
		}
	}
	return lines
}

// Unmet is how many conditions on something do not hold.
func (b *Board) Unmet(on Dependency) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.conditions {
		if c.missing != "" && c.dependency == on {
			n++
		}
	}
	return n
}

// Ready says whether every condition holds.
func (b *Board) Ready() bool { return len(b.Missing()) == 0 }

// Stage is a goroutine that has to get on while it is at work.
type Stage struct {
	name  string
	moves atomic.Int64
	rests atomic.Bool

	// These are the board's, under its mutex: what it saw last, and since when that has not changed.
	seen  int64
	since time.Time
}

// Stage makes a stage, which rests.
func (b *Board) Stage(name string) *Stage {
	s := &Stage{name: name}
	s.rests.Store(true)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stages = append(b.stages, s)
	return s
}

// Moves says that the stage is at work and has got on. It costs an atomic addition.
func (s *Stage) Moves() {
	s.moves.Add(1)
	if s.rests.Load() {
		s.rests.Store(false)
	}
}

// Rests says that the stage has nothing to do until it moves again.
func (s *Stage) Rests() { s.rests.Store(true) }

// Live says whether no stage is stuck.
func (b *Board) Live() bool { return len(b.Stuck()) == 0 }

// Stuck names the stages that stand still for longer than Patience while nothing was being waited for. It compares with what it saw when it
// was called before, whoever called: the first answer after a silence is only a beginning. Every scrape of the metrics asks.
func (b *Board) Stuck() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	explained := slices.ContainsFunc(b.conditions, func(c *Condition) bool { return c.missing != "" })
	var lines []string
	for _, s := range b.stages {
		moves := s.moves.Load()
		if moves != s.seen || s.rests.Load() || s.since.IsZero() {
			s.seen, s.since = moves, now
			continue
		}
		since := s.since
		if b.restored.After(since) {
			since = b.restored
		}
		if still := now.Sub(since); still > b.patience && !explained {
			lines = append(lines, fmt.Sprintf("%s stands still for %s, and nothing is being waited for", s.name, still.Round(time.Second)))
		}
	}
	return lines
}
