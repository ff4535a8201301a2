// Package fleet answers for command handlers that run as children of this process: found, started with the environment of one
// bank and with nothing that could lead them to another one, logged to files, and stopped in order. A handler is any program
// that takes the stack's environment variables.
package fleet

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
	"sync/atomic"
	"syscall"
	"time"

	"openbank/environment"
	"openbank/process"
)

// stopDeadline is for a handler's clean stop; it gives itself 8 s.
const stopDeadline = 15 * time.Second

// Command is how a handler is started.
type Command struct {
	// Name is what it is called in messages, and its log file before the ending.
	Name string
	Path string
	Args []string
	// Environment is NAME=value, in addition to the bank's, over which it wins.
	Environment []string
}

// Fleet is handlers that run. The zero value is none.
type Fleet struct {
	name     string
	running  []*process.Process
	logs     []string
	ended    chan int // the index of one that ended
	reported map[int]bool
	stopping atomic.Bool
}

// Find is the command-handler to start: the one that was named, or that beside this program.
func Find(named string) (string, error) {
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

// Start starts count handlers in the environment of a bank. Their logs go to files in dir. When one can't be started, none is
// left running.
func Start(c Command, count int, dir string, bank []string) (_ *Fleet, err error) {
	f := &Fleet{name: c.Name, ended: make(chan int, count), reported: map[int]bool{}}
	defer func() {
		if err != nil {
			_ = f.Stop()
		}
	}()
	for i := range count {
		name := filepath.Join(dir, c.Name+".log")
		if count > 1 {
			name = filepath.Join(dir, fmt.Sprintf("%s-%d.log", c.Name, i+1))
		}
		log, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) // the directory is the user's choice
		if err != nil {
			return nil, fmt.Errorf("opening the handler's log: %w", err)
		}
		cmd := exec.Command(c.Path, c.Args...) //nolint:noctx // Stop ends it, with the time that it needs
		cmd.Env = slices.Concat(Environment(), bank, c.Environment)
		if count > 1 {
			cmd.Env = append(cmd.Env, "HTTP_ADDRESS=off") // one address for all would be one handler's
		}
		cmd.Stdout, cmd.Stderr = log, log
		child, err := process.Start(cmd, syscall.SIGKILL)
		err = errors.Join(err, log.Close())
		if err != nil {
			return nil, fmt.Errorf("starting %s: %w", c.Name, err)
		}
		f.running = append(f.running, child)
		f.logs = append(f.logs, name)
		go func() {
			<-child.Exited()
			f.ended <- i
		}()
	}
	return f, nil
}

// Logs are the files that the handlers write to.
func (f *Fleet) Logs() []string { return f.logs }

// PIDs are the handlers' process ids.
func (f *Fleet) PIDs() []int {
	pids := make([]int, len(f.running))
	for i, child := range f.running {
		pids[i] = child.PID()
	}
	return pids
}

// Ended delivers the index of a handler that has ended, once for each. It is nil when there are none.
func (f *Fleet) Ended() <-chan int { return f.ended }

// Stopping says whether Stop or Kill was called, so that an end is expected.
func (f *Fleet) Stopping() bool { return f.stopping.Load() }

// Environment is this process's own, without the variables that lead to a bank, or are a handler's.
func Environment() []string {
	var kept []string
	for _, variable := range os.Environ() {
		key, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(key, "KAFKA_") || strings.HasPrefix(key, "SCHEMA_REGISTRY_") || strings.HasPrefix(key, "DATABASE_") || key == "MIGRATE_DATABASE_URL" || key == "HTTP_ADDRESS" || slices.Contains(environment.ClojureVariables(), key) {
			continue
		}
		kept = append(kept, variable)
	}
	return kept
}

// Unexpected describes the handler with index i, which ended by itself, with the end of its log. Stop is silent about it then.
func (f *Fleet) Unexpected(i int) error {
	f.reported[i] = true
	err := f.running[i].Err()
	if err == nil {
		err = errors.New("exit status 0")
	}
	return fmt.Errorf("%s ended by itself (%w); the end of %s:\n%s", f.name, err, f.logs[i], lastLines(f.logs[i], 15))
}

// Stop asks all of them to stop, and waits. One that has to be killed, or that ends with another status than 0, is an error.
func (f *Fleet) Stop() error {
	f.stopping.Store(true)
	failed := make([]error, len(f.running))
	var all sync.WaitGroup
	for i, child := range f.running {
		if f.reported[i] {
			continue
		}
		all.Go(func() {
			if !child.Stop(context.Background(), syscall.SIGTERM, stopDeadline) {
				child.Kill()
				failed[i] = fmt.Errorf("%s did not stop within %s; see %s", f.name, stopDeadline, f.logs[i])
				return
			}
			if err := child.Err(); err != nil {
				failed[i] = fmt.Errorf("%s did not stop cleanly (%w); the end of %s:\n%s", f.name, err, f.logs[i], lastLines(f.logs[i], 15))
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

// Kill ends them without their having anything to finish: what they need is gone, and waiting for it would take all their time.
func (f *Fleet) Kill() {
	f.stopping.Store(true)
	for i, child := range f.running {
		f.reported[i] = true
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
