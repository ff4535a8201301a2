package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"openbank/result"
)

// rates are those of rounds that repeat one another: their median, least and most.
func rates(rounds []*result.Round) (p Point) {
	var all []float64
	for _, r := range rounds {
		if r.Rate > 0 {
			all = append(all, r.Rate)
		}
	}
	if len(all) == 0 {
		return Point{}
	}
	slices.Sort(all)
	p.Low, p.High = all[0], all[len(all)-1]
	p.Y = all[len(all)/2]
	if n := len(all); n%2 == 0 {
		p.Y = (all[n/2-1] + all[n/2]) / 2
	}
	return p
}

// throughput are bars of the drains, and of what the machine could do beside them.
func (g *gathered) throughput() []Chart {
	c := Chart{ID: "throughput", Title: "Throughput", X: Axis{Label: "a second"},
		Note: "Commands a second out of a backlog that was all there at the start. Of TPC-B it is transactions, of fsync writes of 8 KiB. Medians of the rounds, from the least to the most of them; compared with the TPC-B of the same run."}
	for _, m := range g.of("drain", "floor") {
		for _, of := range m.of.Cases() {
			if p := rates(of.Rounds); p.Y > 0 && of.Case.Load == 0 {
				c.Bars = append(c.Bars, Bar{Name: named(m, of.Case), Value: p.Y, Low: p.Low, High: p.High, Note: beside(m, of), of: m.name})
			}
		}
	}
	return []Chart{c}
}

func named(m measured, c result.Case) string {
	if is := c.String(); is != "" {
		return m.name + ", " + is
	}
	return m.name
}

// beside says how many times TPC-B of the same run a handler did.
func beside(m measured, c result.Repeated) string {
	if times := timesTPCB(m, c); times > 0 {
		return result.Number(times) + " × TPC-B"
	}
	return ""
}

// timesTPCB is 0 where the run has no TPC-B.
func timesTPCB(m measured, c result.Repeated) float64 {
	i := slices.IndexFunc(m.run.Subjects, func(s result.Subject) bool { return isTPCB(&s) })
	if i < 0 || m.of.Kind == "store" {
		return 0
	}
	return result.RateRatio(c.Rounds, result.Pointers(m.run.Subjects[i].Rounds))
}

func isTPCB(s *result.Subject) bool {
	name := strings.ToLower(s.Name)
	return strings.Contains(name, "tpc-b") || strings.Contains(name, "tpcb") || strings.Contains(name, "pgbench")
}

// series are how the rate changes with what was there before, with a hot account, with the number of handlers.
func (g *gathered) series() []Chart {
	rate := Axis{Label: "commands/s"}
	grow := Chart{ID: "grow", Title: "Throughput as the tables grow", Y: rate, X: Axis{Label: "commands handled before, millions", Format: func(v float64) string { return result.Number(v / 1e6) }},
		Note: "Medians of the rounds, from the least to the most of them."}
	hot := Chart{ID: "hot", Title: "Throughput with a hot account", Y: rate, X: Axis{Label: "transfers on one account", Format: func(v float64) string { return fmt.Sprintf("%g%%", math.Round(100*v)) }},
		Note: grow.Note}
	handlers := Chart{ID: "handlers", Title: "Throughput by the number of handlers", Y: rate, X: Axis{Label: "handlers", Format: result.Number},
		Note: grow.Note}
	for _, m := range g.subjects {
		byHandled, byHot, byHandlers := map[float64][]*result.Round{}, map[float64][]*result.Round{}, map[float64][]*result.Round{}
		for i := range m.of.Rounds {
			r := &m.of.Rounds[i]
			if r.Load > 0 {
				continue
			}
			byHandled[float64(r.Handled)] = append(byHandled[float64(r.Handled)], r)
			byHot[r.Hot] = append(byHot[r.Hot], r)
			byHandlers[float64(max(1, r.Handlers))] = append(byHandlers[float64(max(1, r.Handlers))], r)
		}
		if m.run.Scenario == "grow" {
			grow.along(m.name, byHandled)
		}
		if m.run.Scenario == "hot" {
			hot.along(m.name, byHot)
		}
		if len(byHandlers) > 1 {
			handlers.along(m.name, byHandlers)
		}
	}
	return []Chart{grow, hot, handlers}
}

