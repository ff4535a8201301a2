package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"openbank/audit"
	"openbank/store"
)

func TestADemoHoldsAndSaysSo(t *testing.T) {
	t.Parallel()
	got := execute(t, t.TempDir(), nil, "demo", "--accounts=40", "--transfers=3000", "--steady=1s", "--handlers=2", "--json")
	if got.code != 0 {
		t.Fatalf("%+v", got)
	}
	var s summary
	if err := json.Unmarshal([]byte(got.stdout), &s); err != nil {
		t.Fatalf("%v in %s", err, got.stdout)
	}
	a := s.Audit
	if !s.Held || len(s.Failures) > 0 || a.Deliveries != s.Sent || a.Commands != 3040 || a.Answers != s.Sent-s.SentUnfit || a.DeadLetters != s.SentUnfit || a.Accounts != 41 {
		t.Errorf("%s", got.stdout)
	}
	if a.Duplicates == 0 || a.Reused == 0 || a.Rejected == 0 || a.Confirmed == 0 || a.Events < a.Confirmed-40 {
		t.Errorf("not everything was tried: %s", got.stdout)
	}
	if s.Latency == nil || s.Drain == nil || s.Latency.Count == 0 || s.Latency.P50 <= 0 || s.Latency.P99 < s.Latency.P50 || s.Drain.PerSecond <= 0 {
		t.Errorf("nothing was measured: %+v %+v", s.Latency, s.Drain)
	}
	for _, step := range []string{"opening accounts", "latency at 500 records/s", "checking", "; 2 command-handlers started", "1 record, 0 answers, 1 dead letter ("} {
		if !strings.Contains(got.stderr, step) {
			t.Errorf("%q is not in %s", step, got.stderr)
		}
	}
}

func TestABalanceThatIsAlteredWhileTheDemoRunsMakesItFail(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // Postgres' user has to pass it
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	demo := command(ctx, dir, nil, "demo", "--accounts=20", "--transfers=4000", "--rate=300", "--steady=6s", "--dir", dir)
	demo.Stdout, demo.Stderr = &stdout, &stderr
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	altered := alterABalance(ctx, t, filepath.Join(dir, bankFileName))
	_ = demo.Wait() // the code says it
	if code := demo.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit code %d\n%s\n%s", code, &stdout, &stderr)
	}
	for _, want := range []string{"did not hold", string(audit.Chained), string(audit.Conserved), altered} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("%q is not in %s", want, &stdout)
		}
	}
	if strings.Contains(stdout.String(), "chain without gaps") {
		t.Errorf("it claims what didn't hold: %s", &stdout)
	}
	if !strings.Contains(stderr.String(), "open-bank: something did not hold") || !strings.Contains(stderr.String(), dir) {
		t.Errorf("stderr: %s", &stderr)
	}
}

// alterABalance gives one account a cent while transfers are under way, and returns its IBAN.
func alterABalance(ctx context.Context, t *testing.T, bankFile string) string {
	t.Helper()
	var variables map[string]string
	await(t, "bank.env", func() bool {
		var err error
		variables, err = readBankFile(bankFile)
		return err == nil
	})
	db, err := sql.Open("postgres", variables["DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	var iban string
	await(t, "an account that has changed", func() bool {
		return db.QueryRowContext(ctx, `SELECT iban FROM balance WHERE version > 3 AND balance_id > 0 LIMIT 1`).Scan(&iban) == nil
	})
	if _, err := db.ExecContext(ctx, `UPDATE balance SET amount = amount + 1 WHERE iban = $1`, iban); err != nil {
		t.Fatal(err)
	}
	return iban
}

func TestAHandlerThatEndsIsReportedWithItsLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fake := filepath.Join(dir, "command-handler")
	if err := os.WriteFile(fake, []byte("#!/bin/sh\necho this handler is not well >&2\nexit 3\n"), 0o700); err != nil { // it is to be executed
		t.Fatal(err)
	}
	got := execute(t, dir, nil, "demo", "--accounts=2", "--transfers=10", "--handler", fake)
	if got.code != 1 || !strings.Contains(got.stderr, "exit status 3") || strings.Count(got.stderr, "this handler is not well") != 1 || strings.Contains(got.stderr, "canceled") {
		t.Errorf("%+v", got)
	}
	_, kept, _ := strings.Cut(got.stderr, "(everything is in ")
	kept, _, _ = strings.Cut(kept, ")")
	if _, err := os.Stat(filepath.Join(kept, "command-handler.log")); err != nil {
		t.Error(err)
	}
	if got := execute(t, dir, nil, "demo", "--dir", kept); got.code != 1 || !strings.Contains(got.stderr, "there is a bank in "+kept+" already") {
		t.Errorf("a demo in a bank that was used: %+v", got)
	}
	if err := os.RemoveAll(kept); err != nil || kept == "" {
		t.Errorf("removing %q: %v", kept, err)
	}
}

func TestADemoWhosePostgresEndsSaysThatAndNothingElse(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	demo := startDemo(ctx, t, t.TempDir())
	kept := demo.left(t)
	if len(kept) != 1 {
		t.Fatalf("%q", kept)
	}
	endPostgres(t, kept[0])
	_ = demo.cmd.Wait() // the code says it
	_, told, _ := strings.Cut(demo.said(), "open-bank: ")
	if code := demo.cmd.ProcessState.ExitCode(); code != 1 || !strings.HasPrefix(told, "the Postgres server ended by itself\nstopping Postgres: it had ended by itself, see ") {
		t.Errorf("exit code %d: %s", code, demo.said())
	}
	if !strings.HasSuffix(told, "\n(everything is in "+kept[0]+")\n") || strings.Contains(told, "command-handler") || len(demo.left(t)) != 1 {
		t.Errorf("%s", told)
	}
}

// testDemo is a demo that goes on for as long as a test looks at it.
type testDemo struct {
	cmd       *exec.Cmd
	temporary string // its directory for temporary files
	said      func() string
}

// startDemo starts one with temporary files in dir and waits until it sends.
func startDemo(ctx context.Context, t *testing.T, dir string) testDemo {
	t.Helper()
	temporary := filepath.Join(dir, "tmp")
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.MkdirAll(temporary, 0o755)); err != nil { // Postgres' user has to pass them
		t.Fatal(err)
	}
	output, err := os.CreateTemp(dir, "output")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = output.Close() })
	cmd := command(ctx, dir, []string{"TMPDIR=" + temporary}, "demo", "--accounts=20", "--steady=60s")
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d := testDemo{cmd, temporary, func() string {
		text, err := os.ReadFile(output.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}}
	await(t, "the demo to send", func() bool { return strings.Contains(d.said(), "latency at") })
	return d
}

