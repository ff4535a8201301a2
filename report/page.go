package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"openbank/result"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

type document struct {
	Policy   template.HTMLAttr // of security: the one style sheet by its hash, nothing else
	Style    template.CSS
	Title    string
	Summary  string   // when and where
	Version  string   // of the program that made the page
	Warnings []string // of runs that are not what they were meant to be
	Glance   []glance
	Figures  []runFigures
	Pictures []picture
	Runs     []runFacts
	Source   string // of the published results, where they are drawn
}

type glance struct{ Value, What string }

type picture struct {
	*Chart
	Wide, Narrow template.HTML
	Numbers      Table
}

type runFigures struct {
	Title string
	Table Table
}

type runFacts struct {
	Title, When string
	Facts       []fact
	Subjects    []subjectFacts
}

type fact struct{ Name, Value string }

type subjectFacts struct {
	Name  string
	Facts []fact
	Notes []string
}

// Page writes the report of the runs, at least one, as one HTML file. title heads it, version is the program's.
func Page(to io.Writer, title, version string, inputs []Input) error {
	css := pageCSS + chartCSS()
	sum := sha256.Sum256([]byte(css))
	p := document{
		Style: template.CSS(css), Title: title, Version: version,
		Policy: template.HTMLAttr(`content="default-src 'none'; style-src 'sha256-` + base64.StdEncoding.EncodeToString(sum[:]) + `'; img-src data:; base-uri 'none'; form-action 'none'"`),
		Glance: glances(inputs), Summary: summary(inputs),
	}
	charts := Charts(inputs)
	for i := range charts {
		c := &charts[i]
		// html/template can't look into SVG; svg escapes what it is given itself.
		p.Pictures = append(p.Pictures, picture{c, template.HTML(c.svg(wide, "-wide")), template.HTML(c.svg(narrow, "-narrow")), c.Numbers()})
		if slices.ContainsFunc(c.Series, func(s Series) bool { return s.Reference }) {
			p.Source = PublishedConditions
		}
	}
	for _, in := range inputs {
		switch name := in.Run.Scenario + ", " + in.Label; {
		case in.Run.Failure != "":
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s failed: %s %s", name, in.Run.Failure, strings.Join(in.Run.Faults, "; ")))
		case in.Run.Interrupted:
			p.Warnings = append(p.Warnings, name+" was interrupted: it holds what was measured until then.")
		}
		p.Figures = append(p.Figures, runFigures{fmt.Sprintf("%s, %s", in.Run.Scenario, in.Label), figures(in.Run)})
		p.Runs = append(p.Runs, factsOf(in))
	}
	if err := pageTemplate.Execute(to, p); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// summary names the machines and the time of the runs.
func summary(inputs []Input) string {
	var machines []string
	from, to := inputs[0].Run.Started, inputs[0].Run.Ended
	for _, in := range inputs {
		if m := machine(in.Run.Machine); m != "" && !slices.Contains(machines, m) {
			machines = append(machines, m)
		}
		if in.Run.Started.Before(from) {
			from = in.Run.Started
		}
		if in.Run.Ended.After(to) {
			to = in.Run.Ended
		}
	}
	runs := "1 run"
	if n := len(inputs); n != 1 {
		runs = fmt.Sprintf("%d runs", n)
	}
	text := fmt.Sprintf("%s, %s to %s UTC", runs, from.UTC().Format("2006-01-02 15:04"), to.UTC().Format("2006-01-02 15:04"))
	if len(machines) > 0 {
		text += ", on " + strings.Join(machines, "; and on ")
	}
	return text + "."
}

// glances are the few figures that one looks for first: how fast the handlers were, and how soon they answered.
func glances(inputs []Input) []glance {
	var all []glance
	g := gather(inputs)
	for _, m := range g.of("drain") {
		for _, c := range m.of.Cases() {
			p := rates(c.Rounds)
			if m.of.Kind != "handler" || p.Y == 0 {
				continue
			}
			what := "commands/s out of a backlog: " + named(m, c.Case)
			if b := beside(m, c); b != "" {
				what += ", " + b
			}
			all = append(all, glance{result.Number(p.Y), what})
		}
	}
	for _, m := range g.of("latency") {
		if m.of.Kind != "handler" {
			continue
		}
		loads := byLoad(m)
		for _, load := range keys(loads) {
			all = append(all, glance{result.Number(loads[load].p99) + " ms", fmt.Sprintf("99%% of the answers at %s/s: %s (half within %s ms)", result.Number(load), m.name, result.Number(loads[load].p50))})
		}
	}
	return all[:min(len(all), 8)]
}

func factsOf(in Input) runFacts {
	r := in.Run
	f := runFacts{
		Title: fmt.Sprintf("%s, %s", r.Scenario, in.Label),
		When:  fmt.Sprintf("%s UTC, %s", r.Started.UTC().Format("2006-01-02 15:04"), r.Ended.Sub(r.Started).Round(time.Second)),
	}
	add := func(name, value string) {
		if value != "" {
			f.Facts = append(f.Facts, fact{name, value})
		}
	}
	add("machine", machine(r.Machine))
	add("versions", pairs(r.Versions))
	add("Postgres", pairs(r.Postgres))
	add("configuration", pairs(r.Configuration))
	add("latency-benchmark", r.Tool)
	add("command", strings.Join(r.Command, " "))
	for _, s := range r.Subjects {
		of := subjectFacts{Name: title(&s), Notes: s.Notes}
		for _, x := range []fact{{"kind", s.Kind}, {"version", s.Version}, {"started by", s.Command}} {
			if x.Value != "" {
				of.Facts = append(of.Facts, x)
			}
		}
		f.Subjects = append(f.Subjects, of)
	}
	return f
}

func machine(m result.Machine) string {
	var parts []string
	if m.CPU != "" {
		parts = append(parts, m.CPU)
	}
	if m.Cores > 0 {
		parts = append(parts, strconv.Itoa(m.Cores)+" cores")
	}
	if m.Memory > 0 {
		parts = append(parts, result.Number(float64(m.Memory)/(1<<30))+" GiB")
	}
	if m.System != "" {
		parts = append(parts, m.System)
	}
	return strings.Join(parts, ", ")
}

func pairs(of map[string]string) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(of)) {
		all = append(all, k+" "+of[k])
	}
	return strings.Join(all, ", ")
}
