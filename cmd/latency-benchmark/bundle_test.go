package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"openbank/fleet"
	"openbank/result"
)

// handlerVariable makes this test binary a handler, of the kind that it names.
const handlerVariable = "LATENCY_BENCHMARK_TEST_HANDLER"

// binaries is where TestMain builds latency-benchmark and command-handler: these tests run what users run.
var binaries string

func TestMain(m *testing.M) {
	if kind := os.Getenv(handlerVariable); kind != "" {
		if err := beHandler(kind); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	dir, err := os.MkdirTemp("", "latency-benchmark-test-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	build := exec.CommandContext(context.Background(), "go", "build", "-o", dir+"/", "openbank/cmd/latency-benchmark", "openbank/cmd/command-handler")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the commands: %v\n%s", err, out)
		os.Exit(1)
	}
	binaries = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// outcome is how a run ended.
type outcome struct {
	code           int
	stdout, stderr string
	result         *result.Run // nil when it left none
	logs           string      // directory
}

// measure runs a scenario and reads what it left. signal, when it is set, is called with the running command.
func measure(t *testing.T, signal func(*exec.Cmd), args ...string) outcome {
	t.Helper()
	return measureOn(t, nil, signal, args...)
}

// measureOn is measure with variables that lead to a bank.
func measureOn(t *testing.T, bank []string, signal func(*exec.Cmd), args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	dir := t.TempDir()
	out, logs := filepath.Join(dir, "run.json"), filepath.Join(dir, "logs")
	cmd := exec.CommandContext(ctx, filepath.Join(binaries, "latency-benchmark"), append(append([]string{"run"}, args...), "--out", out, "--logs", logs)...)
	cmd.Dir = dir
	cmd.Env = append(fleet.Environment(), bank...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it has children to stop
	cmd.WaitDelay = 30 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if signal != nil {
		signal(cmd)
	}
	_ = cmd.Wait() // the status is looked at below
	o := outcome{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String(), logs: logs}
	if _, err := os.Stat(out); err == nil {
		if o.result, err = result.Read(out); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// fake is a --handler flag for this test binary as a handler of a kind.
func fake(t *testing.T, kind string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return "--handler=" + kind + "=" + handlerVariable + "=" + kind + " '" + self + "'"
}

// small keeps a run short.
var small = []string{"--surroundings=embedded", "--accounts=50", "--sample-every=50ms"}

func argument(args []string, flag string) string {
	for i, arg := range args[:len(args)-1] {
		if arg == flag {
			return args[i+1]
		}
	}
	return ""
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for tick := time.Tick(20 * time.Millisecond); !is(); <-tick {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within two minutes", what)
		}
	}
}
