// Package usage answers for what processes and containers use of a machine while something is measured: CPU time and memory,
// sampled a few times a second. A process counts with all its children; a container as its control group counts it. It reads
// /proc and /sys/fs/cgroup, so it knows Linux alone.
package usage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"openbank/result"
)

// Target is what is looked at.
type Target struct {
	Name string // as in the result
	PIDs []int  // processes, each with its children
	// Alone leaves the children out.
	Alone bool
	// Group is the directory of a container's control group (version 2), in place of PIDs.
	Group string
}

// Parse reads pid:NAME=PID or container:NAME, which asks the docker command for the container's process.
func Parse(ctx context.Context, text string) (Target, error) {
	kind, rest, _ := strings.Cut(text, ":")
	switch kind {
	case "pid":
		name, number, _ := strings.Cut(rest, "=")
		pid, err := strconv.Atoi(number)
		if err != nil || pid < 1 || name == "" {
			return Target{}, fmt.Errorf("%q is not pid:NAME=PID, such as pid:kafka=1234", text)
		}
		target := Target{Name: name, PIDs: []int{pid}}
		_, err = target.Look()
		return target, err
	case "container":
		if rest == "" {
			return Target{}, fmt.Errorf("%q names no container: container:NAME", text)
		}
		return container(ctx, rest)
	}
	return Target{}, fmt.Errorf("%q is neither pid:NAME=PID nor container:NAME", text)
}

// container finds the control group of a container that runs.
func container(ctx context.Context, name string) (Target, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", "inspect", "--format", "{{.State.Pid}}", name).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = errors.New(strings.TrimSpace(string(exit.Stderr)))
		}
		return Target{}, fmt.Errorf("asking docker for container %s: %w", name, err)
	}
	pid := strings.TrimSpace(string(out))
	if pid == "0" {
		return Target{}, fmt.Errorf("container %s does not run", name)
	}
	text, err := os.ReadFile("/proc/" + pid + "/cgroup")
	if err != nil {
		return Target{}, fmt.Errorf("container %s runs on another machine than this one, or in another view of it: %w", name, err)
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			group := filepath.Join("/sys/fs/cgroup", path)
			if _, err := os.Stat(filepath.Join(group, "memory.current")); err == nil {
				return Target{Name: name, Group: group}, nil
			}
		}
	}
	// Control groups of version 1, or those of a container within a container: its processes say the same.
	number, err := strconv.Atoi(pid)
	return Target{Name: name, PIDs: []int{number}}, err
}

// Sampler samples until it is stopped.
type Sampler struct {
	targets  []Target
	families families
	start    time.Time
	stop     chan struct{}
	done     sync.WaitGroup

	mu      sync.Mutex
	samples []result.Usage
}

// Start takes a first sample and then one every interval; their times count from start.
func Start(targets []Target, interval time.Duration, start time.Time) *Sampler {
	s := &Sampler{targets: targets, start: start, stop: make(chan struct{})}
	s.sample()
	s.done.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.sample()
			case <-s.stop:
				return
			}
		}
	})
	return s
}

// Stop takes a last sample and returns all of them.
func (s *Sampler) Stop() []result.Usage {
	close(s.stop)
	s.done.Wait()
	s.sample()
	return s.samples
}

func (s *Sampler) sample() {
	if err := s.families.update(); err != nil {
		return // as a target that has ended
	}
	for _, t := range s.targets {
		u, err := t.look(&s.families)
		if err != nil {
			continue // it has ended; the samples so far stay
		}
		u.At, u.Process = time.Since(s.start), t.Name
		s.mu.Lock()
		s.samples = append(s.samples, u)
		s.mu.Unlock()
	}
}

// Look is what the target has used by now. Error: there is none any more.
func (t Target) Look() (result.Usage, error) {
	var f families
	if err := f.update(); err != nil {
		return result.Usage{}, err
	}
	return t.look(&f)
}

