// Package comparison says whether one run of the benchmark is worse than another, and how sure that is. It reads two results,
// pairs what they measured alike, and gives for each figure the medians over the rounds, their ratio, and an interval for that ratio.
//
// The rounds of a run are few and not normally distributed, so nothing is assumed of their distribution: the interval is the one that
// belongs to the Mann-Whitney test (Moses; Hodges and Lehmann), on ratios in place of differences. Its confidence is exact for any number of
// rounds, which also means that too few of them give none: two sides need at least 4 + 4 rounds, or 3 + 5, for 95%.
//
// What it can't see: rounds of two runs are not interleaved. What else the machine did during one of them is part of the ratio.
package comparison

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"openbank/result"
)

// Confidence is what every interval is asked for.
const Confidence = 0.95

// Options say what is compared, and how.
type Options struct {
	Tolerance float64 // how much worse is still accepted: 0.05 is 5%
	// SubjectA and SubjectB name one subject of each run, to be compared with one another. Without them subjects are paired by name.
	SubjectA, SubjectB string
	// Against names a subject of both runs that every figure is divided by, round by round, before the runs are compared: what the
	// machine was able to do at that time. Machines may differ then.
	Against string
	// Metrics are those that are compared, by name; all without any.
	Metrics []string
	// AllowDifferences compares runs of other machines and delivery modes too.
	AllowDifferences bool
}

// Verdict is what can be said of one figure.
type Verdict string

// A figure is better or worse when its whole interval lies beyond the tolerance, and the same when the whole interval lies within
// it. Otherwise more rounds would be needed to say.
const (
	Better    Verdict = "better"
	Worse     Verdict = "worse"
	Same      Verdict = "same"
	Undecided Verdict = "undecided"
	TooFew    Verdict = "too few rounds"
)

// Row compares one figure.
type Row struct {
	Subject string    `json:"subject"`
	Case    string    `json:"case"` // what was measured: a load, how much was there before; may be empty
	Metric  string    `json:"metric"`
	Unit    string    `json:"unit"`
	Better  Direction `json:"better"`
	A       float64   `json:"a"` // median over the rounds
	B       float64   `json:"b"`
	RoundsA int       `json:"rounds_a"`
	RoundsB int       `json:"rounds_b"`
	Ratio   float64   `json:"ratio"` // B/A: the median of the ratios of each round of B to each of A
	Low     *float64  `json:"low"`   // of the interval; nil when there are too few rounds
	High    *float64  `json:"high"`
	Verdict Verdict   `json:"verdict"`
	// Reference says that it shows what the machine could do, not what a handler did: worse is no alarm then.
	Reference bool `json:"reference"`
}

// Comparison is what Compare found.
type Comparison struct {
	Scenario    string       `json:"scenario"`
	Tolerance   float64      `json:"tolerance"`
	Confidence  float64      `json:"confidence"`
	Against     string       `json:"against,omitempty"`
	StartedA    time.Time    `json:"started_a"`
	StartedB    time.Time    `json:"started_b"`
	Differences []Difference `json:"differences"`
	Rows        []Row        `json:"rows"`
	Missing     []string     `json:"missing"` // what only one of them measured
}

// Worse are the rows of handlers that are worse by more than the tolerance, with confidence.
func (c *Comparison) Worse() []Row {
	var worse []Row
	for _, r := range c.Rows {
		if r.Verdict == Worse && !r.Reference {
			worse = append(worse, r)
		}
	}
	return worse
}

// Compare compares B with A. It returns an error when they can't be compared: other scenarios, a run that failed or was interrupted, wrong answers in one of
// them, nothing that both measured, or differences that are not allowed, which the error names.
func Compare(a, b *result.Run, o Options) (*Comparison, error) {
	if !(o.Tolerance >= 0 && o.Tolerance < 1) { // nor is NaN one
		return nil, fmt.Errorf("the tolerance is %g, and must be from 0 to less than 1 (100%%)", o.Tolerance)
	}
	if a.Scenario != b.Scenario {
		return nil, fmt.Errorf("the scenarios differ, A of %q and B of %q: only runs of one scenario compare", a.Scenario, b.Scenario)
	}
	for _, name := range o.Metrics {
		if !slices.Contains(MetricNames(), name) {
			return nil, fmt.Errorf("there is no metric %q, there are %s", name, strings.Join(MetricNames(), ", "))
		}
	}
	if err := errors.Join(whole("A", a), whole("B", b)); err != nil {
		return nil, err
	}
	pairs, missing, err := pair(a, b, o)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(right("A", a, pairs, 0), right("B", b, pairs, 1)); err != nil {
		return nil, err
	}
	c := &Comparison{
		Scenario: a.Scenario, Tolerance: o.Tolerance, Confidence: Confidence, Against: o.Against,
		StartedA: a.Started, StartedB: b.Started, Differences: differences(a, b, pairs), Missing: missing,
	}
	if err := refuse(c.Differences, o); err != nil {
		return nil, err
	}
	for _, p := range pairs {
		before, err := figuresOf(a, p[0], o)
		if err != nil {
			return nil, fmt.Errorf("in A: %w", err)
		}
		after, err := figuresOf(b, p[1], o)
		if err != nil {
			return nil, fmt.Errorf("in B: %w", err)
		}
		c.add(p, before, after, o.SubjectA == "" && (p[0].Kind == "floor" || p[0].Kind == "store"))
	}
	if len(c.Rows) == 0 {
		return nil, errors.New("the runs have no figure in common: compare runs of the same loads and subjects")
	}
	return c, nil
}