func (d testDemo) left(t *testing.T) []string {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(d.temporary, "open*"))
	if err != nil {
		t.Fatal(err)
	}
	return left
}

func TestAKilledDemosDirectoryGoesWithTheNextOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	killed := startDemo(ctx, t, dir)
	if err := killed.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.cmd.Wait() // it was killed
	before := killed.left(t)
	kept := filepath.Join(killed.temporary, "openbank-kept")
	if err := os.Mkdir(kept, 0o755); err != nil { // as a demo that failed leaves it
		t.Fatal(err)
	}
	next := startDemo(ctx, t, dir)
	if after := next.left(t); len(before) != 1 || len(after) != 2 || slices.Contains(after, before[0]) {
		t.Errorf("before %q, after %q", before, after)
	}
	if err := next.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = next.cmd.Wait() // it was interrupted
	if left := next.left(t); len(left) != 1 || left[0] != kept {
		t.Errorf("left behind: %q", left)
	}
}

func TestAnInterruptedDemoStopsEverythingAndLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	demo := startDemo(ctx, t, t.TempDir())
	if err := demo.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = demo.cmd.Wait() // the code says it
	if code := demo.cmd.ProcessState.ExitCode(); code != 1 || !strings.HasSuffix(demo.said(), "\nopen-bank: interrupted\n") {
		t.Errorf("exit code %d: %s", code, demo.said())
	}
	if left := demo.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestASummaryOfWhatDidNotHoldIsShortInTextAndWholeInJSON(t *testing.T) {
	t.Parallel()
	report := &audit.Report{Balances: 1 << 60, Violations: []audit.Violation{}, Found: map[audit.Rule]int{audit.Answered: 25, audit.Chained: 1}}
	for i := range 20 {
		report.Violations = append(report.Violations, audit.Violation{Rule: audit.Answered, Subject: fmt.Sprintf("command %d", i), Detail: "nothing came"})
	}
	report.Violations = append(report.Violations, audit.Violation{Rule: audit.Chained, Subject: "NL1", Detail: "a gap"})
	var s summary
	s.judge(report, &store.Report{Count: 1, Violations: []store.Violation{{Rule: "it adds up", IBAN: "NL1", ID: "an-id", Detail: "one cent"}}}, nil)
	var text, inJSON strings.Builder
	if err := errors.Join(s.print(&text, false), s.print(&inJSON, true)); err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(text.String(), "\nthis did not hold (seed 0; --json has more):\n")
	want := "  books: it adds up (1)\n    NL1 an-id: one cent\n" +
		"  every command is answered (25)\n    command 0: nothing came\n    command 1: nothing came\n    command 2: nothing came\n" +
		"  the events of an account form a chain that ends in its balance (1)\n    NL1: a gap\n"
	if shown != want {
		t.Errorf("%s", &text)
	}
	for _, want := range []string{"rate         not measured", "latency      not measured"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in %s", want, &text)
		}
	}
	for _, want := range []string{`"latency": null`, `"drain": null`, `"surprises": []`, `"balances": "1152921504606846976"`, `"command 19"`, `"inflow": ""`, `"held": false`} {
		if !strings.Contains(inJSON.String(), want) {
			t.Errorf("%q is not in %s", want, &inJSON)
		}
	}
	var decoded summary
	if err := json.Unmarshal([]byte(inJSON.String()), &decoded); err != nil || len(decoded.Failures) != 22 {
		t.Errorf("%v: %q", err, decoded.Failures)
	}
}
