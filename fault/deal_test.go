package fault

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// round is how many schedules share a deal: seeds from a multiple of it on. Crash points, faults and endings are dealt to them like cards, so
// that each comes at least once in a round whatever its seeds are, which is how many `make test` plays.
const round = 24

// kind is a fault, but for when it comes and how long it takes.
type kind struct{ where, what string }

// kinds are all faults. A round has each once; what more it has is drawn from them as often as they stand here.
var kinds = slices.Concat(
	often(2, networks(oneBroker)...),
	often(1, networks(brokers)...),
	often(1, networks(registrar)...),
	often(3, networks(postgres)...),
	often(6, kind{postgres, restart}),
	often(3, kind{brokers, restart}),
	often(6, kind{group, storm}),
	often(6, kind{topic, poison}),
	often(3, kind{theClock, timeBack}, kind{theClock, timeAhead}),
)

func often(n int, some ...kind) []kind { return slices.Repeat(some, n) }

func networks(where string) (all []kind) {
	for _, what := range slices.Sorted(maps.Keys(networkFaults)) {
		all = append(all, kind{where, what})
	}
	return all
}

var endings = []ending{setBack, anew, restored}

// draw makes the schedule of a seed.
func draw(seed uint64) schedule { return deal(seed / round)[seed%round] }

// deal makes the schedules of a round.
func deal(number uint64) []schedule {
	r := rand.New(rand.NewPCG(number, 0))
	handlers, batches := spread(r, round, 1, 1, 2, 3), spread(r, round, 1, 10, 50, 4000)
	deliveries := spread(r, round, exactlyOnce, exactlyOnce, exactlyOnce, atLeastOnce, atLeastOnce)
	all := make([]schedule, round)
	by := map[string][]*schedule{}
	for i := range all {
		seed := number*round + uint64(i)
		all[i] = schedule{
			seed: seed, again: fmt.Sprintf("%s-args -seed %d -schedules 1", tags, seed),
			delivery: deliveries[i], handlers: handlers[i], maxBatch: batches[i],
		}
		by[deliveries[i]] = append(by[deliveries[i]], &all[i])
	}
	armed := map[ending]string{}
	for _, e := range endings {
		armed[e] = []string{exactlyOnce, atLeastOnce}[r.IntN(2)]
	}
	for _, delivery := range []string{exactlyOnce, atLeastOnce} {
		dealCrashes(r, by[delivery], points[delivery])
		dealEndings(r, by[delivery], armed)
	}
	dealFaults(r, all)
	return all
}

func dealCrashes(r *rand.Rand, to []*schedule, points []point) {
	counts := spread(r, len(to), 0, 1, 2, 3, 4, 5, 6)
	next := cards(r, sum(counts), points)
	for i, s := range to {
		for _, p := range next[:counts[i]] {
			s.crashes = append(s.crashes, crashAt{p.name, 1 + r.IntN(p.passages), standing(r)})
		}
		next = next[counts[i]:]
	}
}

// standing is for how long a handler stands still before it dies.
func standing(r *rand.Rand) time.Duration {
	if r.IntN(3) > 0 {
		return 0
	}
	return milliseconds(r, 1, 400)
}

func dealFaults(r *rand.Rand, to []schedule) {
	counts := spread(r, len(to), 0, 1, 2, 3)
	next := cards(r, sum(counts), kinds)
	for i := range to {
		for _, k := range next[:counts[i]] {
			to[i].faults = append(to[i].faults, fault{milliseconds(r, 0, 500), k.where, k.what, milliseconds(r, 50, 1200)})
		}
		next = next[counts[i]:]
	}
}

// dealEndings deals each ending once, with a crash where this delivery is the one that has it armed. That is at a place to which a handler
// comes with the little that is left to do by then.
func dealEndings(r *rand.Rand, to []*schedule, armed map[ending]string) {
	passed := slices.DeleteFunc(slices.Clone(points[to[0].delivery]), func(p point) bool { return p.name == afterOffsetCommit })
	for i, at := range r.Perm(len(to))[:len(endings)] {
		s := to[at]
		if s.end = endings[i]; armed[s.end] == s.delivery {
			p, most := passed[r.IntN(len(passed))], 1
			switch {
			case p.passages == perRecord:
				most = 20
			case s.maxBatch <= 10:
				most = 3
			}
			s.endCrash = &crashAt{p.name, 1 + r.IntN(most), standing(r)}
		}
	}
}

// cards are n of all: each once, what more there are drawn as often as it stands there, and in random order.
func cards[T comparable](r *rand.Rand, n int, all []T) (dealt []T) {
	for _, c := range all {
		if !slices.Contains(dealt, c) {
			dealt = append(dealt, c)
		}
	}
	for len(dealt) < n {
		dealt = append(dealt, all[r.IntN(len(all))])
	}
	r.Shuffle(len(dealt), func(i, j int) { dealt[i], dealt[j] = dealt[j], dealt[i] })
	return dealt
}

// spread is n of the values, all as often but for the last turn, in random order.
func spread[T any](r *rand.Rand, n int, values ...T) []T {
	all := make([]T, n)
	for i, at := range r.Perm(n) {
		all[at] = values[i%len(values)]
	}
	return all
}

func sum(counts []int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// Whatever the seed, a round has every crash point of both modes, every fault, and every ending, in both modes and with a crash and without.
func TestARoundHasEveryPointFaultAndEnding(t *testing.T) {
	t.Parallel()
	for number := range uint64(200) {
		missing := map[any]bool{}
		for _, e := range endings {
			missing[[2]any{e, true}], missing[[2]any{e, false}] = true, true
			missing[[2]any{e, exactlyOnce}], missing[[2]any{e, atLeastOnce}] = true, true
		}
		for _, k := range kinds {
			missing[k] = true
		}
		for _, delivery := range []string{exactlyOnce, atLeastOnce} {
			for _, p := range points[delivery] {
				missing[spot{delivery, p.name}] = true
			}
		}
		for i := range uint64(round) {
			s := draw(number*round + i)
			for _, c := range s.crashes {
				delete(missing, spot{s.delivery, c.point})
			}
			for _, f := range s.faults {
				delete(missing, kind{f.where, f.what})
			}
			delete(missing, [2]any{s.end, s.endCrash != nil})
			delete(missing, [2]any{s.end, s.delivery})
		}
		for m := range missing {
			t.Errorf("round %d, from seed %d on, has no %v", number, number*round, m)
		}
	}
}