func (c *Comparison) add(p [2]*result.Subject, before, after []figure, reference bool) {
	name := p[0].Name
	if p[1].Name != name {
		name += " → " + p[1].Name
	}
	for _, f := range before {
		at := slices.IndexFunc(after, f.sameAs)
		if at < 0 {
			c.Missing = append(c.Missing, fmt.Sprintf("%s %s %s is in A alone", name, f.of, f.metric.name))
			continue
		}
		g := after[at]
		row := Row{
			Subject: name, Case: f.of.String(), Metric: f.metric.name, Unit: f.metric.unit, Better: f.metric.better,
			A: result.Median(f.values), B: result.Median(g.values), RoundsA: len(f.values), RoundsB: len(g.values), Reference: reference,
		}
		interval := ratioOf(f.values, g.values, skipped(len(f.values), len(g.values), (1-c.Confidence)/2))
		row.Ratio = interval.estimate
		row.Verdict = verdict(interval, f.metric.better, c.Tolerance)
		if interval.known {
			row.Low, row.High = &interval.low, &interval.high
		}
		c.Rows = append(c.Rows, row)
	}
	for _, g := range after {
		if !slices.ContainsFunc(before, g.sameAs) {
			c.Missing = append(c.Missing, fmt.Sprintf("%s %s %s is in B alone", name, g.of, g.metric.name))
		}
	}
}

func verdict(i interval, better Direction, tolerance float64) Verdict {
	if !i.known {
		return TooFew
	}
	low, high := i.low-1, i.high-1
	if better == Up {
		low, high = -high, -low
	}
	// Now what is above 0 is worse.
	switch {
	case low > tolerance:
		return Worse
	case high < -tolerance:
		return Better
	case low >= -tolerance && high <= tolerance:
		return Same
	default:
		return Undecided
	}
}

// pair finds the subjects that are compared with one another.
func pair(a, b *result.Run, o Options) (pairs [][2]*result.Subject, missing []string, err error) {
	if (o.SubjectA == "") != (o.SubjectB == "") {
		return nil, nil, errors.New("name a subject of A and one of B, or neither")
	}
	if o.SubjectA != "" {
		left, errA := subject(a, "A", o.SubjectA)
		right, errB := subject(b, "B", o.SubjectB)
		return [][2]*result.Subject{{left, right}}, nil, errors.Join(errA, errB)
	}
	for i := range a.Subjects {
		name := a.Subjects[i].Name
		if name == o.Against {
			continue
		}
		if other := find(b, name); other != nil {
			pairs = append(pairs, [2]*result.Subject{&a.Subjects[i], other})
		} else {
			missing = append(missing, fmt.Sprintf("%s is in A alone", name))
		}
	}
	for i := range b.Subjects {
		if find(a, b.Subjects[i].Name) == nil {
			missing = append(missing, fmt.Sprintf("%s is in B alone", b.Subjects[i].Name))
		}
	}
	if len(pairs) == 0 {
		return nil, nil, fmt.Errorf("the runs have no subject in common: A has %s, B has %s; name one of each", subjects(a), subjects(b))
	}
	return pairs, missing, nil
}

func find(run *result.Run, name string) *result.Subject {
	for i := range run.Subjects {
		if run.Subjects[i].Name == name {
			return &run.Subjects[i]
		}
	}
	return nil
}

func subject(run *result.Run, which, name string) (*result.Subject, error) {
	if s := find(run, name); s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("%s has no subject %q, it has %s", which, name, subjects(run))
}

func subjects(run *result.Run) string {
	var names []string
	for _, s := range run.Subjects {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}

// whole refuses a run that did not come to its end.
func whole(which string, run *result.Run) error {
	switch {
	case run.Failure != "":
		return fmt.Errorf("%s, the run of %s, failed: %s", which, run.Started.Format(time.DateTime), run.Failure)
	case run.Interrupted:
		return fmt.Errorf("%s, the run of %s, was interrupted: what it holds is not all that was to be measured", which, run.Started.Format(time.DateTime))
	}
	return nil
}

// right refuses the figures of a handler that answered wrongly: it may be as fast as it likes.
func right(which string, run *result.Run, pairs [][2]*result.Subject, side int) error {
	for _, p := range pairs {
		for i, r := range p[side].Rounds {
			if r.Wrong > 0 {
				return fmt.Errorf("%s, the run of %s: %d answers to %s were wrong in round %d: there is nothing to compare", which, run.Started.Format(time.DateTime), r.Wrong, p[side].Name, i+1)
			}
		}
	}
	return nil
}