func (c *Chart) along(name string, rounds map[float64][]*result.Round) {
	s := Series{Name: name}
	for _, x := range keys(rounds) {
		if p := rates(rounds[x]); p.Y > 0 {
			p.X = x
			s.Points = append(s.Points, p)
		}
	}
	if len(s.Points) > 0 {
		c.Series = append(c.Series, s)
	}
}

// pointsAtMost is how many points a line over time has: more than that are drawn several seconds at once.
const pointsAtMost = 240

// overTime are the answers a second of each drain's and soak's typical round, how long a soak's took, and what the processes used meanwhile.
func (g *gathered) overTime() []Chart {
	drains, soaks := g.answered("drain"), g.answered("soak")
	charts := []Chart{drains, soaks}
	for _, m := range g.of("soak") {
		if r := typical(m.of, hasSeconds); r != nil {
			charts = append(charts, soak(m, r))
		}
	}
	return append(charts, g.usageOverTime()...)
}

func hasSeconds(r *result.Round) bool { return len(r.Seconds) > 1 }

func (g *gathered) answered(scenario string) Chart {
	c := Chart{ID: "answers-" + scenario, Title: "Answers in each second, " + scenario, X: Axis{Label: "s"}, Y: Axis{Label: "answers/s"},
		Note: "Of the round with the median rate of each, its whole seconds."}
	for _, m := range g.of(scenario) {
		r := typical(m.of, hasSeconds)
		if r == nil {
			continue
		}
		// The last second is rarely a whole one.
		whole := slices.DeleteFunc(slices.Clone(r.Seconds), func(s result.Second) bool { return time.Duration(s.Second+1)*time.Second > r.Duration })
		s := Series{Name: m.name}
		for _, part := range parts(whole) {
			total := int64(0)
			for _, second := range part {
				total += second.Answered
			}
			s.Points = append(s.Points, Point{X: float64(part[0].Second), Y: float64(total) / float64(len(part))})
		}
		c.Series = append(c.Series, s)
	}
	c.drop()
	return c
}

func parts(seconds []result.Second) [][]result.Second {
	return slices.Collect(slices.Chunk(seconds, max(1, (len(seconds)+pointsAtMost-1)/pointsAtMost)))
}

func soak(m measured, r *result.Round) Chart {
	c := Chart{ID: "soak-" + slug(m.name), Title: "Latency over time: " + m.name, X: Axis{Label: "s"}, Y: Axis{Label: "ms", Log: true},
		Note: "Of each second, or the largest of as many seconds as one point stands for."}
	of := []struct {
		name string
		from func(result.Second) time.Duration
	}{
		{"median", func(s result.Second) time.Duration { return s.P50 }},
		{"99th percentile", func(s result.Second) time.Duration { return s.P99 }},
		{"longest", func(s result.Second) time.Duration { return s.Max }},
	}
	for _, o := range of {
		s := Series{Name: o.name}
		for _, part := range parts(r.Seconds) {
			largest := time.Duration(0)
			for _, second := range part {
				largest = max(largest, o.from(second))
			}
			if largest > 0 {
				s.Points = append(s.Points, Point{X: float64(part[0].Second), Y: ms(largest)})
			}
		}
		if len(s.Points) > 0 {
			c.Series = append(c.Series, s)
		}
	}
	return c
}

// slug is a name as it may stand in ids and file names.
func slug(name string) string {
	return strings.Trim(strings.Join(strings.FieldsFunc(strings.ToLower(name), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}), "-"), "-")
}
