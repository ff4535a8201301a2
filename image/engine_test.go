//go:build docker

// Package image tests the images as they run in Docker. It wants root or a Docker that is there, and Java and Maven for the
// brokers; `make test-images` looks after that.
package image

import (
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

	"openbank/process"
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	stop, err := startEngine()
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return 1, err
	}
	if err := build(); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// startEngine uses the Docker that is there. Where none answers, it starts one of its own, with all that it keeps in a temporary
// directory.
func startEngine() (stop func() error, err error) {
	nothing := func() error { return nil }
	if _, err := docker("info"); err == nil {
		return nothing, nil
	}
	dir, err := os.MkdirTemp("", "openbank-docker-")
	if err != nil {
		return nothing, err
	}
	remove := func() error { return os.RemoveAll(dir) }
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return remove, err
	}
	defer func() { _ = log.Close() }() // the engine has it
	address := "unix://" + filepath.Join(dir, "socket")
	cmd := exec.Command("dockerd", "--host", address, "--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"), "--pidfile", filepath.Join(dir, "pid"))
	cmd.Stdout, cmd.Stderr = log, log
	engine, err := process.Start(cmd, syscall.SIGTERM)
	if err != nil {
		return remove, fmt.Errorf("no Docker answers, and none can be started: %w", err)
	}
	stop = func() error {
		if !engine.Stop(context.Background(), syscall.SIGTERM, time.Minute) {
			engine.Kill()
		}
		// It leaves this one mounted.
		_ = exec.Command("umount", filepath.Join(dir, "exec", "netns", "default")).Run() // remove tells if it must
		return remove()
	}
	if err := os.Setenv("DOCKER_HOST", address); err != nil {
		return stop, err
	}
	deadline := time.Now().Add(time.Minute)
	for {
		_, err := docker("info")
		switch {
		case err == nil:
			return stop, nil
		case !engine.Running(), time.Now().After(deadline):
			said, _ := os.ReadFile(log.Name())
			return stop, fmt.Errorf("starting dockerd, which wants root: %w: %s", err, said)
		}
		time.Sleep(100 * time.Millisecond) // between two looks
	}
}

// docker runs a command of Docker's and returns what it printed, without the white space around it.
func docker(args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.Command("docker", args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("docker %s: %w: %s%s", strings.Join(args, " "), err, &out, &errs)
	}
	if args[0] == "logs" { // the container's two streams, of which the handler uses one
		return out.String() + errs.String(), nil
	}
	return strings.TrimSpace(out.String()), nil
}

func mustDocker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := docker(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
