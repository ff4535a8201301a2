package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"openbank/environment"
	"openbank/process"
)

// stopDeadline is for a handler's clean stop; it gives itself 8 s.
const stopDeadline = 15 * time.Second

// handlers are command-handler processes, children of this one.
type handlers struct {
	running  []*process.Process
	logs     []string
	ended    chan int     // the index of one that ended
	reported map[int]bool // those whose end was told
}

// findHandler is the command-handler to start: the one that was named, or that beside this program.
func findHandler(named string) (string, error) {
	path := named
	if path == "" {
		own, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("finding the command-handler: %w", err)
		}
		path = filepath.Join(filepath.Dir(own), "command-handler")
	}
	info, err := os.Stat(path)
	if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		return "", fmt.Errorf("there is no program %s: run `make build` first, or name the command-handler with --handler", path)
	}
	return path, nil
}

// startHandlers starts count handlers with the environment of a bank, and nothing of our own that could lead them to another
// one. Their logs go to files in dir.
func startHandlers(path string, count int, dir string, environment, flags []string) (_ *handlers, err error) {
	h := &handlers{ended: make(chan int, count), reported: map[int]bool{}}
	defer func() {
		if err != nil {
			_ = h.stop()
		}
	}()
	for i := range count {
		name := filepath.Join(dir, "command-handler.log")
		if count > 1 {
			name = filepath.Join(dir, fmt.Sprintf("command-handler-%d.log", i+1))
		}
		log, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) // the directory is the user's choice
		if err != nil {
			return nil, fmt.Errorf("opening the handler's log: %w", err)
		}
		cmd := exec.Command(path, flags...) //nolint:noctx // stop ends it, with the time that it needs
		cmd.Env = append(environmentWithoutBank(), environment...)
		cmd.Stdout, cmd.Stderr = log, log
		child, err := process.Start(cmd, syscall.SIGKILL)
		err = errors.Join(err, log.Close())
		if err != nil {
			return nil, fmt.Errorf("starting the command-handler: %w", err)
		}
		h.running = append(h.running, child)
		h.logs = append(h.logs, name)
		go func() {
			<-child.Exited()
			h.ended <- i
		}()
	}
	return h, nil
}

func environmentWithoutBank() []string {
	var kept []string
	for _, variable := range os.Environ() {
		key, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(key, "KAFKA_") || strings.HasPrefix(key, "SCHEMA_REGISTRY_") || strings.HasPrefix(key, "DATABASE_") || key == "MIGRATE_DATABASE_URL" || slices.Contains(environment.ClojureVariables(), key) {
			continue
		}
		kept = append(kept, variable)
	}
	return kept
}

// unexpected describes the handler with index i, which ended by itself, with the end of its log.
func (h *handlers) unexpected(i int) error {
	h.reported[i] = true
	err := h.running[i].Err()
	if err == nil {
		err = errors.New("exit status 0")
	}
	return fmt.Errorf("the command-handler ended by itself (%w); the end of %s:\n%s", err, h.logs[i], lastLines(h.logs[i], 15))
}

// stop asks all of them to stop, and waits. One that has to be killed, or that ends with another status than 0, is an error.
func (h *handlers) stop() error {
	failed := make([]error, len(h.running))
	var all sync.WaitGroup
	for i, child := range h.running {
		if h.reported[i] {
			continue
		}
		all.Go(func() {
			if !child.Stop(context.Background(), syscall.SIGTERM, stopDeadline) {
				child.Kill()
				failed[i] = fmt.Errorf("the command-handler did not stop within %s; see %s", stopDeadline, h.logs[i])
				return
			}
			if err := child.Err(); err != nil {
				failed[i] = fmt.Errorf("the command-handler did not stop cleanly (%w); the end of %s:\n%s", err, h.logs[i], lastLines(h.logs[i], 15))
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

// kill ends them without their having anything to finish: what they need is gone, and waiting for it would take all their time.
func (h *handlers) kill() {
	for i, child := range h.running {
		h.reported[i] = true
		child.Kill()
	}
}

// lastLines is the end of a file, as far as it can be read.
func lastLines(path string, n int) string {
	text, err := os.ReadFile(path) // a log of ours
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
