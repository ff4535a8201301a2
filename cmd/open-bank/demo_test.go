package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"openbank/audit"
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
	if s.Latency.Count == 0 || s.Latency.P50 <= 0 || s.Latency.P99 < s.Latency.P50 || s.Drain.PerSecond <= 0 {
		t.Errorf("nothing was measured: %+v %+v", s.Latency, s.Drain)
	}
	for _, step := range []string{"opening accounts", "latency at 500 records/s", "checking"} {
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
	if got.code != 1 || !strings.Contains(got.stderr, "exit status 3") || !strings.Contains(got.stderr, "this handler is not well") {
		t.Errorf("%+v", got)
	}
	_, kept, _ := strings.Cut(got.stderr, "(everything is in ")
	kept, _, _ = strings.Cut(kept, ")")
	if err := os.RemoveAll(kept); err != nil || kept == "" {
		t.Errorf("removing %q: %v", kept, err)
	}
}

func TestAnInterruptedDemoStopsEverythingAndLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	temporary := filepath.Join(dir, "tmp")
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Mkdir(temporary, 0o755)); err != nil { // Postgres' user has to pass them
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	output, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = output.Close() }()
	demo := command(ctx, dir, []string{"TMPDIR=" + temporary}, "demo", "--accounts=20", "--steady=60s")
	demo.Stdout, demo.Stderr = output, output
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	said := func() string {
		text, err := os.ReadFile(output.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	await(t, "the demo to send", func() bool { return strings.Contains(said(), "latency at") })
	if err := demo.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = demo.Wait() // the code says it
	if code := demo.ProcessState.ExitCode(); code != 1 || !strings.Contains(said(), "open-bank: ") {
		t.Errorf("exit code %d: %s", code, said())
	}
	left, err := filepath.Glob(filepath.Join(temporary, "open*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q %v", left, err)
	}
}
