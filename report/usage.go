package report

import (
	"slices"
	"time"

	"openbank/result"
)

const mib = 1 << 20

// usageByLoad are the handlers' CPU and memory over the load that was offered.
func (g *gathered) usageByLoad() []Chart {
	cpu := Chart{ID: "cpu-by-load", Title: "CPU of the handler by load", X: Axis{Label: "load, commands/s"}, Y: Axis{Label: "cores"},
		Note: "Of the handler's own process, as medians of the rounds. The published figures are percentages of 9 CPUs, converted."}
	memory := Chart{ID: "memory-by-load", Title: "Memory of the handler by load", X: cpu.X, Y: Axis{Label: "MiB", Log: true},
		Note: "The resident set of the handler's own process, the most that was seen."}
	both := len(g.of("ramp")) > 0 && len(g.of("latency")) > 0
	for _, m := range g.of("ramp", "latency") {
		name := m.name
		if both {
			name += ", " + m.run.Scenario
		}
		cores, peaks := map[float64][]float64{}, map[float64][]float64{}
		for i := range m.of.Rounds {
			for _, u := range usedByLoad(m.run.Scenario, &m.of.Rounds[i]) {
				if u.cores > 0 {
					cores[u.load] = append(cores[u.load], u.cores)
				}
				peaks[u.load] = append(peaks[u.load], u.peak)
			}
		}
		cpu.ofLoads(name, cores, result.Median)
		memory.ofLoads(name, peaks, slices.Max[[]float64])
	}
	var charts []Chart
	for _, c := range []struct {
		Chart
		published func(PublishedStep) float64
	}{{cpu, func(p PublishedStep) float64 { return p.CPU }}, {memory, func(p PublishedStep) float64 { return p.Memory }}} {
		if len(c.Series) > 0 {
			c.Series = append(c.Series, references(c.published)...)
			c.X.Log = wideRange(&c.Chart)
			charts = append(charts, c.Chart)
		}
	}
	return charts
}

func (c *Chart) ofLoads(name string, values map[float64][]float64, summed func([]float64) float64) {
	s := Series{Name: name}
	for _, load := range keys(values) {
		s.Points = append(s.Points, Point{X: load, Y: summed(values[load])})
	}
	if len(s.Points) > 0 {
		c.Series = append(c.Series, s)
	}
}

type used struct{ load, cores, peak float64 }

// usedByLoad is what the handler used at each load of a round: of a ramp at each of its steps, from the step's first
// interaction to its last.
func usedByLoad(scenario string, r *result.Round) []used {
	if scenario != "ramp" {
		cpu, over := r.CPU(result.Own)
		peak := r.PeakRSS(result.Own)
		if peak == 0 {
			return nil
		}
		u := used{load: r.Load, peak: float64(peak) / mib}
		if over > 0 {
			u.cores = cpu.Seconds() / over.Seconds()
		}
		return []used{u}
	}
	type span struct{ from, to time.Duration }
	spans := map[float64]span{}
	for _, s := range r.Samples {
		if at, known := spans[s.Load]; known {
			spans[s.Load] = span{min(at.from, s.At), max(at.to, s.At)}
		} else {
			spans[s.Load] = span{s.At, s.At}
		}
	}
	all := r.Used(result.Own)
	var steps []used
	for _, load := range keys(spans) {
		var step []result.Usage
		for _, u := range all {
			if u.At >= spans[load].from && u.At <= spans[load].to {
				step = append(step, u)
			}
		}
		if len(step) == 0 {
			continue
		}
		u := used{load: load}
		for _, at := range step {
			u.peak = max(u.peak, float64(at.RSS)/mib)
		}
		if first, last := step[0], step[len(step)-1]; last.At > first.At {
			u.cores = (last.CPU - first.CPU).Seconds() / (last.At - first.At).Seconds()
		}
		steps = append(steps, u)
	}
	return steps
}

// usageOverTime is what the processes of each handler's typical round used in drains and soaks.
func (g *gathered) usageOverTime() []Chart {
	var charts []Chart
	for _, m := range g.of("drain", "soak") {
		if m.of.Kind != "handler" {
			continue
		}
		r := typical(m.of, func(r *result.Round) bool { return len(r.Usage) > 3 })
		if r == nil {
			continue
		}
		cpu := Chart{ID: "cpu-" + m.run.Scenario + "-" + slug(m.name), Title: "CPU over time: " + m.name + ", " + m.run.Scenario, X: Axis{Label: "s"}, Y: Axis{Label: "cores"},
			Note: "By process, in the round with the median rate."}
		memory := Chart{ID: "memory-" + m.run.Scenario + "-" + slug(m.name), Title: "Memory over time: " + m.name + ", " + m.run.Scenario, X: cpu.X, Y: Axis{Label: "MiB", Log: true}, Note: cpu.Note}
		every := interval(r)
		for _, process := range r.Processes() {
			cores, rss := Series{Name: process}, Series{Name: process}
			for part := range slices.Chunk(r.Used(process), max(1, len(r.Used(process))/pointsAtMost)) {
				last := part[len(part)-1]
				rss.Points = append(rss.Points, Point{X: last.At.Round(every).Seconds(), Y: float64(last.RSS) / mib})
			}
			all := r.Used(process)
			step := max(1, len(all)/pointsAtMost)
			for i := step; i < len(all); i += step {
				if over := all[i].At - all[i-step].At; over > 0 {
					cores.Points = append(cores.Points, Point{X: all[i].At.Round(every).Seconds(), Y: (all[i].CPU - all[i-step].CPU).Seconds() / over.Seconds()})
				}
			}
			cpu.Series = append(cpu.Series, cores)
			memory.Series = append(memory.Series, rss)
		}
		cpu.drop()
		memory.drop()
		charts = append(charts, cpu, memory)
	}
	return charts
}

// interval is the time between two samples. Those of different processes belong together that lie closer.
func interval(r *result.Round) time.Duration {
	var apart []float64
	for _, process := range r.Processes() {
		all := r.Used(process)
		for i := 1; i < len(all); i++ {
			apart = append(apart, float64(all[i].At-all[i-1].At))
		}
	}
	if len(apart) == 0 {
		return 0
	}
	return time.Duration(result.Median(apart))
}

// drop leaves lines without points out.
func (c *Chart) drop() {
	c.Series = slices.DeleteFunc(c.Series, func(s Series) bool { return len(s.Points) == 0 })
}
