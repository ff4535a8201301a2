// Package report makes of benchmark results what one shows: a page that stands alone, and single pictures for a README.
//
// The page is one HTML file. It loads nothing, runs no script and says so to the browser (Content-Security-Policy); it adapts to narrow
// screens, dark mode and paper. Every picture has a text alternative and its numbers as a table. Pictures are drawn by this package:
// chart libraries for Go write sizes and colours into each element, and the same picture could not follow the reader's colour scheme or be
// set anew for a phone.
//
// It judges nothing: which run is better is package comparison's to say.
package report

import (
	"fmt"
	"slices"
	"strings"

	"openbank/result"
)

// Input is a run and the name it goes by where several have to be told apart.
type Input struct {
	Label string
	Run   *result.Run
}

// Charts draws all that the runs hold figures for, in the order of the page.
func Charts(inputs []Input) []Chart {
	g := gather(inputs)
	var charts []Chart
	for _, c := range slices.Concat(g.latencyByLoad(), g.percentiles(), g.throughput(), g.series(), g.usageByLoad(), g.overTime()) {
		if len(c.Series) > 0 || len(c.Bars) > 0 {
			charts = append(charts, c)
		}
	}
	for i := range charts {
		charts[i].wear(g.inks)
	}
	return charts
}

// measured is one subject of one run, with the name it has in pictures.
type measured struct {
	run  *result.Run
	of   *result.Subject
	name string
}

type gathered struct {
	inputs   []Input
	subjects []measured
	inks     map[string]int // which line style a name has, the same in every picture
}

func gather(inputs []Input) *gathered {
	g := &gathered{inputs: inputs, inks: map[string]int{}}
	// A name is told apart by its run when another run of the scenario has it too.
	times := map[string]int{}
	for _, in := range inputs {
		for i := range in.Run.Subjects {
			times[in.Run.Scenario+" "+title(&in.Run.Subjects[i])]++
		}
	}
	for _, in := range inputs {
		for i := range in.Run.Subjects {
			s := &in.Run.Subjects[i]
			name := title(s)
			if times[in.Run.Scenario+" "+name] > 1 {
				name = fmt.Sprintf("%s (%s)", name, in.Label)
			}
			if _, known := g.inks[name]; !known {
				g.inks[name] = len(g.inks)
			}
			g.subjects = append(g.subjects, measured{in.Run, s, name})
		}
	}
	return g
}

// title is a subject's name with its delivery mode, without which a figure means little.
func title(s *result.Subject) string {
	if s.Delivery == "" || strings.Contains(s.Name, s.Delivery) {
		return s.Name
	}
	return s.Name + ", " + s.Delivery
}

// of are the subjects of some scenarios.
func (g *gathered) of(scenarios ...string) []measured {
	var found []measured
	for _, m := range g.subjects {
		if slices.Contains(scenarios, m.run.Scenario) {
			found = append(found, m)
		}
	}
	return found
}

// typical is the round with the median rate among those that hold what is asked for; nil when none does.
func typical(s *result.Subject, holds func(*result.Round) bool) *result.Round {
	var rounds []*result.Round
	for i := range s.Rounds {
		if holds(&s.Rounds[i]) {
			rounds = append(rounds, &s.Rounds[i])
		}
	}
	if len(rounds) == 0 {
		return nil
	}
	slices.SortStableFunc(rounds, func(a, b *result.Round) int {
		switch {
		case a.Rate < b.Rate:
			return -1
		case a.Rate > b.Rate:
			return 1
		default:
			return 0
		}
	})
	return rounds[(len(rounds)-1)/2]
}
