package comparison

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"openbank/result"
)

var update = flag.Bool("update", false, "write the golden files")

func drain(rates ...float64) *result.Run {
	ours := result.Subject{Name: "ours", Kind: "handler", Delivery: "exactly-once", Version: "v1"}
	tpcb := result.Subject{Name: "tpc-b", Kind: "store"}
	for _, rate := range rates {
		answered := int64(rate * 10)
		ours.Rounds = append(ours.Rounds, result.Round{
			Commands: answered, Answered: answered, Rate: rate,
			Usage: []result.Usage{{Process: result.Own, RSS: 20 << 20}, {At: 10 * time.Second, Process: result.Own, CPU: time.Duration(answered) * 20 * time.Microsecond, RSS: 24 << 20, PeakRSS: 25 << 20}},
		})
		tpcb.Rounds = append(tpcb.Rounds, result.Round{Rate: rate / 5})
	}
	return &result.Run{
		Scenario: "drain", Started: time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC), Machine: result.Machine{CPU: "EPYC", Cores: 2, Memory: 24 << 30, System: "Debian 12"},
		Postgres: map[string]string{"fsync": "on"}, Configuration: map[string]string{"commands": "500000"}, Subjects: []result.Subject{ours, tpcb},
	}
}

func latency(at time.Duration) *result.Latency {
	l := result.NewLatency()
	for i := range 1000 {
		_ = l.RecordValue(int64(at) * int64(900+i) / 1000)
	}
	return l
}

