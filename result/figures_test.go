package result

import (
	"testing"
	"time"
)

func TestNumbersReadWell(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{
		0: "0", 0.01234: "0.0123", 4.567: "4.57", 4: "4", 26.31: "26.3", 99.94: "99.9", 99.96: "100", 1340: "1,340", 61126.4: "61,126", 1e6: "1,000,000", -1234: "-1,234", -123: "-123", 0.5: "0.5",
	} {
		if got := Number(v); got != want {
			t.Errorf("%v is written %s, not %s", v, got, want)
		}
	}
}

func TestPercentilesAreOfTheNearestRank(t *testing.T) {
	t.Parallel()
	values := make([]time.Duration, 60)
	for i := range values {
		values[i] = time.Duration(i + 1)
	}
	for q, want := range map[float64]time.Duration{0: 1, 50: 30, 90: 54, 99: 60, 100: 60} {
		if got := Percentile(values, q); got != want {
			t.Errorf("p%v is %d, not %d", q, got, want)
		}
	}
	if got := Percentile(nil, 50); got != 0 {
		t.Errorf("of nothing it is %d", got)
	}
}

func TestRatiosOfRatesAreTakenRoundByRound(t *testing.T) {
	t.Parallel()
	rounds := func(rates ...float64) []*Round {
		var all []*Round
		for _, rate := range rates {
			all = append(all, &Round{Rate: rate})
		}
		return all
	}
	for _, c := range []struct {
		of, to []*Round
		want   float64
	}{
		{rounds(10, 40, 30), rounds(5, 10, 10), 3},
		{rounds(10, 40), rounds(5, 10), 3},
		{rounds(10, 20, 30), rounds(5), 4},
		{rounds(10), nil, 0},
		{nil, rounds(10), 0},
		{rounds(10), rounds(0), 0},
	} {
		if got := RateRatio(c.of, c.to); got != c.want {
			t.Errorf("%v, not %v", got, c.want)
		}
	}
}
