package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"openbank/result"
)

// figures are a run's exact figures, a row for each case of each subject. Columns that nothing fills are left out.
func figures(run *result.Run) Table {
	var rows []row
	for i := range run.Subjects {
		m := measured{run, &run.Subjects[i], title(&run.Subjects[i])}
		if run.Scenario == "ramp" && m.of.Kind != "store" {
			rows = append(rows, rampRows(m)...)
			continue
		}
		for _, c := range m.of.Cases() {
			rows = append(rows, caseRow(m, c))
		}
	}
	columns := []string{"subject", "case", "rounds", "commands", "a second", "least to most", "× TPC-B", "mean ms", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "CPU µs a command", "CPU cores", "peak MiB", "timed out", "wrong"}
	t := Table{}
	for _, name := range columns {
		if slices.ContainsFunc(rows, func(r row) bool { return r[name] != "" }) {
			t.Head = append(t.Head, name)
		}
	}
	for _, r := range rows {
		var cells []string
		for _, name := range t.Head {
			cells = append(cells, r[name])
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

// row is the cells of a row by the heads of their columns.
type row map[string]string

// set leaves the cell empty where there is nothing to say.
func (r row) set(column string, v float64) {
	if v > 0 && !math.IsInf(v, 0) {
		r[column] = result.Number(v)
	}
}

func (r row) latency(l *result.Latency) {
	r.set("mean ms", l.Mean()/float64(time.Millisecond))
	for column, q := range map[string]float64{"p50 ms": 50, "p90 ms": 90, "p99 ms": 99, "p99.9 ms": 99.9, "max ms": 100} {
		r.set(column, ms(l.At(q)))
	}
}

func caseRow(m measured, c result.Repeated) row {
	r := row{"subject": m.name, "case": c.Case.String(), "rounds": strconv.Itoa(len(c.Rounds))}
	var commands, timedOut, wrong int64
	var perCommand, cores []float64
	peak := int64(0)
	all := result.NewLatency()
	for _, round := range c.Rounds {
		commands += round.Commands
		timedOut += round.TimedOut
		wrong += round.Wrong
		if used, over := round.CPU(result.Own); over > 0 {
			cores = append(cores, used.Seconds()/over.Seconds())
			if round.Answered > 0 {
				perCommand = append(perCommand, float64(used)/float64(round.Answered)/float64(time.Microsecond))
			}
		}
		peak = max(peak, round.PeakRSS(result.Own))
		if round.Latency != nil {
			all.Merge(round.Latency.Histogram)
		}
	}
	r.set("commands", float64(commands))
	p := rates(c.Rounds)
	r.set("a second", p.Y)
	if p.Low != p.High {
		r["least to most"] = fmt.Sprintf("%s to %s", result.Number(p.Low), result.Number(p.High))
	}
	if c.Case.Load == 0 {
		r.set("× TPC-B", timesTPCB(m, c))
	}
	if all.TotalCount() > 0 {
		r.latency(all)
	}
	if len(perCommand) > 0 {
		r.set("CPU µs a command", result.Median(perCommand))
	}
	if len(cores) > 0 {
		r.set("CPU cores", result.Median(cores))
	}
	r.set("peak MiB", float64(peak)/mib)
	r.set("timed out", float64(timedOut))
	r.set("wrong", float64(wrong))
	return r
}

// rampSteps is how many steps of a ramp the table gives, the numbers beside its pictures being complete.
const rampSteps = 8

func rampRows(m measured) []row {
	loads := byLoad(m)
	all := keys(loads)
	var timedOut, peak float64
	for i := range m.of.Rounds {
		timedOut += float64(m.of.Rounds[i].TimedOut)
		peak = math.Max(peak, float64(m.of.Rounds[i].PeakRSS(result.Own))/mib)
	}
	end := row{"subject": m.name, "case": "to the end", "rounds": strconv.Itoa(len(m.of.Rounds))}
	end.set("timed out", timedOut)
	end.set("peak MiB", peak)
	var rows []row
	for i, load := range all {
		if len(all) > rampSteps && i != len(all)-1 && i%((len(all)+rampSteps-1)/rampSteps) != 0 {
			continue
		}
		of := loads[load]
		r := row{"subject": m.name, "case": "at " + result.Number(load) + "/s", "rounds": end["rounds"]}
		r.set("commands", float64(of.count+of.timedOut))
		if of.count > 0 {
			r.set("mean ms", of.mean)
			r.set("p50 ms", of.p50)
			r.set("p99 ms", of.p99)
		}
		r.set("timed out", float64(of.timedOut))
		rows = append(rows, r)
	}
	if len(all) > 0 {
		end["case"] = fmt.Sprintf("to its end at %s/s", result.Number(all[len(all)-1]))
	}
	return append(rows, end)
}
