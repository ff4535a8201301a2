package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"openbank/fleet"
	"openbank/result"
)

func TestEachScenarioMeasuresTheHandlerAndLeavesAResult(t *testing.T) {
	t.Parallel()
	draining := []string{"--commands=3000", "--warm-up-commands=200"}
	for name, c := range map[string]struct {
		args   []string
		rounds map[string]int // by subject
	}{
		"latency": {[]string{"--rate=50,200", "--warm-up=300ms", "--duration=1s", "--beside=echo-exactly-once", "--rounds=2"}, map[string]int{"command-handler": 4, "echo, exactly-once": 4}},
		"soak":    {[]string{"--rate=100", "--warm-up=200ms", "--duration=2s"}, map[string]int{"command-handler": 1}},
		"ramp":    {[]string{"--interval=20ms", "--every=5", "--step=100", "--interactions=20", "--repeats=2"}, map[string]int{"command-handler": 2}},
		"drain":   {append([]string{"--handlers=1,2", "--beside=tpcb,fsync", "--scale=1", "--clients=2", "--store-time=1s"}, draining...), map[string]int{"command-handler": 2, "TPC-B": 1, "fsync": 1}},
		"hot":     {append([]string{"--warm-up-rounds=1"}, draining...), map[string]int{"command-handler": 2}},
		"grow":    {append([]string{"--handled=0,20000"}, draining...), map[string]int{"command-handler": 2}},
		"floor":   {append([]string{"--rate=100", "--warm-up=200ms", "--duration=1s", "--beside=echo-at-least-once,writes"}, draining...), map[string]int{"echo, at-least-once": 2, "load generator": 1, "bare writes": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := measure(t, nil, append(append([]string{name}, small...), c.args...)...)
			if got.code != 0 || got.result == nil {
				t.Fatalf("status %d: %s%s", got.code, got.stdout, got.stderr)
			}
			run := got.result
			if run.Scenario != name || run.Machine.Cores == 0 || run.Versions["postgres"] == "" || run.Postgres["fsync"] != "on" || run.Failure != "" || run.Interrupted {
				t.Errorf("%+v", run)
			}
			if len(run.Subjects) != len(c.rounds) {
				t.Errorf("%d subjects", len(run.Subjects))
			}
			for _, s := range run.Subjects {
				if len(s.Rounds) != c.rounds[s.Name] {
					t.Errorf("%s has %d rounds, not %d", s.Name, len(s.Rounds), c.rounds[s.Name])
				}
				if want := map[string]string{"handler": "exactly-once", "store": ""}; s.Kind != "floor" && s.Delivery != want[s.Kind] {
					t.Errorf("%s delivered %q", s.Name, s.Delivery)
				}
				for _, r := range s.Rounds {
					checkRound(t, s, r)
				}
				if !strings.Contains(got.stdout, s.Name) {
					t.Errorf("the table does not have %s:\n%s", s.Name, got.stdout)
				}
			}
		})
	}
}

func checkRound(t *testing.T, s result.Subject, r result.Round) {
	t.Helper()
	if r.Rate <= 0 || r.Duration <= 0 || r.Started.IsZero() {
		t.Errorf("%s: %+v", s.Name, r)
	}
	if s.Kind == "store" || s.Name == "load generator" {
		return
	}
	if r.Commands == 0 || r.Answered != r.Commands || r.Wrong != 0 {
		t.Errorf("%s: %d of %d answered, %d wrong", s.Name, r.Answered, r.Commands, r.Wrong)
	}
	if used := r.Used(result.Own); len(used) < 2 || r.PeakRSS(result.Own) < 1<<20 {
		t.Errorf("%s: %d samples, peak %d", s.Name, len(used), r.PeakRSS(result.Own))
	}
	if r.Latency != nil && r.Samples == nil && r.Latency.TotalCount() != r.Commands {
		t.Errorf("%s: %d of %d timed", s.Name, r.Latency.TotalCount(), r.Commands)
	}
	if r.Samples == nil {
		var sum int64
		for _, second := range r.Seconds {
			sum += second.Answered
		}
		if sum != r.Answered {
			t.Errorf("%s: the seconds have %d of %d answers", s.Name, sum, r.Answered)
		}
	}
}

func TestWrongAnswersFailTheRun(t *testing.T) {
	t.Parallel()
	for kind, says := range map[string]string{
		"refuses":   `was answered "insufficient funds" and should have been "confirmed"`,
		"confirms":  `was answered "confirmed" and should have been "invalid token"`,
		"forgets":   "nothing has come for 2s",
		"miscounts": "the balances of its events are no chain",
		"overpays":  "and should have by",
		"silent":    "nothing has come for 2s",
		"dies":      "dies ended by itself",
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			got := measure(t, nil, append(append([]string{"latency"}, small...), "--rate=400", "--warm-up=100ms", "--duration=1s", "--rejected=0.1", "--patience=2s", fake(t, kind))...)
			if got.code != 1 || !strings.Contains(got.stderr, says) {
				t.Errorf("status %d: %s", got.code, got.stderr)
			}
			if got.result == nil || !strings.Contains(got.result.Failure, says) {
				t.Errorf("the result does not say so: %+v", got.result)
			}
		})
	}
}

