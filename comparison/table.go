package comparison

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"openbank/result"
)

func number(v float64) string { return result.Number(v) }

// Print writes the comparison for people.
func (c *Comparison) Print(to io.Writer) error {
	var b strings.Builder
	for _, d := range c.Differences {
		fmt.Fprintf(&b, "differs  %s\n", d)
	}
	for _, m := range c.Missing {
		fmt.Fprintf(&b, "missing  %s\n", m)
	}
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\tA\tB\t\tB/A\t%g%% interval\trounds\t\n", 100*c.Confidence)
	subject, few, slower := "", false, ""
	for _, r := range c.Rows {
		if r.Subject != subject {
			subject = r.Subject
			what := subject
			if r.Reference {
				what += " (what the machine could do)"
			}
			fmt.Fprintf(t, "%s\t\t\t\t\t\t\t\n", what)
		}
		between := "–"
		if r.Low != nil {
			between = fmt.Sprintf("%.3f to %.3f", *r.Low, *r.High)
		}
		few = few || r.Verdict == TooFew
		if r.Reference && r.Verdict == Worse {
			slower = subject
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%.3f\t%s\t%d + %d\t%s\n",
			strings.TrimSpace(r.Metric+" "+r.Case), number(r.A), number(r.B), r.Unit, r.Ratio, between, r.RoundsA, r.RoundsB, r.said())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(&b, "\nA and B are medians over the rounds; B/A is the median of the ratios of each round of B to each of A, the interval that of the Mann-Whitney test.\n"+
		"Better or worse: the whole interval lies more than %g%% off; same: all of it lies within. Each line is a test of its own.\n", 100*c.Tolerance)
	if few {
		n := fewest(c.Confidence)
		fmt.Fprintf(&b, "Too few rounds: from so few no ratio, however large, shows anything with %g%% confidence. Measure at least %d on each side.\n", 100*c.Confidence, n)
	}
	if slower != "" {
		fmt.Fprintf(&b, "The machine itself did less during B, %s shows it: that is no alarm, but is in the other figures too. --against %s takes it out.\n", slower, slower)
	}
	switch {
	case c.Against != "":
		fmt.Fprintf(&b, "All figures are ratios to %s in the same round.\n", c.Against)
	case !c.StartedA.Equal(c.StartedB):
		b.WriteString("The runs were made one after the other: what else the machine did meanwhile is part of the ratio.\n")
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(to, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// said points out where a lower figure is the better one.
func (r Row) said() string {
	switch {
	case r.Verdict != Worse && r.Verdict != Better:
		return string(r.Verdict)
	case r.Ratio < 1:
		return string(r.Verdict) + " (lower)"
	default:
		return string(r.Verdict) + " (higher)"
	}
}
