package benchmark

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"openbank/progress"
	"openbank/result"
)

// Print writes a run's figures as a table: a line for each subject and what its rounds have in common; rates are medians of the
// rounds, and times TPC-B those of the rounds' ratios; latencies those of all of them together. Of a ramp the load that was reached stands in
// the place of the rate, and no latency, for they are of all loads.
func Print(out io.Writer, run *result.Run) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tdelivery\trounds\t/s\tx TPC-B\tp50\tp99\tp99.9\tmax\tCPU a command\tpeak RSS\t")
	var yardstick []result.Round
	for _, s := range run.Subjects {
		if s.Name == "TPC-B" {
			yardstick = s.Rounds
		}
	}
	for _, s := range run.Subjects {
		for _, g := range groups(s.Rounds) {
			line(t, s, g, yardstick)
		}
	}
	_ = t.Flush() // to a terminal or a buffer
	for _, s := range run.Subjects {
		for _, note := range s.Notes {
			fmt.Fprintf(out, "%s: %s\n", s.Name, note)
		}
	}
	postgres := "Postgres unknown: " + run.Postgres["unknown"]
	if run.Postgres["unknown"] == "" {
		postgres = fmt.Sprintf("Postgres %s, fsync %s, synchronous_commit %s, shared_buffers %s", run.Versions["postgres"], run.Postgres["fsync"], run.Postgres["synchronous_commit"], run.Postgres["shared_buffers"])
	}
	fmt.Fprintf(out, "%d cores, %s; Kafka: %s; %s\n", run.Machine.Cores, run.Machine.System, run.Versions["kafka"], postgres)
}

// group is rounds under the same conditions.
type group struct {
	what   string
	rounds []result.Round
}

func groups(rounds []result.Round) []group {
	var all []group
	for _, r := range rounds {
		what := ""
		switch {
		case len(r.Samples) > 0: // of a ramp, which goes through all loads
			what += ", load reached"
		case r.Load > 0:
			what += fmt.Sprintf(" at %s/s", result.Number(r.Load))
		}
		if r.Handlers > 1 {
			what += fmt.Sprintf(" %d handlers", r.Handlers)
		}
		if r.Hot > 0 {
			what += fmt.Sprintf(" %.0f%% hot", 100*r.Hot)
		}
		if r.Handled > 0 {
			what += fmt.Sprintf(" after %s", progress.Grouped(r.Handled))
		}
		i := slices.IndexFunc(all, func(g group) bool { return g.what == what })
		if i < 0 {
			i = len(all)
			all = append(all, group{what: what})
		}
		all[i].rounds = append(all[i].rounds, r)
	}
	return all
}

func line(out io.Writer, s result.Subject, g group, yardstick []result.Round) {
	times := "-"
	rate := result.MedianRate(result.Pointers(g.rounds))
	if by := result.RateRatio(result.Pointers(g.rounds), result.Pointers(yardstick)); by > 0 && g.rounds[0].Latency == nil {
		times = fmt.Sprintf("%.2f", by)
	}
	p50, p99, p999, most := "-", "-", "-", "-"
	if len(g.rounds[0].Samples) > 0 {
		loads := make([]float64, len(g.rounds))
		for i, r := range g.rounds {
			loads[i] = r.Load
		}
		rate = result.Median(loads)
	} else if all := together(g.rounds); all != nil {
		p50, p99, p999, most = ms(all.At(50)), ms(all.At(99)), ms(all.At(99.9)), ms(all.At(100))
	}
	cpu, rss := use(g.rounds)
	delivery := s.Delivery
	if delivery == "" {
		delivery = "-"
	}
	fmt.Fprintf(out, "%s%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", s.Name, g.what, delivery, len(g.rounds), result.Number(rate), times, p50, p99, p999, most, cpu, rss)
}

// together is all rounds' latencies, nil when nothing was timed.
func together(rounds []result.Round) *result.Latency {
	var all *result.Latency
	for _, r := range rounds {
		if r.Latency == nil {
			continue
		}
		if all == nil {
			all = result.NewLatency()
		}
		all.Merge(r.Latency.Histogram)
	}
	return all
}

// use is the handler's CPU time for each command, and the most memory that it had.
func use(rounds []result.Round) (cpu, rss string) {
	var used time.Duration
	var commands, peak int64
	for i := range rounds {
		u, _ := rounds[i].CPU(result.Own)
		used += u
		commands += rounds[i].Answered
		peak = max(peak, rounds[i].PeakRSS(result.Own))
	}
	if used == 0 || commands == 0 {
		return "-", "-"
	}
	return fmt.Sprintf("%.1f us", float64(used)/float64(time.Microsecond)/float64(commands)), fmt.Sprintf("%.1f MiB", float64(peak)/(1<<20))
}
