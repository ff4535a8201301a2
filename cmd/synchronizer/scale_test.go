package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	manyTopics   = 1_000
	manySubjects = 2 * manyTopics

	// Both are generous: the machine may be busy, and the race detector on in the embedded servers. docs/topology.md has figures.
	mostTime   = 60 * time.Second
	mostMemory = 256 << 20 // bytes resident
)

// large is a topology of 1,000 topics with two schemas each, and the schemas.
func large(t *testing.T) (file string, schemas map[string]string) {
	t.Helper()
	files := map[string]string{}
	for _, name := range []string{"A", "B"} {
		files[name+".avsc"] = fmt.Sprintf(`{"type":"record","name":"%s","namespace":"large","fields":[{"name":"id","type":"string"},{"name":"at","type":"long"},{"name":"text","type":["null","string"],"default":null}]}`, name)
	}
	schemas = map[string]string{}
	var text strings.Builder
	text.WriteString("defaults: {partitions: 1, replicas: 1, config: {retention.ms: 86400000, cleanup.policy: delete}}\ntopics:\n")
	for i := range manyTopics {
		fmt.Fprintf(&text, "  - {name: topic-%04d, schemas: [./A.avsc, ./B.avsc]}\n", i)
		for _, name := range []string{"A", "B"} {
			schemas[fmt.Sprintf("topic-%04d-large.%s", i, name)] = files[name+".avsc"]
		}
	}
	return write(t, text.String(), files), schemas
}

func TestAPlanOfALargeClusterIsQuickAndSmall(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	file, schemas := large(t)
	s.seed(schemas)
	applied := time.Now()
	s.run(t, "apply", "--topology", file).check(t, 0)
	t.Logf("apply, by the test's own process: %s", time.Since(applied).Round(time.Millisecond))
	binary := filepath.Join(t.TempDir(), "synchronizer")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for range 3 {
		command := exec.CommandContext(t.Context(), binary, "plan", "--topology", file)
		command.Env = os.Environ()
		for name, value := range s.environment {
			command.Env = append(command.Env, name+"="+value)
		}
		began := time.Now()
		out, err := command.CombinedOutput()
		took := time.Since(began)
		if err != nil || !strings.Contains(string(out), fmt.Sprintf("all %d topics and subjects", manyTopics+manySubjects)) {
			t.Fatalf("%v: %s", err, out)
		}
		resident := command.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
		t.Logf("plan: %s, %s of CPU, %d MiB resident", took.Round(time.Millisecond),
			(command.ProcessState.UserTime() + command.ProcessState.SystemTime()).Round(time.Millisecond), resident>>20)
		if took > mostTime || resident > mostMemory {
			t.Errorf("it took %s and %d bytes", took, resident)
		}
	}
}
