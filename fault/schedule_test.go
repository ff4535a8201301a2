package fault

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// The modes of delivery.
const (
	exactlyOnce = "exactly-once"
	atLeastOnce = "at-least-once"
)

// schedule is what happens to a bank while it works. Everything in it follows from the seed.
type schedule struct {
	seed     uint64
	again    string // the command line that plays it again, but for the test's name
	delivery string
	handlers int
	maxBatch int
	crashes  []crashAt // a handler of the fleet is armed with one of them each time it starts
	faults   []fault   // one after the other, beside the crashes
	end      ending    // what follows when all is answered
}

// crashAt is where a handler kills itself: at the nth passage of a point, after it has stood still there for a while.
type crashAt struct {
	point   string
	passage int
	pause   time.Duration
}

func (c crashAt) String() string { return fmt.Sprintf("%s:%d:%s", c.point, c.passage, c.pause) }

// fault is something that is done to the surroundings of the handlers.
type fault struct {
	after time.Duration // the one before
	where string
	what  string
	long  time.Duration
}

func (f fault) String() string {
	if f.where == theClock {
		return fmt.Sprintf("+%s %s: %s by an hour", f.after, f.where, f.what)
	}
	return fmt.Sprintf("+%s %s: %s for %s", f.after, f.where, f.what, f.long)
}

// broker is the one that a fault of one broker is about.
func (f fault) broker() int { return int(f.long/time.Millisecond) % brokerCount }

// point is a crash point, and up to which passage one dies there: some are passed once a batch, others once a record.
type point struct {
	name     string
	passages int
}

// Both ways of delivery pass common points; those that only one of them passes are drawn twice as often.
var (
	commonPoints = []point{
		{"before-consume", 200},
		{"after-consume", 200},
		{"before-row-locks", 8},
		{"after-row-locks", 8},
		{"before-postgres-commit", 8},
		{"after-postgres-commit", 8},
		{"before-produce", 200},
		{"after-produce", 200},
	}
	points = map[string][]point{
		exactlyOnce: twice(
			point{"before-begin-transaction", 8},
			point{"after-begin-transaction", 8},
			point{"before-send-offsets", 8},
			point{"after-send-offsets", 8},
			point{"before-transaction-commit", 8},
			point{"after-transaction-commit", 8},
		),
		atLeastOnce: twice(
			point{"before-store-offsets", 8},
			point{"after-store-offsets", 8},
			point{"after-offset-commit", 4},
		),
	}
)

func twice(rare ...point) []point { return append(slices.Concat(rare, rare), commonPoints...) }

// The places where faults are made.
const (
	oneBroker = "a broker"
	brokers   = "the brokers"
	registrar = "the registry"
	postgres  = "Postgres"
	group     = "the group"
	topic     = "the topics"
	theClock  = "the clock"
)

// What can be done there besides what networks do.
const (
	restart = "restart" // Postgres: immediate stop, and recovery; brokers: the embedded ones all at once, of real ones one
	storm   = "join and leave"
	poison  = "poison"
	// The handlers' wall clock is an hour behind or ahead from then on.
	timeBack  = "set back"
	timeAhead = "set ahead"
)

// draw makes the schedule of a seed.
func draw(seed uint64) schedule {
	r := rand.New(rand.NewPCG(seed, 0))
	s := schedule{seed: seed, again: fmt.Sprintf("%s-args -seed %d -schedules 1", tags, seed), delivery: exactlyOnce, handlers: []int{1, 1, 2, 3}[r.IntN(4)], maxBatch: []int{1, 10, 50, 4000}[r.IntN(4)]}
	if r.IntN(5) < 2 {
		s.delivery = atLeastOnce
	}
	for range r.IntN(7) {
		p := points[s.delivery][r.IntN(len(points[s.delivery]))]
		c := crashAt{point: p.name, passage: 1 + r.IntN(p.passages)}
		if r.IntN(3) == 0 {
			c.pause = milliseconds(r, 1, 400)
		}
		s.crashes = append(s.crashes, c)
	}
	for range r.IntN(3) {
		s.faults = append(s.faults, drawFault(r))
	}
	s.end = drawEnding(r)
	return s
}

func drawFault(r *rand.Rand) fault {
	f := fault{after: milliseconds(r, 0, 500), long: milliseconds(r, 50, 1200)}
	switch n := r.IntN(22); {
	case n < 4:
		f.where, f.what = oneBroker, drawNetwork(r)
	case n < 6:
		f.where, f.what = brokers, drawNetwork(r)
	case n < 7:
		f.where, f.what = registrar, drawNetwork(r)
	case n < 13:
		f.where, f.what = postgres, drawNetwork(r)
	case n < 15:
		f.where, f.what = postgres, restart
	case n < 16:
		f.where, f.what = brokers, restart
	case n < 18:
		f.where, f.what = group, storm
	case n < 20:
		f.where, f.what = theClock, []string{timeBack, timeAhead}[r.IntN(2)]
	default:
		f.where, f.what = topic, poison
	}
	return f
}

func drawNetwork(r *rand.Rand) string {
	names := slices.Sorted(maps.Keys(networkFaults))
	return names[r.IntN(len(names))]
}

func milliseconds(r *rand.Rand, from, to int) time.Duration {
	return time.Duration(from+r.IntN(to-from)) * time.Millisecond
}

func (s schedule) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "seed %d: %s, %d handlers, batches of %d, crashes %v", s.seed, s.delivery, s.handlers, s.maxBatch, s.crashes)
	if len(s.faults) > 0 {
		fmt.Fprintf(&text, ", faults %v", s.faults)
	}
	if s.end != plain {
		fmt.Fprintf(&text, ", then %s", s.end)
	}
	return text.String()
}
