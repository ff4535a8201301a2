package report

import "math"

// scale maps values to positions between from and to.
type scale struct {
	low, high float64 // values at the ends
	from, to  float64
	log       bool
	ticks     []float64
}

// newScale spans all values: rounded outwards, from zero unless it is logarithmic. About count ticks; values of 0 and below are no
// values for a logarithmic one.
func newScale(values []float64, a Axis, count int, from, to float64) scale {
	log := a.Log
	s := scale{from: from, to: to, log: log}
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if log && v <= 0 {
			continue
		}
		low, high = math.Min(low, v), math.Max(high, v)
	}
	if low > high {
		low, high = 1, 10
	}
	switch {
	case a.Tens:
		s.logarithmic(low, high, 0)
	case log:
		s.logarithmic(low, high, count)
	default:
		s.linear(math.Min(0, low), high, count)
	}
	return s
}

func (s *scale) linear(low, high float64, count int) {
	if high <= low {
		high = low + 1
	}
	step := math.Pow(10, math.Floor(math.Log10((high-low)/float64(count))))
	for _, times := range []float64{1, 2, 5, 10} {
		if (high-low)/(step*times) <= float64(count) {
			step *= times
			break
		}
	}
	s.low, s.high = math.Floor(low/step)*step, math.Ceil(high/step-1e-9)*step
	for i := math.Round(s.low / step); i*step <= s.high+step/2; i++ {
		s.ticks = append(s.ticks, i*step)
	}
}

// logarithmic has a tick at each power of ten, and at 2 and 5 times it where there is room.
func (s *scale) logarithmic(low, high float64, count int) {
	for _, steps := range [][]float64{{1, 2, 5}, {1, 3}, {1}} {
		s.ticks = s.ticks[:0]
		for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high))+1; e++ {
			for _, m := range steps {
				s.ticks = append(s.ticks, m*math.Pow(10, e))
			}
		}
		// From the last tick at or below low to the first at or above high.
		for len(s.ticks) > 1 && s.ticks[1] <= low*(1+1e-9) {
			s.ticks = s.ticks[1:]
		}
		for n := len(s.ticks); n > 2 && s.ticks[n-2] >= high*(1-1e-9); n = len(s.ticks) {
			s.ticks = s.ticks[:n-1]
		}
		if len(s.ticks) <= count+2 {
			break
		}
	}
	s.low, s.high = s.ticks[0], s.ticks[len(s.ticks)-1]
}

// at is where v lies; values beyond the ends lie at them.
func (s scale) at(v float64) float64 {
	low, high := s.low, s.high
	if s.log {
		v, low, high = math.Log(math.Max(v, low)), math.Log(low), math.Log(high)
	}
	return s.from + (s.to-s.from)*math.Min(1, math.Max(0, (v-low)/(high-low)))
}