func compared(t *testing.T, a, b *result.Run, o Options) *Comparison {
	t.Helper()
	c, err := Compare(a, b, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func row(t *testing.T, c *Comparison, subject, of string) Row {
	t.Helper()
	for _, r := range c.Rows {
		if r.Subject == subject && strings.TrimSpace(r.Metric+" "+r.Case) == of {
			return r
		}
	}
	t.Fatalf("%s of %s is not compared: %+v", of, subject, c.Rows)
	return Row{}
}

func TestTheTable(t *testing.T) {
	t.Parallel()
	a := drain(30000, 31000, 29500, 30500, 30200)
	b := drain(24000, 24400, 23800, 24100, 23900)
	b.Started = b.Started.Add(time.Hour)
	b.Postgres["fsync"], b.Subjects[0].Version = "off", "v2"
	few := result.Subject{Name: "peer", Kind: "handler", Rounds: []result.Round{{Rate: 500, Answered: 10}, {Rate: 510, Answered: 10}}}
	a.Subjects, b.Subjects = append(a.Subjects, few, result.Subject{Name: "floor"}), append(b.Subjects, few)
	got := strings.Builder{}
	if err := compared(t, a, b, Options{Tolerance: 0.05}).Print(&got); err != nil {
		t.Fatal(err)
	}
	golden(t, got.String())
}

func golden(t *testing.T, got string) {
	t.Helper()
	path := filepath.Join("testdata", "drain.txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("it is\n%s\nand %s has\n%s", got, path, want)
	}
}

func TestBetterIsUpForRatesAndDownForTheRest(t *testing.T) {
	t.Parallel()
	slow, fast := drain(100, 101, 102, 103, 104), drain(200, 201, 202, 203, 204)
	for i := range slow.Subjects[0].Rounds {
		slow.Subjects[0].Rounds[i].Latency = latency(20 * time.Millisecond)
		fast.Subjects[0].Rounds[i].Latency = latency(10 * time.Millisecond)
		fast.Subjects[0].Rounds[i].Usage[1].CPU /= 2
		fast.Subjects[0].Rounds[i].Usage[1].PeakRSS, fast.Subjects[0].Rounds[i].Usage[0].RSS, fast.Subjects[0].Rounds[i].Usage[1].RSS = 10<<20, 9<<20, 9<<20
	}
	for _, c := range []struct {
		a, b *result.Run
		want Verdict
	}{{slow, fast, Better}, {fast, slow, Worse}, {slow, slow, Same}} {
		got := compared(t, c.a, c.b, Options{Tolerance: 0.05})
		for _, of := range []string{"rate", "latency mean", "latency p50", "latency p99", "CPU per command", "peak memory"} {
			if r := row(t, got, "ours", of); r.Verdict != c.want {
				t.Errorf("%s: %s, not %s: %+v", of, r.Verdict, c.want, r)
			}
		}
	}
}

func TestOnlyTheMetricsThatAreAskedFor(t *testing.T) {
	t.Parallel()
	c := compared(t, drain(1, 2, 3, 4), drain(1, 2, 3, 4), Options{Metrics: []string{"peak memory"}, SubjectA: "ours", SubjectB: "ours"})
	if len(c.Rows) != 1 || c.Rows[0].Metric != "peak memory" || len(c.Missing) != 0 {
		t.Errorf("%+v", c)
	}
}

func TestLoadsAreComparedEachWithItself(t *testing.T) {
	t.Parallel()
	run := func(at map[float64]time.Duration) *result.Run {
		s := result.Subject{Name: "ours"}
		for range 5 {
			for load, l := range at {
				s.Rounds = append(s.Rounds, result.Round{Load: load, Latency: latency(l), Answered: 1000})
			}
		}
		return &result.Run{Scenario: "latency", Subjects: []result.Subject{s}}
	}
	c := compared(t, run(map[float64]time.Duration{100: time.Millisecond, 500: 2 * time.Millisecond, 900: time.Second}),
		run(map[float64]time.Duration{100: time.Millisecond, 500: 4 * time.Millisecond, 800: time.Second}), Options{Tolerance: 0.05})
	if r := row(t, c, "ours", "latency p50 at 100/s"); r.Verdict != Same {
		t.Errorf("%+v", r)
	}
	if r := row(t, c, "ours", "latency p50 at 500/s"); r.Verdict != Worse || r.Ratio < 1.99 || r.Ratio > 2.01 {
		t.Errorf("%+v", r)
	}
	if got := strings.Join(c.Missing, "\n"); !strings.Contains(got, "at 900/s latency p50 is in A alone") || !strings.Contains(got, "at 800/s latency p50 is in B alone") {
		t.Errorf("missing: %s", got)
	}
}

func TestARampIsComparedByWhereItEndedAndAtCommonSteps(t *testing.T) {
	t.Parallel()
	run := func(top int, per time.Duration) *result.Run {
		s := result.Subject{Name: "ours"}
		for range 5 {
			var r result.Round
			for load := 10; load <= top; load += 10 {
				for i := range 60 {
					r.Samples = append(r.Samples, result.Sample{Load: float64(load), Latency: per + time.Duration(i)*time.Microsecond})
				}
			}
			r.Samples = append(r.Samples, result.Sample{Load: float64(top + 10), Latency: 5 * time.Second, Timeout: true})
			s.Rounds = append(s.Rounds, r)
		}
		return &result.Run{Scenario: "ramp", Subjects: []result.Subject{s}}
	}
	c := compared(t, run(200, 3*time.Millisecond), run(100, 6*time.Millisecond), Options{Tolerance: 0.05})
	if r := row(t, c, "ours", "highest load"); r.A != 200 || r.B != 100 || r.Verdict != Worse {
		t.Errorf("%+v", r)
	}
	if r := row(t, c, "ours", "latency p99 at 10/s"); r.A != 3.059 || r.B != 6.059 || r.Verdict != Worse {
		t.Errorf("%+v", r)
	}
}

func TestRatiosToAReferenceTakeTheMachineOut(t *testing.T) {
	t.Parallel()
	a, b := drain(30000, 31000, 29500, 30500, 30200), drain(15000, 15500, 14800, 15200, 15100)
	b.Machine.CPU = "another"
	if _, err := Compare(a, b, Options{Tolerance: 0.05}); err == nil || !strings.Contains(err.Error(), "CPU: EPYC → another") {
		t.Errorf("another machine: %v", err)
	}
	c := compared(t, a, b, Options{Tolerance: 0.05, Against: "tpc-b"})
	if len(c.Rows) != 1 || c.Rows[0].A != 5 || c.Rows[0].Verdict != Same || c.Rows[0].Unit != "× tpc-b" {
		t.Errorf("%+v", c.Rows)
	}
	for i := range b.Subjects[0].Rounds {
		b.Subjects[0].Rounds[i].Rate *= 0.8
	}
	if c := compared(t, a, b, Options{Tolerance: 0.05, Against: "tpc-b"}); len(c.Worse()) != 1 {
		t.Errorf("a planted drop: %+v", c.Rows)
	}
	b.Subjects[1].Rounds = b.Subjects[1].Rounds[1:]
	if _, err := Compare(a, b, Options{Against: "tpc-b"}); err == nil || !strings.Contains(err.Error(), "round by round") {
		t.Errorf("a reference of fewer rounds: %v", err)
	}
	if _, err := Compare(a, b, Options{Against: "floor"}); err == nil || !strings.Contains(err.Error(), `"floor"`) {
		t.Errorf("a reference that is not there: %v", err)
	}
}

func TestASlowerMachineIsNoAlarm(t *testing.T) {
	t.Parallel()
	a, b := drain(30000, 31000, 29500, 30500, 30200), drain(30000, 31000, 29500, 30500, 30200)
	for i := range b.Subjects[1].Rounds {
		b.Subjects[1].Rounds[i].Rate /= 2
	}
	c := compared(t, a, b, Options{Tolerance: 0.05})
	if r := row(t, c, "tpc-b", "rate"); r.Verdict != Worse || !r.Reference || len(c.Worse()) != 0 {
		t.Errorf("%+v", c)
	}
}

func TestTwoSubjectsOfOneRun(t *testing.T) {
	t.Parallel()
	a := drain(30000, 31000, 29500, 30500, 30200)
	other := drain(20000, 20100, 19900, 20200, 19800).Subjects[0]
	other.Name, other.Delivery = "theirs", "at-least-once"
	a.Subjects = append(a.Subjects, other)
	c := compared(t, a, a, Options{Tolerance: 0.05, SubjectA: "ours", SubjectB: "theirs"})
	if r := row(t, c, "ours → theirs", "rate"); r.Verdict != Worse {
		t.Errorf("%+v", r)
	}
	if len(c.Differences) != 1 || c.Differences[0].String() != "delivery of ours: exactly-once → at-least-once" {
		t.Errorf("%+v", c.Differences)
	}
}

func TestWhatDoesNotCompareIsRefused(t *testing.T) {
	t.Parallel()
	change := func(how func(*result.Run)) *result.Run {
		r := drain(1, 2, 3, 4)
		how(r)
		return r
	}
	for name, c := range map[string]struct {
		b    *result.Run
		o    Options
		says string
	}{
		"another scenario": {change(func(r *result.Run) { r.Scenario = "ramp" }), Options{}, `"drain" and B of "ramp"`},
		"another delivery": {change(func(r *result.Run) { r.Subjects[0].Delivery = "at-least-once" }), Options{}, "exactly-once → at-least-once"},
		"other cores":      {change(func(r *result.Run) { r.Machine.Cores = 9 }), Options{}, "cores: 2 → 9"},
		"wrong answers":    {change(func(r *result.Run) { r.Subjects[0].Rounds[2].Wrong = 3 }), Options{}, "3 answers to ours were wrong in round 3"},
		"a failed run":     {change(func(r *result.Run) { r.Failure = "no broker" }), Options{}, "failed: no broker"},
		"a run of nothing": {change(func(r *result.Run) { r.Failure, r.Subjects = "no broker", nil }), Options{}, "failed: no broker"},
		"a part of a run":  {change(func(r *result.Run) { r.Interrupted = true }), Options{}, "was interrupted"},
		"other subjects":   {change(func(r *result.Run) { r.Subjects[0].Name, r.Subjects[1].Name = "x", "y" }), Options{}, "B has x, y"},
		"one subject":      {drain(1), Options{SubjectA: "ours"}, "or neither"},
		"no such subject":  {drain(1), Options{SubjectA: "ours", SubjectB: "nobody"}, `B has no subject "nobody", it has ours, tpc-b`},
		"tolerance":        {drain(1), Options{Tolerance: 5}, "from 0 to less than 1"},
		"no such metric":   {drain(1), Options{Metrics: []string{"speed"}}, `no metric "speed", there are rate, `},
		"nothing measured": {change(func(r *result.Run) { r.Subjects[0].Rounds, r.Subjects[1].Rounds = nil, nil }), Options{}, "no figure in common"},
	} {
		if _, err := Compare(drain(1, 2, 3, 4), c.b, c.o); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := change(func(r *result.Run) { r.Machine.Cores, r.Subjects[0].Delivery = 9, "at-least-once" })
	if c := compared(t, drain(1, 2, 3, 4), b, Options{AllowDifferences: true}); len(c.Differences) != 2 {
		t.Errorf("allowed: %+v", c.Differences)
	}
}
