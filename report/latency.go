package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"openbank/result"
)

// spread is how the latencies of one load lie, in ms.
type spread struct {
	count          int64
	mean, p50, p99 float64
	timedOut       int64 // interactions besides
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// byLoad pools all rounds. Interactions of a ramp that ran into their time-out have no latency, and are counted apart.
func byLoad(m measured) map[float64]spread {
	loads := map[float64]spread{}
	if m.run.Scenario == "ramp" {
		pooled, timedOut := map[float64][]time.Duration{}, map[float64]int64{}
		for _, r := range m.of.Rounds {
			for _, s := range r.Samples {
				if s.Timeout {
					timedOut[s.Load]++
				} else {
					pooled[s.Load] = append(pooled[s.Load], s.Latency)
				}
			}
		}
		for load, n := range timedOut {
			loads[load] = spread{timedOut: n}
		}
		for load, all := range pooled {
			slices.Sort(all)
			total := 0.0
			for _, l := range all {
				total += ms(l)
			}
			loads[load] = spread{int64(len(all)), total / float64(len(all)), ms(result.Percentile(all, 50)), ms(result.Percentile(all, 99)), timedOut[load]}
		}
		return loads
	}
	for load, l := range histograms(m.of) {
		loads[load] = spread{count: l.TotalCount(), mean: l.Mean() / 1e6, p50: ms(l.At(50)), p99: ms(l.At(99))}
	}
	return loads
}

// histograms are those of all rounds of a load together.
func histograms(s *result.Subject) map[float64]*result.Latency {
	loads := map[float64]*result.Latency{}
	for i := range s.Rounds {
		r := &s.Rounds[i]
		if r.Latency == nil || r.Latency.TotalCount() == 0 {
			continue
		}
		if loads[r.Load] == nil {
			loads[r.Load] = result.NewLatency()
		}
		loads[r.Load].Merge(r.Latency.Histogram)
	}
	return loads
}

func keys[V any](of map[float64]V) []float64 {
	all := make([]float64, 0, len(of))
	for k := range of {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

// latencyByLoad are three charts: mean, median and 99th percentile, each beside the published ones.
func (g *gathered) latencyByLoad() []Chart {
	subjects := g.of("ramp", "latency", "floor")
	both := len(g.of("ramp")) > 0 && len(g.of("latency", "floor")) > 0
	var charts []Chart
	for _, of := range []struct {
		id, title string
		measured  func(spread) float64
		published func(PublishedStep) float64
	}{
		{"latency-mean", "Mean latency by load", func(s spread) float64 { return s.mean }, func(p PublishedStep) float64 { return p.Mean }},
		{"latency-p50", "Median latency by load", func(s spread) float64 { return s.p50 }, func(p PublishedStep) float64 { return p.P50 }},
		{"latency-p99", "99th percentile of latency by load", func(s spread) float64 { return s.p99 }, func(p PublishedStep) float64 { return p.P99 }},
	} {
		c := Chart{ID: of.id, Title: of.title, X: Axis{Label: "load, commands/s"}, Y: Axis{Label: "ms", Log: true},
			Note: "From when a command was due to be sent until its answer was read; in a ramp until its BalanceChanged was. Beside it what was published of the earlier handlers, on another machine (see below)."}
		ends := false
		for _, m := range subjects {
			if m.of.Kind == "store" {
				continue // it answers no commands
			}
			s := Series{Name: m.name}
			if both {
				s.Name += ", " + m.run.Scenario
			}
			loads := byLoad(m)
			for _, load := range keys(loads) {
				if loads[load].timedOut > 0 {
					ends = true
					break
				}
				s.Points = append(s.Points, Point{X: load, Y: of.measured(loads[load])})
			}
			if len(s.Points) > 0 {
				c.Series = append(c.Series, s)
			}
		}
		if len(c.Series) == 0 {
			continue
		}
		if ends {
			c.Note += " A ramp's line ends before the load at which the first interaction ran into its time-out: of the others there alone it would be too low."
		}
		c.Series = append(c.Series, references(of.published)...)
		c.X.Log = wideRange(&c)
		if c.X.Log {
			c.Note += " The load is logarithmic, so the published step without any load is not drawn."
		}
		charts = append(charts, c)
	}
	return charts
}

// wideRange tells whether x needs a logarithmic axis, for the published loads not to be squeezed to the left edge.
func wideRange(c *Chart) bool {
	high := 0.0
	for _, s := range c.Series {
		for _, p := range s.Points {
			high = math.Max(high, p.X)
		}
	}
	return high > 3000
}

// curvesAtMost is how many percentile curves one picture holds.
const curvesAtMost = 6

// percentiles draws how the latencies are distributed, over 1/(1-q) as HdrHistogram's plots do, so that each further nine takes the same room.
func (g *gathered) percentiles() []Chart {
	c := Chart{ID: "percentiles", Title: "Latency by percentile", Y: Axis{Label: "ms", Log: true},
		X: Axis{Label: "percentile", Log: true, Tens: true, Format: func(v float64) string {
			return fmt.Sprintf("%g%%", math.Round((100-100/v)*1e4)/1e4)
		}},
		Note: "All rounds of a load together: so many percent of the commands had their answer within so many ms. Each line ends where fewer than ten commands are left."}
	type curveOf struct {
		name string
		load float64
		l    *result.Latency
	}
	var curves []curveOf
	for _, m := range g.of("latency", "floor", "soak") {
		loads := histograms(m.of)
		for _, load := range keys(loads) {
			name := m.name
			if load > 0 {
				name += " at " + result.Number(load) + "/s"
			}
			if slices.ContainsFunc(curves, func(c curveOf) bool { return c.name == name }) {
				name += ", " + m.run.Scenario
			}
			curves = append(curves, curveOf{name, load, loads[load]})
		}
	}
	if len(curves) > curvesAtMost {
		// The loads that most subjects have, from below.
		times := map[float64]int{}
		for _, curve := range curves {
			times[curve.load]++
		}
		slices.SortStableFunc(curves, func(a, b curveOf) int {
			return cmp.Or(cmp.Compare(times[b.load], times[a.load]), cmp.Compare(a.load, b.load))
		})
		c.Note += fmt.Sprintf(" Of %d subjects and loads these %d are drawn.", len(curves), curvesAtMost)
		curves = curves[:curvesAtMost]
	}
	for _, curve := range curves {
		s := Series{Name: curve.name}
		for _, q := range quantiles(curve.l.TotalCount()) {
			s.Points = append(s.Points, Point{X: 1 / (1 - q/100), Y: ms(curve.l.At(q))})
		}
		if len(s.Points) > 0 { // or fewer than ten had an answer
			c.Series = append(c.Series, s)
		}
	}
	return []Chart{c}
}

// quantiles are ten steps for each nine, as far as ten values are left above.
func quantiles(count int64) []float64 {
	var all []float64
	for left := 1.0; left >= 10/float64(count) && len(all) < 80; left /= math.Pow(10, 0.1) {
		all = append(all, 100*(1-left))
	}
	return all
}
