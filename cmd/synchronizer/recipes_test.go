//go:build !realkafka

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Stand-ins for what a pipeline has of others, and its main.
const (
	// dockerStandIn gives the command the variables and the directory that docker run would give to a container.
	dockerStandIn = `#!/bin/bash
set -eu
given=(PATH="$PATH")
while [ "$1" != your-registry/synchronizer ]; do
  case $1 in
    --env) given+=("$2=${!2-}"); shift;;
    --volume) host=${2%%:*}; rest=${2#*:}; inside=${rest%%:*}; shift;;
  esac
  shift
done
shift
exec env -i "${given[@]}" synchronizer "${@//$inside/$host}"
`
	topologyOfMain = "topics:\n  - {name: orders, partitions: 2, replicas: 1, schemas: [./order.avsc]}\n"
)

// pipeline is a clone in which a change is looked at.
type pipeline struct {
	*servers
	dir, path string
}

func newPipeline(t *testing.T, path string) *pipeline {
	t.Helper()
	p := &pipeline{startServers(t), filepath.Join(t.TempDir(), "clone"), path}
	origin := filepath.Dir(write(t, "", nil))
	p.files(t, origin, map[string]string{"kafka/topology.yaml": topologyOfMain, "kafka/order.avsc": orderV1})
	p.bash(t, origin, `rm topology.yaml; git init -q -b main; git add .; git -c user.name=test -c user.email=test@invalid commit -q -m 'The first'; git clone -q . `+p.dir).check(t, 0)
	p.run(t, "apply", "--topology", filepath.Join(origin, "kafka/topology.yaml")).check(t, 0)
	return p
}

func (p *pipeline) files(t *testing.T, dir string, texts map[string]string) {
	t.Helper()
	for name, text := range texts {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil { //nolint:gosec // the stand-ins are executed
			t.Fatal(err)
		}
	}
}

// bash runs a script as GitHub does.
func (p *pipeline) bash(t *testing.T, dir, script string) result {
	t.Helper()
	var stdout, stderr strings.Builder
	command := exec.CommandContext(t.Context(), "bash", "-e", "-c", script)
	command.Dir, command.Stdout, command.Stderr = dir, &stdout, &stderr
	command.Env = append(os.Environ(), "PATH="+p.path+":"+os.Getenv("PATH"), "KAFKA_SECURITY_PROTOCOL=PLAINTEXT")
	for name, value := range p.environment {
		command.Env = append(command.Env, name+"="+value)
	}
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{command.ProcessState.ExitCode(), err, stdout.String(), stderr.String()}
}

func (p *pipeline) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// recipe is what a pattern finds in the documentation, without its indentation.
func recipe(t *testing.T, pattern string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/topology.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(pattern).FindSubmatch(text)
	if found == nil {
		t.Fatalf("docs/topology.md has nothing like %s", pattern)
	}
	return regexp.MustCompile(`(?m)^ +`).ReplaceAllString(string(found[1]), "")
}

func TestTheRecipesForCIDoWhatTheySay(t *testing.T) {
	t.Parallel()
	plain := recipe(t, `In plain shell:\n\n((?:    .*\n)+)`)
	github := recipe(t, `run: \|\n((?:              .*\n)+)`)
	path := filepath.Dir(built(t))
	(&pipeline{}).files(t, path, map[string]string{"docker": dockerStandIn})
	const more = "topics:\n  - {name: orders, partitions: 3, replicas: 1, schemas: [./order.avsc]}\n  - {name: bills, partitions: 1, replicas: 1}\n"

	t.Run("a change", func(t *testing.T) {
		t.Parallel()
		p := newPipeline(t, path)
		p.files(t, p.dir, map[string]string{"kafka/topology.yaml": more})
		p.bash(t, p.dir, github).check(t, 0)
		if said := p.read(t, "comment.md"); !strings.HasPrefix(said, "```diff\n") || !strings.HasSuffix(said, "\n```\n") || !strings.Contains(said, "+ topic bills") {
			t.Errorf("the comment is %s", said)
		}
		p.bash(t, p.dir, plain).check(t, 0, "+ topic bills", "warning: topic orders", "Applied: 1 created, 1 changed")
		p.bash(t, p.dir, plain).check(t, 0, "nothing to do")
	})
	t.Run("no change", func(t *testing.T) {
		t.Parallel()
		p := newPipeline(t, path)
		p.bash(t, p.dir, github).check(t, 0)
		if said := p.read(t, "comment.md"); !strings.Contains(said, "Nothing to do") {
			t.Errorf("the comment is %s", said)
		}
		p.bash(t, p.dir, plain).check(t, 0, "nothing to do", "Nothing to do")
	})
	t.Run("a change that breaks readers", func(t *testing.T) {
		t.Parallel()
		p := newPipeline(t, path)
		p.files(t, p.dir, map[string]string{"kafka/order.avsc": strings.ReplaceAll(orderV1, `"string"`, `"long"`)})
		p.bash(t, p.dir, plain).check(t, statusDifference, "[evolution]")
	})
	t.Run("a malformed file", func(t *testing.T) {
		t.Parallel()
		p := newPipeline(t, path)
		p.files(t, p.dir, map[string]string{"kafka/topology.yaml": "topic: []\n"})
		p.bash(t, p.dir, github).check(t, 1, "topology.yaml:1:1")
		if said := p.read(t, "comment.md"); !strings.Contains(said, "status 1: the job's log says why") {
			t.Errorf("the comment is %s", said)
		}
		p.bash(t, p.dir, plain).check(t, 1, "topology.yaml:1:1")
	})
}
