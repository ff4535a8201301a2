package comparison

import (
	"fmt"
	"slices"
	"time"

	"openbank/result"
)

// Direction is where better lies.
type Direction string

// Rates are better up; latencies, CPU and memory down.
const (
	Up   Direction = "up"
	Down Direction = "down"
)

type metric struct {
	name, unit string
	better     Direction
}

var (
	rate     = metric{"rate", "commands/s", Up}
	reached  = metric{"highest load", "commands/s", Up}
	inTime   = metric{"answered in time", "%", Up}
	mean     = metric{"latency mean", "ms", Down}
	p50      = metric{"latency p50", "ms", Down}
	p99      = metric{"latency p99", "ms", Down}
	perThing = metric{"CPU per command", "µs", Down}
	memory   = metric{"peak memory", "MiB", Down}
)

// figure is one metric of one case: a value a round.
type figure struct {
	of     result.Case
	metric metric
	values []float64
}

func (f figure) sameAs(g figure) bool { return f.of == g.of && f.metric == g.metric }

// MetricNames are the metrics that there are.
func MetricNames() []string {
	var names []string
	for _, m := range []metric{rate, reached, inTime, mean, p50, p99, perThing, memory} {
		names = append(names, m.name)
	}
	return names
}

// figuresOf are a subject's figures, case by case, divided by those of the subject that they are taken against when there is one.
func figuresOf(run *result.Run, s *result.Subject, o Options) ([]figure, error) {
	figures := measured(run.Scenario, s)
	if len(o.Metrics) > 0 {
		figures = slices.DeleteFunc(figures, func(f figure) bool { return !slices.Contains(o.Metrics, f.metric.name) })
	}
	if o.Against == "" {
		return figures, nil
	}
	reference := find(run, o.Against)
	if reference == nil {
		return nil, fmt.Errorf("there is no subject %q to take ratios to, there is %s", o.Against, subjects(run))
	}
	return divide(figures, measured(run.Scenario, reference), o.Against)
}

// divide takes each figure as a ratio to the reference's figure of the same round. A reference that has one case alone stands beside all.
func divide(figures, reference []figure, against string) ([]figure, error) {
	cases := map[result.Case]bool{}
	for _, r := range reference {
		cases[r.of] = true
	}
	var divided []figure
	for _, f := range figures {
		at := slices.IndexFunc(reference, func(r figure) bool { return r.metric == f.metric && (r.of == f.of || len(cases) == 1) })
		if at < 0 {
			continue
		}
		by := reference[at].values
		if len(by) != len(f.values) {
			return nil, fmt.Errorf("%s %s was measured in %d rounds and %s in %d: ratios are taken round by round", f.of, f.metric.name, len(f.values), against, len(by))
		}
		f.metric.unit = "× " + against
		values := make([]float64, len(by))
		for i := range by {
			values[i] = f.values[i] / by[i]
		}
		f.values = values
		divided = append(divided, f)
	}
	if len(divided) == 0 {
		return nil, fmt.Errorf("%s has no figure that the others have", against)
	}
	return divided, nil
}

func measured(scenario string, s *result.Subject) []figure {
	if scenario == "ramp" {
		return ramp(s)
	}
	var figures []figure
	for _, of := range s.Cases() {
		figures = append(figures, ofCase(of.Case, of.Rounds)...)
	}
	return figures
}

// ofCase leaves a metric out that a round does not have.
func ofCase(of result.Case, rounds []*result.Round) []figure {
	var figures []figure
	add := func(m metric, value func(*result.Round) float64) {
		f := figure{of: of, metric: m}
		for _, r := range rounds {
			v := value(r)
			if v <= 0 {
				return
			}
			f.values = append(f.values, v)
		}
		figures = append(figures, f)
	}
	// Where a load is offered, the rate is that load.
	if of.Load == 0 {
		add(rate, func(r *result.Round) float64 { return r.Rate })
	}
	if slices.ContainsFunc(rounds, func(r *result.Round) bool { return r.TimedOut > 0 }) {
		add(inTime, func(r *result.Round) float64 {
			return 100 * float64(r.Answered) / float64(max(1, r.Answered+r.TimedOut))
		})
	}
	latency := func(value func(*result.Latency) float64) func(*result.Round) float64 {
		return func(r *result.Round) float64 {
			if r.Latency == nil || r.Latency.TotalCount() == 0 {
				return 0
			}
			return value(r.Latency) / float64(time.Millisecond)
		}
	}
	add(mean, latency(func(l *result.Latency) float64 { return l.Mean() }))
	add(p50, latency(func(l *result.Latency) float64 { return float64(l.At(50)) }))
	add(p99, latency(func(l *result.Latency) float64 { return float64(l.At(99)) }))
	add(perThing, func(r *result.Round) float64 {
		used, _ := r.CPU(result.Own)
		return float64(used) / float64(max(1, r.Answered)) / float64(time.Microsecond)
	})
	add(memory, func(r *result.Round) float64 { return float64(r.PeakRSS(result.Own)) / (1 << 20) })
	return figures
}

// stepsCompared is how many load steps of a ramp are compared at most: evenly spread from the lowest to the highest that every round reached.
const stepsCompared = 5

// ramp compares how far each round came, and its latencies at some steps. A round's p99 of a step is close to its longest
// interaction, there being 60 of them: it takes more rounds than the others to say anything of it.
func ramp(s *result.Subject) []figure {
	far := figure{metric: reached}
	var steps []map[float64][]time.Duration
	for i := range s.Rounds {
		at := map[float64][]time.Duration{}
		top := 0.0
		for _, sample := range s.Rounds[i].Samples {
			if !sample.Timeout {
				at[sample.Load] = append(at[sample.Load], sample.Latency)
				top = max(top, sample.Load)
			}
		}
		if len(at) == 0 {
			continue
		}
		far.values = append(far.values, top)
		steps = append(steps, at)
	}
	if len(steps) == 0 {
		return nil
	}
	figures := []figure{far}
	if slices.Min(far.values) == 0 {
		figures = nil
	}
	for _, load := range spread(inAll(steps)) {
		k := result.Case{Load: load}
		byMean, byMedian, byTail := figure{k, mean, nil}, figure{k, p50, nil}, figure{k, p99, nil}
		for _, at := range steps {
			sorted := slices.Sorted(slices.Values(at[load]))
			total := time.Duration(0)
			for _, l := range sorted {
				total += l
			}
			ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
			byMean.values = append(byMean.values, ms(total)/float64(len(sorted)))
			byMedian.values = append(byMedian.values, ms(result.Percentile(sorted, 50)))
			byTail.values = append(byTail.values, ms(result.Percentile(sorted, 99)))
		}
		figures = append(figures, byMean, byMedian, byTail)
	}
	return figures
}

// inAll are the loads that every round had answers at, rising.
func inAll(steps []map[float64][]time.Duration) []float64 {
	var loads []float64
	for load := range steps[0] {
		if !slices.ContainsFunc(steps, func(at map[float64][]time.Duration) bool { return len(at[load]) == 0 }) {
			loads = append(loads, load)
		}
	}
	slices.Sort(loads)
	return loads
}

func spread(loads []float64) []float64 {
	const n = stepsCompared
	if len(loads) <= n {
		return loads
	}
	chosen := make([]float64, n)
	for i := range chosen {
		chosen[i] = loads[i*(len(loads)-1)/(n-1)]
	}
	return chosen
}