func (t Target) look(f *families) (result.Usage, error) {
	if t.Group != "" {
		return t.lookAtGroup()
	}
	var u result.Usage
	pids := t.PIDs
	if !t.Alone {
		var err error
		if pids, err = f.tree(t.PIDs); err != nil {
			return u, err
		}
	}
	for _, pid := range pids {
		one, err := look(pid)
		if err != nil {
			if len(pids) == 1 {
				return u, err
			}
			continue
		}
		u.CPU += one.CPU
		u.RSS += one.RSS
		u.PeakRSS += one.PeakRSS
	}
	return u, nil
}

func (t Target) lookAtGroup() (u result.Usage, err error) {
	text, err := os.ReadFile(filepath.Join(t.Group, "cpu.stat"))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(text)) {
		if number, ok := strings.CutPrefix(line, "usage_usec "); ok {
			us, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
			if err != nil {
				return u, fmt.Errorf("reading %s: %w", t.Group, err)
			}
			u.CPU = time.Duration(us) * time.Microsecond
		}
	}
	if u.RSS, err = number(filepath.Join(t.Group, "memory.current")); err != nil {
		return u, err
	}
	if u.PeakRSS, err = number(filepath.Join(t.Group, "memory.peak")); errors.Is(err, fs.ErrNotExist) { // Linux before 5.19
		err = nil
	}
	return u, err
}

func number(path string) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// tick is the unit of CPU time in /proc: 1/100 s on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// stat is what the kernel says of a process in a line, after its name: state, parent … user time, system time as the 12th and 13th.
func stat(pid int) ([]string, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/stat"
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	// The name in parentheses may hold anything.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 13 {
		return nil, fmt.Errorf("reading %s: it is cut short", path)
	}
	return fields, nil
}

// look reads one process.
func look(pid int) (u result.Usage, err error) {
	fields, err := stat(pid)
	if err != nil {
		return u, err
	}
	for _, text := range fields[11:13] {
		ticks, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return u, fmt.Errorf("reading the times of process %d: %w", pid, err)
		}
		u.CPU += time.Duration(ticks) * tick
	}
	dir := "/proc/" + strconv.Itoa(pid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		for prefix, into := range map[string]*int64{"VmRSS:": &u.RSS, "VmHWM:": &u.PeakRSS} {
			if rest, ok := strings.CutPrefix(line, prefix); ok {
				kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
				if err != nil {
					return u, fmt.Errorf("reading %s/status: %w", dir, err)
				}
				*into = kib << 10
			}
		}
	}
	return u, nil
}

// families are who is whose child, of all processes. It is read anew at each look, and cheaply: a process that was there at the last one
// is not asked again. Reading the children of each thread instead (/proc/PID/task/TID/children) took some 14 ms of CPU a sample beside two JVMs,
// which the commands that were timed then waited for.
type families struct{ parent map[int]int }

// update looks which processes there are.
func (f *families) update() error {
	proc, err := os.Open("/proc")
	if err != nil {
		return err
	}
	defer func() { _ = proc.Close() }()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return err
	}
	now := make(map[int]int, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		parent, known := f.parent[pid]
		if !known {
			fields, err := stat(pid)
			if err != nil {
				continue // it has ended
			}
			if parent, err = strconv.Atoi(fields[1]); err != nil {
				return fmt.Errorf("reading the parent of process %d: %w", pid, err)
			}
		}
		now[pid] = parent
	}
	f.parent = now
	return nil
}

// tree is the processes and all that came of them and still runs.
func (f *families) tree(roots []int) ([]int, error) {
	all := make([]int, 0, len(roots))
	for _, pid := range roots {
		if _, there := f.parent[pid]; !there {
			return nil, fmt.Errorf("there is no process %d: %w", pid, os.ErrNotExist)
		}
		all = append(all, pid)
	}
	for i := 0; i < len(all); i++ {
		for pid, parent := range f.parent {
			if parent == all[i] {
				all = append(all, pid)
			}
		}
	}
	return all, nil
}
