package usage

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"openbank/process"
)

func TestAProcessCountsWithItsChildren(t *testing.T) {
	t.Parallel()
	// A shell that does nothing itself but wait for a child that works.
	p, err := process.Start(exec.Command("sh", "-c", `sh -c 'while :; do :; done' & trap 'kill $!; exit' TERM; wait`), syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Stop(t.Context(), syscall.SIGTERM, 10*time.Second)
		_ = syscall.Kill(-p.PID(), syscall.SIGKILL) // its group, if the child is left
	})
	target := Target{Name: "shell", PIDs: []int{p.PID()}}
	deadline := time.Now().Add(time.Minute)
	for {
		u, err := target.Look()
		if err != nil {
			t.Fatal(err)
		}
		if u.CPU >= 50*time.Millisecond {
			if u.RSS < 1<<18 || u.PeakRSS < u.RSS/2 {
				t.Errorf("%+v", u)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a minute's work is %s of CPU", u.CPU)
		}
		time.Sleep(10 * time.Millisecond)
	}
	own, err := Target{Name: "shell", PIDs: []int{p.PID()}, Alone: true}.Look()
	if err != nil {
		t.Fatal(err)
	}
	if own.CPU > 40*time.Millisecond {
		t.Errorf("the shell itself worked for %s: the child is not what was counted", own.CPU)
	}
}

func TestASamplerBeginsAndEndsWithASample(t *testing.T) {
	t.Parallel()
	start := time.Now()
	s := Start([]Target{{Name: "self", PIDs: []int{os.Getpid()}}, {Name: "gone", PIDs: []int{1 << 30}}}, time.Hour, start)
	samples := s.Stop()
	if len(samples) != 2 || samples[0].Process != "self" || samples[1].At < samples[0].At || samples[1].CPU < samples[0].CPU {
		t.Errorf("%+v", samples)
	}
}

func TestAContainerIsItsControlGroup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"cpu.stat": "usage_usec 1500000\nuser_usec 1\n", "memory.current": "1048576\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	u, err := Target{Group: dir}.Look()
	if err != nil || u.CPU != 1500*time.Millisecond || u.RSS != 1<<20 || u.PeakRSS != 0 {
		t.Errorf("%+v, %v", u, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "memory.peak"), []byte("2097152\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if u, err = (Target{Group: dir}).Look(); err != nil || u.PeakRSS != 2<<20 {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestWhatCannotBeSampledIsNamed(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"kafka": "neither pid:NAME=PID nor container:NAME", "pid:kafka": "is not pid:NAME=PID", "pid:=1": "is not pid:NAME=PID", "pid:a=-1": "is not pid:NAME=PID",
		"pid:a=1073741824": "there is no process 1073741824", "container:": "names no container",
	} {
		if _, err := Parse(t.Context(), text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
	got, err := Parse(t.Context(), "pid:self="+strconv.Itoa(os.Getpid()))
	if err != nil || got.Name != "self" || got.PIDs[0] != os.Getpid() {
		t.Errorf("%+v, %v", got, err)
	}
}

// BenchmarkSample is what a sample takes from those who are measured.
func BenchmarkSample(b *testing.B) {
	s := Start([]Target{{Name: "self", PIDs: []int{os.Getpid()}}}, time.Hour, time.Now())
	for b.Loop() {
		s.sample()
	}
	s.Stop()
}