func TestRepeatedAnswersAreAllowedWithoutTransactions(t *testing.T) {
	t.Parallel()
	got := measure(t, nil, append(append([]string{"drain"}, small...), "--commands=500", "--warm-up-commands=50", fake(t, "repeats"))...)
	if got.code != 0 || got.result == nil {
		t.Fatalf("status %d: %s", got.code, got.stderr)
	}
	s := got.result.Subjects[0]
	if s.Delivery != "at-least-once" || len(s.Notes) == 0 || !strings.Contains(s.Notes[0], "came again") {
		t.Errorf("%+v", s)
	}
}

// A generator that waited for answers would have one slow command here. This one's schedule goes on.
func TestAHandlerThatStandsStillIsInThePercentiles(t *testing.T) {
	t.Parallel()
	got := measure(t, nil, append(append([]string{"latency"}, small...), "--rate=200", "--warm-up=200ms", "--duration=4s", fake(t, "freezes"))...)
	if got.code != 0 || got.result == nil {
		t.Fatalf("status %d: %s", got.code, got.stderr)
	}
	l := got.result.Subjects[0].Rounds[0].Latency
	if l.At(100) < time.Second || l.At(99) < 700*time.Millisecond || l.At(90) < 200*time.Millisecond {
		t.Errorf("p90 %s, p99 %s, max %s after a second's stand-still", l.At(90), l.At(99), l.At(100))
	}
	if l.TotalCount() != 800 {
		t.Errorf("%d commands timed", l.TotalCount())
	}
}

func TestALateGeneratorIsTold(t *testing.T) {
	t.Parallel()
	got := measure(t, nil, append(append([]string{"latency"}, small...), "--rate=5000000", "--warm-up=1ms", "--duration=4ms", fake(t, "well"))...)
	if got.code != 0 || got.result == nil {
		t.Fatalf("status %d: %s", got.code, got.stderr)
	}
	s := got.result.Subjects[0]
	if by := s.Rounds[0].Lateness.At(99); by < time.Millisecond {
		t.Errorf("late by %s at five million a second", by)
	}
	if len(s.Notes) == 0 || !strings.Contains(s.Notes[0], "the load generator itself was late") || !strings.Contains(got.stdout, s.Notes[0]) {
		t.Errorf("%q\n%s", s.Notes, got.stdout)
	}
}

func TestAnInterruptLeavesAMarkedResultAndNoChildren(t *testing.T) {
	t.Parallel()
	got := measure(t, func(cmd *exec.Cmd) {
		log := filepath.Join(filepath.Dir(argument(cmd.Args, "--out")), "logs", "well.log")
		await(t, "half of the commands are answered", func() bool {
			text, err := os.ReadFile(log)
			return err == nil && strings.Contains(string(text), "400 transfers")
		})
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Error(err)
		}
	}, append(append([]string{"latency"}, small...), "--rate=200", "--warm-up=100ms", "--duration=60s", fake(t, "well"))...)
	if got.code != 1 || !strings.Contains(got.stderr, "interrupted") {
		t.Errorf("status %d: %s", got.code, got.stderr)
	}
	if got.result == nil || !got.result.Interrupted || got.result.Failure != "" {
		t.Fatalf("%+v", got.result)
	}
	if r := got.result.Subjects[0].Rounds; len(r) != 1 || r[0].Answered < 100 || r[0].Latency.TotalCount() != r[0].Answered {
		t.Errorf("what was measured until then is missing: %+v", r)
	}
	text, err := os.ReadFile(filepath.Join(got.logs, "well.log"))
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscanf(string(text), "pid %d", &pid); err != nil {
		t.Fatal(err)
	}
	if syscall.Kill(pid, 0) == nil {
		t.Errorf("the handler, process %d, still runs", pid)
	}
}

func TestThePredecessorsHandlerTakesTurnsWithOurs(t *testing.T) {
	t.Parallel()
	got := measure(t, nil, append(append([]string{"drain"}, small...), "--commands=400", "--warm-up-commands=40", "--rounds=2",
		fake(t, "predecessor"), "--handler=ours='"+filepath.Join(binaries, "command-handler")+"'")...)
	if got.code != 0 || got.result == nil {
		t.Fatalf("status %d: %s", got.code, got.stderr)
	}
	if len(got.result.Subjects) != 2 {
		t.Fatalf("%d subjects", len(got.result.Subjects))
	}
	old, ours := got.result.Subjects[0], got.result.Subjects[1]
	if old.Name != "predecessor" || ours.Name != "ours" || old.Delivery != "at-least-once" || ours.Delivery != "exactly-once" {
		t.Errorf("%s delivers %s, %s delivers %s", old.Name, old.Delivery, ours.Name, ours.Delivery)
	}
	for i := range 2 {
		if !old.Rounds[i].Started.Before(ours.Rounds[i].Started) || i == 1 && !ours.Rounds[0].Started.Before(old.Rounds[1].Started) {
			t.Error("they did not take turns")
		}
	}
}

func TestBadSettingsAreNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"rate":           {[]string{"latency", "--rate=0"}, "--rate: 0 is not above 0: write what is, such as 100,500"},
		"second rate":    {[]string{"latency", "--rate", "100,-5"}, "--rate: -5 is not above 0: write what is, such as 100,500"},
		"rate again":     {[]string{"floor", "--rate=100", "--rate=-1e3"}, "--rate: -1000 is not above 0"},
		"rate of no one": {[]string{"latency", "--rate=99999999999999999999"}, "--rate: 1e+20 is above 1000000000, the most: write less, such as 100,500"},
		"rates of all":   {[]string{"latency", "--rate=100,inf"}, `--rate: "inf" is no number: write one, or several with commas between`},
		"no rate":        {[]string{"latency", "--rate=100,"}, `--rate: "" is no number`},
		"soak's rate":    {[]string{"soak", "--rate=nan"}, "--rate: NaN is not above 0: write what is, such as 500"},
		"handlers":       {[]string{"drain", "--handlers=1.5"}, `--handlers: "1.5" is no whole number`},
		"no time":        {[]string{"latency", "--duration=0s"}, `--duration: "0s" is not above 0: write a time such as 250ms`},
		"share":          {[]string{"hot", "--share=2"}, "--share: 2 is not from 0 to 1"},
		"handled":        {[]string{"grow", "--handled=5,5"}, "--handled must rise"},
		"accounts":       {[]string{"drain", "--accounts=1"}, "--accounts must be at least 2"},
		"duration":       {[]string{"latency", "--duration=1"}, `"1" is no time such as 250ms`},
		"check every":    {[]string{"ramp", "--check-every=often"}, `"often" is no time such as 20ms`},
		"beside":         {[]string{"drain", "--beside=tcpb"}, `"tcpb" is none of echo-exactly-once`},
		"handler":        {[]string{"drain", "--handler=bin/handler"}, `is not NAME=COMMAND`},
		"quote":          {[]string{"drain", `--handler=a='b`}, "the quote ' has no end"},
		"no program":     {[]string{"drain", "--handler=a=B=c"}, "names no program"},
		"not there":      {[]string{"drain", "--handler=a=/nowhere/handler"}, "/nowhere/handler"},
		"twice":          {[]string{"drain", "--handler=a=true", "--handler=a=true"}, "there are two with the name a"},
		"sample":         {[]string{"drain", "--handler=a=true", "--sample=kafka"}, "is neither pid:NAME=PID nor container:NAME"},
		"no process":     {[]string{"drain", "--handler=a=true", "--sample=pid:kafka=999999999"}, "there is no process 999999999"},
		"out":            {[]string{"drain", "--out=/nowhere/at/all.json"}, "--out: stat /nowhere/at"},
		"out of /proc":   {[]string{"drain", "--out=/proc/drain.json"}, "--out: no file can be made in /proc: "},
		"no share":       {[]string{"drain", "--rejected=nan"}, "--rejected: NaN is no share from 0 to 1"},
		"out of a dir":   {[]string{"drain", "--out=."}, "--out: . is a directory: name a file in it"},
		"fsync":          {[]string{"floor", "--fsync-dir=/nowhere"}, "--fsync-dir: stat /nowhere"},
		"growing":        {[]string{"grow", "--kafka-brokers=127.0.0.1:1"}, "only in surroundings of its own"},
		"grown echo":     {[]string{"grow", "--beside=echo-exactly-once"}, "an echo handles no commands that grow could count"},
		"cold":           {[]string{"drain", "--backlog=cold", "--kafka-brokers=127.0.0.1:1"}, "the one of this stack runs already"},
		"broker":         {[]string{"drain", "--broker-setting=num.io.threads=2"}, "--broker-setting is for the Kafka of --surroundings real"},
		"no value":       {[]string{"drain", "--broker-setting=num.io.threads"}, "num.io.threads"},
		"floor":          {[]string{"floor", "--handler=a=true"}, "floor measures no handler"},
		"no such stack":  {[]string{"latency", "--surroundings=given", "--kafka-brokers=127.0.0.1:1", "--rate=1"}, "127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, filepath.Join(binaries, "latency-benchmark"), append([]string{"run"}, c.args...)...)
			cmd.Dir, cmd.Env = t.TempDir(), fleet.Environment()
			out, err := cmd.CombinedOutput()
			if err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), c.says) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func TestSecretsAreNotInTheResult(t *testing.T) {
	t.Parallel()
	got := strings.Join(withoutSecrets([]string{
		"--database-url", "postgres://u:geheim@db/balancedb", "--ssl-password=geheim", "--kafka-ssl-key-password", "geheim", "--handler", "a=DB_PASSWORD=geheim x",
	}), " ")
	if strings.Contains(got, "geheim") || !strings.Contains(got, "postgres://u:xxxxx@db/balancedb") {
		t.Error(got)
	}
}
