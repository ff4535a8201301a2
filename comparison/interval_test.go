package comparison

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"openbank/result"
)

// The published critical values of U, two-sided at 5%: what is skipped at each end are as many as the largest U that is still significant.
func TestCriticalValuesAreThoseOfTheTables(t *testing.T) {
	t.Parallel()
	for sizes, want := range map[[2]int]int{
		{3, 3}: -1, {2, 7}: -1, {2, 8}: 0, {3, 5}: 0, {4, 4}: 0, {3, 9}: 2, {5, 5}: 2, {5, 8}: 6, {8, 8}: 13, {10, 10}: 23, {7, 19}: 32, {20, 20}: 127,
	} {
		if got := skipped(sizes[0], sizes[1], 0.025); got != want {
			t.Errorf("of %d and %d rounds %d are skipped, not %d", sizes[0], sizes[1], got, want)
		}
		if got := skipped(sizes[1], sizes[0], 0.025); got != want {
			t.Errorf("of %d and %d rounds %d are skipped, not %d", sizes[1], sizes[0], got, want)
		}
	}
	if got := fewest(0.95); got != 4 {
		t.Errorf("%d rounds on each side are said to be enough, not 4", got)
	}
}

func TestTheIntervalIsOfRatios(t *testing.T) {
	t.Parallel()
	got := ratioOf([]float64{1, 2, 4, 8}, []float64{10, 20, 40, 80}, 0)
	if !got.known || got.estimate != 10 || got.low != 10.0/8 || got.high != 80 {
		t.Errorf("%+v", got)
	}
	if few := ratioOf([]float64{1, 1, 1}, []float64{2, 2, 2}, -1); few.known || few.estimate != 2 {
		t.Errorf("of three rounds each: %+v", few)
	}
}

func TestMedians(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		of   []float64
		want float64
	}{{[]float64{3, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}, {[]float64{7}, 7}} {
		given := slices.Clone(c.of)
		if got := result.Median(c.of); got != c.want || !slices.Equal(given, c.of) {
			t.Errorf("of %v it is %v", given, got)
		}
	}
	if !math.IsNaN(result.Median(nil)) {
		t.Error("of nothing it is something")
	}
}

// quiet makes rounds that vary by 4%.
func quiet(r *rand.Rand, n int, middle float64) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = middle * math.Exp(0.04*r.NormFloat64())
	}
	return values
}

// noisy makes rounds as a shared machine gives them: one in ten is far off, on the slow side.
func noisy(r *rand.Rand, n int, middle float64) []float64 {
	values := quiet(r, n, middle)
	for i := range values {
		if r.IntN(10) == 0 {
			values[i] *= 0.6 + 0.3*r.Float64()
		}
	}
	return values
}

const trials = 2000

func share(t *testing.T, what func(*rand.Rand) bool) float64 {
	t.Helper()
	times := 0
	for seed := range uint64(trials) {
		if what(rand.New(rand.NewPCG(seed, 1))) {
			times++
		}
	}
	return float64(times) / trials
}

// Of 2,000 trials a share of 5% varies by 0.5% (one standard deviation): the bound leaves four of them.
func TestTheIntervalHoldsTheTrueRatioAsOftenAsItSays(t *testing.T) {
	t.Parallel()
	for _, rounds := range [][2]int{{4, 4}, {5, 5}, {5, 3}, {10, 10}, {20, 8}} {
		for _, factor := range []float64{1, 0.8} {
			t.Run(fmt.Sprintf("%d and %d rounds, ratio %g", rounds[0], rounds[1], factor), func(t *testing.T) {
				t.Parallel()
				skip := skipped(rounds[0], rounds[1], 0.025)
				held := share(t, func(r *rand.Rand) bool {
					i := ratioOf(noisy(r, rounds[0], 100), noisy(r, rounds[1], 100*factor), skip)
					return i.known && i.low <= factor && factor <= i.high
				})
				if held < 0.93 {
					t.Errorf("it held it in %.1f%%", 100*held)
				}
			})
		}
	}
}

func TestNoDifferenceRaisesNoAlarm(t *testing.T) {
	t.Parallel()
	skip := skipped(5, 5, 0.025)
	alarms := func(tolerance float64) float64 {
		return share(t, func(r *rand.Rand) bool {
			return verdict(ratioOf(noisy(r, 5, 100), noisy(r, 5, 100), skip), Up, tolerance) == Worse
		})
	}
	// Without tolerance it is one side of what is left of 95%.
	if got := alarms(0); got > 0.035 {
		t.Errorf("without a tolerance %.1f%% alarms", 100*got)
	}
	if got := alarms(0.05); got > 0.01 {
		t.Errorf("with 5%% tolerance %.1f%% alarms", 100*got)
	}
}

func TestAPlantedDifferenceRaisesAnAlarm(t *testing.T) {
	t.Parallel()
	alarms := func(rounds int, factor float64, better Direction, make func(*rand.Rand, int, float64) []float64) float64 {
		skip := skipped(rounds, rounds, 0.025)
		return share(t, func(r *rand.Rand) bool {
			return verdict(ratioOf(make(r, rounds, 100), make(r, rounds, 100*factor), skip), better, 0.05) == Worse
		})
	}
	for _, c := range []struct {
		rounds  int
		factor  float64
		better  Direction
		make    func(*rand.Rand, int, float64) []float64
		atLeast float64
	}{
		{4, 0.8, Up, quiet, 0.95},
		{5, 0.8, Up, quiet, 0.98},
		{5, 1.2, Down, quiet, 0.95},
		// Two of ten rounds are far off then, which may as well be all the difference there is.
		{5, 0.8, Up, noisy, 0.6},
		{10, 0.8, Up, noisy, 0.94},
		{10, 1.2, Down, noisy, 0.92},
	} {
		if got := alarms(c.rounds, c.factor, c.better, c.make); got < c.atLeast {
			t.Errorf("%d rounds each, ratio %g: %.1f%% alarms", c.rounds, c.factor, 100*got)
		}
	}
	if got := alarms(10, 1.2, Up, noisy); got > 0 {
		t.Errorf("a rate that is 20%% higher raised %.1f%% alarms", 100*got)
	}
	if got := alarms(3, 0.5, Up, quiet); got > 0 {
		t.Errorf("three rounds raised %.1f%% alarms", 100*got)
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		low, high float64
		better    Direction
		want      Verdict
	}{
		{0.97, 1.04, Up, Same}, {0.97, 1.04, Down, Same},
		{0.80, 0.94, Up, Worse}, {0.80, 0.94, Down, Better},
		{1.06, 1.20, Up, Better}, {1.06, 1.20, Down, Worse},
		{0.80, 0.96, Up, Undecided}, {1.01, 1.20, Down, Undecided}, {0.5, 2, Up, Undecided},
	} {
		if got := verdict(interval{low: c.low, high: c.high, known: true}, c.better, 0.05); got != c.want {
			t.Errorf("%v to %v, better %s: %s, not %s", c.low, c.high, c.better, got, c.want)
		}
	}
	if got := verdict(interval{}, Up, 0.05); got != TooFew {
		t.Errorf("of too few rounds: %s", got)
	}
}
