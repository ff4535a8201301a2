package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"openbank/audit"
	"openbank/progress"
	"openbank/store"
)

// summary is what a demo came to.
type summary struct {
	Held bool   `json:"held"`
	Seed uint64 `json:"seed"`

	Sent      int `json:"sent"`       // records on the command topics
	SentAgain int `json:"sent_again"` // of them, exact repetitions
	SentUnfit int `json:"sent_unfit"` // of them, what can't be handled, repetitions included

	Latency *latency `json:"latency"` // null when it was not measured
	Drain   *drain   `json:"drain"`   // as above

	Audit audit.Report  `json:"audit"` // of topics and database together
	Books *store.Report `json:"books"` // of the database alone

	Surprises []string `json:"surprises"` // answers that are not what the sender asked for
	Failures  []string `json:"failures"`  // what didn't hold, as far as the reports and surprises list it
}

// latency is from the moment at which a command was due to be sent to the moment at which its answer was read, at a rate that
// the bank can keep up with.
type latency struct {
	Rate  int     `json:"records_per_second"`
	Count int64   `json:"commands"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

// drain is how fast a backlog goes away.
type drain struct {
	Records   int     `json:"records"`
	Seconds   float64 `json:"seconds"` // from the first record sent to the last answer read
	PerSecond float64 `json:"records_per_second"`
}

func (s *summary) takeLatency(rate int, w *watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	milliseconds := func(quantile float64) float64 { return float64(w.latency.ValueAtQuantile(quantile)) / 1000 }
	if w.latency.TotalCount() == 0 {
		return
	}
	s.Latency = &latency{
		Rate: rate, Count: w.latency.TotalCount(), P50: milliseconds(50), P99: milliseconds(99), Max: float64(w.latency.Max()) / 1000,
	}
}

// judge takes the findings and decides.
func (s *summary) judge(report *audit.Report, books *store.Report, surprises []string) {
	s.Audit, s.Books, s.Surprises = *report, books, append([]string{}, surprises...)
	s.Books.Violations = append([]store.Violation{}, books.Violations...) // a list in JSON, also when it is empty
	s.Failures = []string{}
	for _, g := range s.groups() {
		for _, example := range g.examples {
			s.Failures = append(s.Failures, g.rule+": "+example)
		}
	}
	s.Held = report.OK() && books.OK() && len(surprises) == 0
}

// maxExamples is how many violations of a rule people are shown. The JSON has more.
const maxExamples = 3

// group is a rule that didn't hold.
type group struct {
	rule     string
	examples []string
	count    string
}

// groups are what didn't hold: the books first, being the ones that are worst to have wrong.
func (s *summary) groups() []*group {
	var all []*group
	byRule := map[string]*group{}
	add := func(rule, example string) {
		g, ok := byRule[rule]
		if !ok {
			g = &group{rule: rule}
			byRule[rule] = g
			all = append(all, g)
		}
		g.examples = append(g.examples, example)
		g.count = progress.Grouped(int64(len(g.examples)))
	}
	for _, v := range s.Books.Violations {
		add("books: "+v.Rule, found(v))
	}
	for _, g := range all {
		if len(g.examples) == store.MaxViolations {
			g.count = "at least " + g.count
		}
	}
	for _, v := range s.Audit.Violations {
		add(string(v.Rule), v.Subject+": "+v.Detail)
		byRule[string(v.Rule)].count = n(s.Audit.Found[v.Rule])
	}
	for _, surprise := range s.Surprises {
		add("every answer is the one that the sender expects", surprise)
	}
	return all
}

func (s *summary) print(out io.Writer, asJSON bool) error {
	if asJSON {
		return printJSON(out, s)
	}
	var text strings.Builder
	text.WriteString("\n")
	writeFound(&text, &s.Audit, s.Held)
	if d := s.Drain; d != nil {
		writeLine(&text, "rate", "%s records/s: a backlog of %s gone in %.1f s", n(int(d.PerSecond)), n(d.Records), d.Seconds)
	} else {
		writeLine(&text, "rate", "not measured")
	}
	if l := s.Latency; l != nil {
		writeLine(&text, "latency", "p50 %.1f ms, p99 %.1f ms, max %.1f ms at %d records/s, from when it was due to the answer (%s)",
			l.P50, l.P99, l.Max, l.Rate, progress.Counted(l.Count, "command"))
	} else {
		writeLine(&text, "latency", "not measured")
	}
	writeBooks(&text, &s.Audit)
	if s.Held {
		text.WriteString("\neverything held\n")
	} else {
		fmt.Fprintf(&text, "\nthis did not hold (seed %d; --json has more):\n", s.Seed)
		for _, g := range s.groups() {
			fmt.Fprintf(&text, "  %s (%s)\n", g.rule, g.count)
			for _, example := range g.examples[:min(len(g.examples), maxExamples)] {
				fmt.Fprintf(&text, "    %s\n", example)
			}
		}
	}
	_, err := io.WriteString(out, text.String())
	return err
}

func printJSON(out io.Writer, what any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(what)
}

func writeLine(text *strings.Builder, name, format string, args ...any) {
	fmt.Fprintf(text, "  %-13s%s\n", name, fmt.Sprintf(format, args...))
}

// writeFound tells what an audit read. What may be the very thing that didn't hold is claimed only if all held.
func writeFound(text *strings.Builder, a *audit.Report, held bool) {
	claim := func(text string) string {
		if !held {
			return ""
		}
		return ", " + text
	}
	writeLine(text, "commands", "%s in %s; %s confirmed, %s rejected", n(a.Commands), progress.Counted(a.Deliveries, "record"), n(a.Confirmed), n(a.Rejected))
	writeLine(text, "answers", "%s%s", n(a.Answers), claim("all to a command equal"))
	writeLine(text, "duplicates", "%s%s", n(a.Duplicates), claim("answered again and not carried out again"))
	writeLine(text, "dead letters", "%s, %s of them for an id that came again with other content", n(a.DeadLetters), n(a.Reused))
	writeLine(text, "events", "%s%s", n(a.Events), claim("each account's a chain without gaps"))
}

func writeBooks(text *strings.Builder, a *audit.Report) {
	writeLine(text, "books", "%s, openings %s + in and out %s = balances %s euro", progress.Counted(a.Accounts, "account"), euro(a.Openings), euro(a.Flows), euro(a.Balances))
}

func n(count int) string { return progress.Grouped(int64(count)) }
