package result

import (
	"math"
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
