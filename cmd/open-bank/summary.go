package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"openbank/audit"
	"openbank/store"
)

// summary is what a demo came to.
type summary struct {
	Held bool   `json:"held"`
	Seed uint64 `json:"seed"`

	Sent      int `json:"sent"`       // records on the command topics
	SentAgain int `json:"sent_again"` // of them, exact repetitions
	SentUnfit int `json:"sent_unfit"` // of them, what can't be handled, repetitions included

	Latency latency `json:"latency"`
	Drain   drain   `json:"drain"`

	Audit audit.Report  `json:"audit"` // of topics and database together
	Books *store.Report `json:"books"` // of the database alone

	Surprises []string `json:"surprises"` // answers that are not what the sender asked for
	Failures  []string `json:"failures"`  // everything that didn't hold
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
	s.Latency = latency{
		Rate: rate, Count: w.latency.TotalCount(), P50: milliseconds(50), P99: milliseconds(99), Max: float64(w.latency.Max()) / 1000,
	}
}

// judge takes the findings and decides.
func (s *summary) judge(report *audit.Report, books *store.Report, surprises []string) {
	s.Audit, s.Books, s.Surprises = *report, books, surprises
	for _, violation := range report.Violations {
		s.Failures = append(s.Failures, violation.String())
	}
	for rule, n := range report.Found {
		s.Failures = append(s.Failures, fmt.Sprintf("in all %d times: %s", n, rule))
	}
	for _, v := range books.Violations {
		s.Failures = append(s.Failures, fmt.Sprintf("books: %s: %s%s: %s", v.Rule, v.IBAN, v.ID, v.Detail))
	}
	s.Failures = append(s.Failures, surprises[:min(len(surprises), 20)]...)
	s.Held = report.OK() && books.OK() && len(surprises) == 0
}

func (s *summary) print(out io.Writer, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(s)
	}
	a := s.Audit
	var text strings.Builder
	claim := func(text string) string {
		if !s.Held {
			return "" // it may be the very thing that didn't hold
		}
		return ", " + text
	}
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&text, "  %-13s%s\n", name, fmt.Sprintf(format, args...))
	}
	text.WriteString("\n")
	line("commands", "%s in %s records; %s confirmed, %s rejected", n(a.Commands), n(a.Deliveries), n(a.Confirmed), n(a.Rejected))
	line("answers", "%s%s", n(a.Answers), claim("all to a command equal"))
	line("duplicates", "%s%s", n(a.Duplicates), claim("answered again and not carried out again"))
	line("dead letters", "%s, %s of them for an id that came again with other content", n(a.DeadLetters), n(a.Reused))
	line("events", "%s%s", n(a.Events), claim("each account's a chain without gaps"))
	line("rate", "%s records/s: a backlog of %s gone in %.1f s", n(int(s.Drain.PerSecond)), n(s.Drain.Records), s.Drain.Seconds)
	line("latency", "p50 %.1f ms, p99 %.1f ms, max %.1f ms at %d records/s, from when it was due to the answer (%s commands)",
		s.Latency.P50, s.Latency.P99, s.Latency.Max, s.Latency.Rate, n(int(s.Latency.Count)))
	line("books", "%s accounts, openings %s + in and out %s = balances %s euro", n(a.Accounts), euro(a.Openings), euro(a.Flows), euro(a.Balances))
	if s.Held {
		text.WriteString("\neverything held\n")
	} else {
		fmt.Fprintf(&text, "\nthis did not hold (seed %d):\n", s.Seed)
		for _, failure := range s.Failures {
			fmt.Fprintf(&text, "  %s\n", failure)
		}
	}
	_, err := io.WriteString(out, text.String())
	return err
}

func n(count int) string { return grouped(int64(count)) }
