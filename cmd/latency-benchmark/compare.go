package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"openbank/comparison"
	"openbank/result"
)

// errWorse is how a comparison ends that found B worse.
var errWorse = errors.New("worse")

type compareCommand struct {
	A string `arg:"" name:"A.json" help:"Result of latency-benchmark run."`
	B string `arg:"" name:"B.json" optional:"" help:"The result that is held to it; default: A itself, to compare two subjects of one run."`

	Tolerance        percent  `default:"5%" help:"How much worse B may be. It counts as worse when its whole interval is beyond that."`
	SubjectA         string   `help:"Compare this subject of A …"`
	SubjectB         string   `help:"… with this one of B; default: subjects of the same name."`
	Against          string   `help:"Divide every figure by that of this subject (the floor, pgbench) in the same round before comparing: for runs of other machines or minutes."`
	Metric           []string `placeholder:"NAME" help:"Compare these alone: rate, highest load, answered in time, latency mean, latency p50, latency p99, CPU per command, peak memory."`
	AllowDifferences bool     `help:"Compare runs of different machines or delivery modes too."`
	Output           string   `enum:"text,json" default:"text" help:"text or json."`
}

// Run compares, prints, and returns errWorse when that is what came of it.
func (c *compareCommand) Run(s *session) error {
	a, err := result.Read(c.A)
	if err != nil {
		return err
	}
	b := a
	if c.B != "" {
		if b, err = result.Read(c.B); err != nil {
			return err
		}
	} else if c.SubjectA == "" {
		return errors.New("a run compares with another one, or two of its subjects with each other: give B.json, or --subject-a and --subject-b")
	}
	compared, err := comparison.Compare(a, b, comparison.Options{
		Tolerance: float64(c.Tolerance), SubjectA: c.SubjectA, SubjectB: c.SubjectB, Against: c.Against, Metrics: c.Metric, AllowDifferences: c.AllowDifferences,
	})
	if err != nil {
		return fmt.Errorf("comparing %s with %s: %w", c.A, c.named(), err)
	}
	if c.Output == "json" {
		e := json.NewEncoder(s.stdout)
		e.SetIndent("", "  ")
		err = e.Encode(compared)
	} else {
		if _, err = fmt.Fprintf(s.stdout, "A        %s, %s, %s\nB        %s, %s, %s\n", c.A, a.Scenario, a.Started.UTC().Format("2006-01-02 15:04"),
			c.named(), b.Scenario, b.Started.UTC().Format("2006-01-02 15:04")); err == nil {
			err = compared.Print(s.stdout)
		}
	}
	if err != nil {
		return fmt.Errorf("printing the comparison: %w", err)
	}
	if worse := compared.Worse(); len(worse) > 0 {
		var names []string
		for _, r := range worse {
			names = append(names, strings.Join(strings.Fields(fmt.Sprintf("%s %s %s", r.Subject, r.Metric, r.Case)), " "))
		}
		return fmt.Errorf("%w than A by more than %s: %s", errWorse, c.Tolerance, strings.Join(names, "; "))
	}
	return nil
}

func (c *compareCommand) named() string {
	if c.B == "" {
		return c.A
	}
	return c.B
}

// percent is a share, written as 5% or 0.05.
type percent float64

// UnmarshalText reads it.
func (p *percent) UnmarshalText(text []byte) error {
	number, isPercent := strings.CutSuffix(strings.TrimSpace(string(text)), "%")
	v, err := strconv.ParseFloat(number, 64)
	if isPercent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v < 1) { // nor is NaN one
		return fmt.Errorf("%q is no tolerance: give a share from 0 to less than 100%%, such as 5%%", text)
	}
	*p = percent(v)
	return nil
}

func (p percent) String() string { return strconv.FormatFloat(100*float64(p), 'g', 4, 64) + "%" }
