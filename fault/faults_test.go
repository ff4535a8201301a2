package fault

import (
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"openbank/embedded"
)

var (
	firstSeed = flag.Uint64("seed", 0, "seed of the first schedule; the others follow by one. Default: the time, down to the first of a round")
	schedules = flag.Int("schedules", round, "how many schedules to run, with -minutes 0")
	minutes   = flag.Float64("minutes", 0, "run schedules for so long, however many that are")
	kills     = flag.Int("kills", 0, "go on until each crash point has killed so often")
	worlds    = flag.Int("worlds", 2, "how many banks run schedules beside each other")
)

// handlerBinary is the command-handler with its crash points.
var handlerBinary string

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "fault-test-")
	if err != nil {
		panic(err)
	}
	if err := buildClock(dir); err != nil {
		fmt.Fprintln(os.Stderr, "building the clock:", err)
		os.Exit(1)
	}
	handlerBinary = filepath.Join(dir, "command-handler")
	arguments := []string{"build", "-tags", "crashpoints", "-o", handlerBinary}
	if raceDetector {
		arguments = append(arguments, "-race")
	}
	build := exec.Command("go", append(arguments, "openbank/cmd/command-handler")...)
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building the command handler:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// tally counts the kills of all schedules by point and mode.
type tally struct {
	mu        sync.Mutex
	schedules int
	inEndings int // kills
	full      int // handlers that found Postgres' disk full
	sum       map[spot]*count
}

// spot is a crash point in a mode.
type spot struct{ delivery, point string }

type count struct{ drawn, kills, redelivering, redelivered int }

// of is the count of a point. The caller holds mu.
func (t *tally) of(s spot) *count {
	c := t.sum[s]
	if c == nil {
		c = &count{}
		t.sum[s] = c
	}
	return c
}

func (t *tally) add(s schedule, kills []kill, full int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.schedules++
	t.full += full
	for _, crash := range s.crashes {
		t.of(spot{s.delivery, crash.point}).drawn++
	}
	for _, k := range kills {
		if k.InEnding {
			t.inEndings++
			continue
		}
		c := t.of(spot{s.delivery, k.Point})
		c.kills++
		c.redelivered += k.Redelivered
		if k.Redelivered > 0 {
			c.redelivering++
		}
	}
}

// unreached are the crash points that were drawn and killed no handler.
func (t *tally) unreached() (spots []spot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s, c := range t.sum {
		if c.drawn > 0 && c.kills == 0 {
			spots = append(spots, s)
		}
	}
	return spots
}

// both is the count of a point in both modes. The caller holds mu.
func (t *tally) both(point string) (all count) {
	for _, delivery := range []string{exactlyOnce, atLeastOnce} {
		c := t.of(spot{delivery, point})
		all.kills += c.kills
		all.redelivering += c.redelivering
		all.redelivered += c.redelivered
	}
	return all
}

// pointNames are the crash points of schedules.
func pointNames() []string {
	var names []string
	for _, of := range points {
		for _, p := range of {
			names = append(names, p.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// least is how often the point has killed that has killed least often.
func (t *tally) least() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	least := math.MaxInt
	for _, name := range pointNames() {
		least = min(least, t.both(name).kills)
	}
	return least
}

func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var text strings.Builder
	fmt.Fprintf(&text, "%d schedules\n%-28s %8s %26s %20s\n", t.schedules, "crash point", "kills", "of these with redelivery", "records redelivered")
	for _, name := range pointNames() {
		c := t.both(name)
		fmt.Fprintf(&text, "%-28s %8d %26d %20d\n", name, c.kills, c.redelivering, c.redelivered)
	}
	fmt.Fprintf(&text, "%-28s %8d\n", "in endings", t.inEndings)
	return text.String()
}

func seedOrTime() uint64 {
	if *firstSeed != 0 {
		return *firstSeed
	}
	now := uint64(time.Now().Unix())
	return now - now%round
}

// Whatever dies, stalls, is cut off or comes twice, at whatever moment: every command is answered, once or with equal answers,
// and the books are right.
func TestTheBooksAreRightAfterRandomFaults(t *testing.T) {
	t.Parallel()
	seed := seedOrTime()
	seeds := make(chan uint64)
	total := &tally{sum: map[spot]*count{}}
	var playing sync.WaitGroup
	failed := make(chan struct{})
	var once sync.Once
	for range *worlds {
		w := newWorld(t, embedded.PostgresConfig{})
		playing.Go(func() {
			for seed := range seeds {
				if !playOne(t, w, draw(seed), total) {
					once.Do(func() { close(failed) })
				}
			}
		})
	}
	end := time.Now().Add(time.Duration(*minutes * float64(time.Minute)))
feeding:
	for i := uint64(0); *minutes > 0 && time.Now().Before(end) || *minutes == 0 && (i < uint64(*schedules) || total.least() < *kills); i++ {
		select {
		case seeds <- seed + i:
		case <-failed:
			break feeding
		}
	}
	close(seeds)
	playing.Wait()
	t.Logf("from seed %d on: %s", seed, total)
	if spots := total.unreached(); len(spots) > 0 && !t.Failed() {
		t.Errorf("crash points that no handler came to: %v", spots)
	}
}

// playOne plays a schedule and says whether all was well. When not, its logs stay.
func playOne(t *testing.T, w *world, s schedule, total *tally) bool {
	logs, err := os.MkdirTemp("", fmt.Sprintf("openbank-schedule-%d-", s.seed))
	if err != nil {
		t.Error(err)
		return false
	}
	outcome, err := w.play(t.Context(), s, logs)
	if err != nil {
		t.Errorf("%v\n%v\nits logs are in %s; again: go test ./fault -run '%s' %s", s, err, logs, t.Name(), s.again)
		return false
	}
	total.add(s, outcome.kills, saying(logs, "Postgres is out of resources"))
	var kills []string
	for _, k := range outcome.kills {
		kills = append(kills, fmt.Sprintf("%s:%d batch %d redelivered %d", k.Point, k.Passage, k.Batch, k.Redelivered))
	}
	r := outcome.report
	t.Logf("%v\n  %s: %d records, %d commands, %d answers, %d events, %d dead letters, %d repeats; kills: %s", s, outcome.took.Round(10*time.Millisecond),
		r.Deliveries, r.Commands, r.Answers, r.Events, r.DeadLetters, r.Repeats, strings.Join(kills, "; "))
	if err := os.RemoveAll(logs); err != nil {
		t.Error(err)
	}
	return true
}
