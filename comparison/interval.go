package comparison

import (
	"slices"

	"openbank/result"
)

// interval is what is known of a ratio. known is false when there are too few values for the confidence that was asked for.
type interval struct {
	estimate  float64
	low, high float64
	known     bool
}

// ratioOf estimates by what factor b's values differ from a's. All must be above 0.
//
// The estimate is the median of all len(a)·len(b) ratios (Hodges and Lehmann), the interval is what is left of them without the skip smallest
// and the skip largest, which come of the Mann-Whitney distribution (Moses; see skipped): ratios rather than differences, which is the same on
// logarithms. Nothing is assumed of how the values are distributed, but that b's are a's times a factor.
func ratioOf(a, b []float64, skip int) interval {
	ratios := make([]float64, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			ratios = append(ratios, y/x)
		}
	}
	slices.Sort(ratios)
	i := interval{estimate: result.Median(ratios)}
	if skip >= 0 {
		i.low, i.high, i.known = ratios[skip], ratios[len(ratios)-1-skip], true
	}
	return i
}

// skipped is how many ratios may be left out at each end, tail being half of what the confidence leaves: the largest u with P(U ≤ u) ≤ tail, for the Mann-Whitney statistic U of n
// and m values of one distribution, or -1 when even P(U = 0) is more than that.
func skipped(n, m int, tail float64) int {
	if n == 0 || m == 0 {
		return -1
	}
	ways := arrangements(n, m)
	total := 0.0
	for _, w := range ways {
		total += w
	}
	below := 0.0
	for u, w := range ways {
		below += w
		if below/total > tail {
			return u - 1
		}
	}
	return len(ways) - 1
}

// arrangements counts for each U, 0 to n·m, the ways to draw n of the ranks 1 to n+m so that their sum exceeds the smallest
// possible one by U.
func arrangements(n, m int) []float64 {
	// ways[k][u]: k ranks drawn of those seen so far, exceeding 1 + … + k by u.
	ways := make([][]float64, n+1)
	for k := range ways {
		ways[k] = make([]float64, n*m+1)
	}
	ways[0][0] = 1
	for rank := 1; rank <= n+m; rank++ {
		for k := min(rank, n); k >= 1; k-- {
			excess := rank - k
			for u := n * m; u >= excess; u-- {
				ways[k][u] += ways[k-1][u-excess]
			}
		}
	}
	return ways[n]
}

// fewest is how many rounds each side needs at least, with the same number on both, for an interval.
func fewest(confidence float64) int {
	n := 1
	for skipped(n, n, (1-confidence)/2) < 0 {
		n++
	}
	return n
}
