package fault

import (
	"fmt"
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
	endCrash *crashAt  // kills a handler meanwhile; nil is none
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

const (
	perBatch  = 8
	perRecord = 200
)

// afterOffsetCommit is passed only while more is in flight than what was committed.
const afterOffsetCommit = "after-offset-commit"

// Both ways of delivery pass common points; those that only one of them passes are drawn twice as often. At least once, the client itself
// commits every 0.1 s what was stored, on a thread of its own: no code of ours runs just before. Who dies at after-store-offsets at once
// mostly leaves the offsets stored and not committed, and who stands still there for long enough leaves them committed.
var (
	commonPoints = []point{
		{"before-consume", perRecord},
		{"after-consume", perRecord},
		{"before-row-locks", perBatch},
		{"after-row-locks", perBatch},
		{"before-postgres-commit", perBatch},
		{"after-postgres-commit", perBatch},
		{"before-produce", perRecord},
		{"after-produce", perRecord},
	}
	points = map[string][]point{
		exactlyOnce: twice(
			point{"before-begin-transaction", perBatch},
			point{"after-begin-transaction", perBatch},
			point{"before-send-offsets", perBatch},
			point{"after-send-offsets", perBatch},
			point{"before-transaction-commit", perBatch},
			point{"after-transaction-commit", perBatch},
		),
		atLeastOnce: twice(
			point{"before-store-offsets", perBatch},
			point{"after-store-offsets", perBatch},
			point{afterOffsetCommit, 4},
		),
	}
)

func twice(rare ...point) []point { return append(slices.Concat(rare, rare), commonPoints...) }

// passPoints are passed where a partition ends with what is no record, which schedules do not have: a test of its own kills there.
var passPoints = []string{"before-pass-offsets", "after-pass-offsets"}

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
		if s.endCrash != nil {
			fmt.Fprintf(&text, " with a crash at %s", s.endCrash)
		}
	}
	return text.String()
}
