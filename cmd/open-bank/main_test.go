package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"openbank/fleet"
	"openbank/process"
)

// binaries is where TestMain builds open-bank and command-handler: these tests run what users run.
var binaries string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "open-bank-test-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	build := exec.CommandContext(context.Background(), "go", "build", "-o", dir+"/", "openbank/cmd/open-bank", "openbank/cmd/command-handler")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the commands: %v\n%s", err, out)
		os.Exit(1)
	}
	binaries = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// outcome is how a command ended.
type outcome struct {
	code           int
	stdout, stderr string
}

// command runs open-bank in dir, with nothing in its environment that leads to a bank but what is given.
func command(ctx context.Context, dir string, environment []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(binaries, "open-bank"), args...)
	cmd.Dir = dir
	cmd.Env = append(fleet.Environment(), environment...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it has children to stop
	cmd.WaitDelay = 30 * time.Second
	return cmd
}

func execute(t *testing.T, dir string, environment []string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := command(ctx, dir, environment, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("open-bank %s: %v", strings.Join(args, " "), err)
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// openedBank is an `open-bank run` that is up.
type openedBank struct {
	dir   string // its .openbank is here
	child *process.Process
}

// openBank starts `open-bank run` in dir and waits until it says that it is open. The test's end stops it, if nothing else did.
func openBank(t *testing.T, dir string, args ...string) *openedBank {
	t.Helper()
	output, err := os.OpenFile(filepath.Join(dir, "run.out"), os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = output.Close() })
	cmd := exec.Command(filepath.Join(binaries, "open-bank"), append([]string{"run"}, args...)...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, fleet.Environment(), output, output
	child, err := process.Start(cmd, syscall.SIGTERM)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !child.Stop(context.Background(), syscall.SIGTERM, time.Minute) {
			child.Kill()
		}
	})
	bank := &openedBank{dir: dir, child: child}
	await(t, "the bank to open", func() bool {
		if !child.Running() {
			t.Fatalf("it ended: %v\n%s", child.Err(), bank.output(t))
		}
		return strings.Contains(bank.output(t), "stop it")
	})
	return bank
}

func (b *openedBank) output(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(b.dir, "run.out"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// stop interrupts it as ctrl-C does, and wants an orderly end.
func (b *openedBank) stop(t *testing.T) {
	t.Helper()
	if !b.child.Stop(t.Context(), os.Interrupt, time.Minute) {
		t.Fatal("it did not stop")
	}
	if err := b.child.Err(); err != nil {
		t.Fatalf("it stopped with %v\n%s", err, b.output(t))
	}
}

// await polls until something holds: it is another process that makes it hold.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(2 * time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// values reads lines of KEY=value.
func values(text string) map[string]string {
	out := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		if key, value, ok := strings.Cut(lines.Text(), "="); ok {
			out[key] = value
		}
	}
	return out
}
