package report

import (
	"fmt"
	"slices"
	"strings"

	"openbank/result"
)

// Chart is a picture: lines over an axis, or bars.
type Chart struct {
	ID    string // names its file and its place in the page
	Title string
	Note  string // what to know to read it
	X, Y  Axis
	// Series are lines. Those of references come after the measured ones.
	Series []Series
	// Bars lie beneath one another, over X.
	Bars []Bar
}

// Axis is one direction of a chart.
type Axis struct {
	Label  string
	Log    bool
	Tens   bool                 // a logarithmic one has its ticks at powers of ten alone
	Format func(float64) string // of a value on it; nil writes numbers
}

func (a Axis) text(v float64) string {
	if a.Format != nil {
		return a.Format(v)
	}
	return result.Number(v)
}

// Series is a line.
type Series struct {
	Name      string
	Points    []Point
	Reference bool // published by others, not measured here
	ink       int
}

// Point has a range when Low and High differ from 0: the least and the most of the rounds.
type Point struct{ X, Y, Low, High float64 }

// Bar has a range as a Point has.
type Bar struct {
	Name             string
	Value, Low, High float64
	Note             string // written after the value
	of               string // whose style it wears
	ink              int
}

// wear gives every line and bar the style that its name has in all pictures. A name with a suffix (a load, a percentile) that has
// none of its own, and a second line of the same name, gets the next free one.
func (c *Chart) wear(inks map[string]int) {
	taken := map[int]bool{}
	reference := 0
	for i := range c.Series {
		s := &c.Series[i]
		if s.Reference {
			s.ink = reference
			reference++
			continue
		}
		ink := inks[s.Name]
		for taken[ink] {
			ink++
		}
		taken[ink] = true
		s.ink = ink
	}
	for i := range c.Bars {
		c.Bars[i].ink = inks[c.Bars[i].of]
	}
}

// Describe says in words what a reader sees in the picture.
func (c *Chart) Describe() string {
	var b strings.Builder
	if len(c.Bars) > 0 {
		fmt.Fprintf(&b, "Bars of %s.", c.X.Label)
		for _, bar := range c.Bars {
			fmt.Fprintf(&b, " %s: %s%s.", bar.Name, c.X.text(bar.Value), parenthesised(bar.Note))
		}
		return b.String()
	}
	fmt.Fprintf(&b, "Lines of %s over %s%s.", c.Y.Label, c.X.Label, map[bool]string{true: ", logarithmic"}[c.Y.Log])
	for _, s := range c.Series {
		first, last := s.Points[0], s.Points[len(s.Points)-1]
		fmt.Fprintf(&b, " %s: %s at %s", s.Name, c.Y.text(first.Y), c.X.text(first.X))
		if len(s.Points) > 1 {
			fmt.Fprintf(&b, ", %s at %s", c.Y.text(last.Y), c.X.text(last.X))
		}
		b.WriteByte('.')
	}
	return b.String()
}

func parenthesised(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

// Table is a chart's numbers, or the report's.
type Table struct {
	Head []string
	Rows [][]string
}

// Numbers are what the picture shows, exactly.
func (c *Chart) Numbers() Table {
	if len(c.Bars) > 0 {
		t := Table{Head: []string{"", c.X.Label, "least", "most", ""}}
		for _, b := range c.Bars {
			t.Rows = append(t.Rows, []string{b.Name, c.X.text(b.Value), ranged(c.X, b.Low, b.High, b.Low), ranged(c.X, b.Low, b.High, b.High), b.Note})
		}
		return t
	}
	t := Table{Head: []string{c.X.Label}}
	var xs []float64
	at := make([]map[float64]Point, len(c.Series))
	for i, s := range c.Series {
		t.Head = append(t.Head, s.Name)
		at[i] = map[float64]Point{}
		for _, p := range s.Points {
			at[i][p.X] = p
			xs = append(xs, p.X)
		}
	}
	slices.Sort(xs)
	for _, x := range slices.Compact(xs) {
		row := []string{c.X.text(x)}
		for i := range c.Series {
			p, there := at[i][x]
			switch {
			case !there:
				row = append(row, "")
			case p.Low != p.High:
				row = append(row, fmt.Sprintf("%s (%s to %s)", c.Y.text(p.Y), c.Y.text(p.Low), c.Y.text(p.High)))
			default:
				row = append(row, c.Y.text(p.Y))
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func ranged(a Axis, low, high, v float64) string {
	if low == high {
		return ""
	}
	return a.text(v)
}
