package result

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Percentile is the value that q percent, 0 to 100, of the sorted values are at or below (nearest rank). 0 of none.
func Percentile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(q / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// RateRatio is how many times faster some rounds were than others of the same run: the median of the ratios of each round to
// the other's round of its turn, so that a noisy minute falls on both; the ratio of the medians where they are not as many. 0 when one
// side has no rate.
func RateRatio(of, to []*Round) float64 {
	if len(of) != len(to) {
		if by := MedianRate(to); by > 0 {
			return MedianRate(of) / by
		}
		return 0
	}
	ratios := make([]*Round, 0, len(of))
	for i := range of {
		if to[i].Rate > 0 {
			ratios = append(ratios, &Round{Rate: of[i].Rate / to[i].Rate})
		}
	}
	return MedianRate(ratios)
}

// MedianRate is that of the rounds; 0 of none.
func MedianRate(rounds []*Round) float64 {
	rates := make([]float64, len(rounds))
	for i, r := range rounds {
		rates[i] = r.Rate
	}
	if len(rates) == 0 {
		return 0
	}
	return Median(rates)
}

// Median is the middle of the values, of an even number of them the mean of both middles; NaN of none.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return math.NaN()
	}
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// Number writes a figure for people: three significant digits, whole thousands with commas: 0.0123, 4.57, 26.3, 1,340, 61,126.
func Number(v float64) string {
	switch size := math.Abs(v); {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "–"
	case size == 0:
		return "0"
	case size >= 99.95:
		return commas(strconv.FormatFloat(v, 'f', 0, 64))
	default:
		digits := max(0, 2-int(math.Floor(math.Log10(size))))
		text := strconv.FormatFloat(v, 'f', digits, 64)
		if strings.Contains(text, ".") {
			text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
		}
		return text
	}
}

func commas(digits string) string {
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
