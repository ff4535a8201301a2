package main

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
)

// servers are three brokers and a registry, empty.
type servers struct {
	environment map[string]string
	options     []kgo.Opt
	parts       //nolint:unused // what only embedded or only real ones have
}

func (s *servers) getenv(name string) string { return s.environment[name] }

func (s *servers) client(t *testing.T) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(s.options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func (s *servers) admin(t *testing.T) *kadm.Client { t.Helper(); return kadm.NewClient(s.client(t)) }

func (s *servers) registry(t *testing.T) *sr.Client {
	t.Helper()
	client, err := sr.NewClient(sr.URLs(s.environment["SCHEMA_REGISTRY_URL"]))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (s *servers) topics(t *testing.T) kadm.TopicDetails {
	t.Helper()
	topics, err := s.admin(t).ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return topics
}

func (s *servers) subjects(t *testing.T) []string {
	t.Helper()
	subjects, err := s.registry(t).Subjects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(subjects)
	return subjects
}

// config is a value of a topic's configuration.
func (s *servers) config(t *testing.T, topic, name string) string {
	t.Helper()
	described, err := s.admin(t).DescribeTopicConfigs(t.Context(), topic)
	if err != nil || described[0].Err != nil {
		t.Fatal(err, described)
	}
	for _, config := range described[0].Configs {
		if config.Key == name {
			return config.MaybeValue()
		}
	}
	return ""
}

// create makes a topic as somebody else would.
func (s *servers) create(t *testing.T, name string, partitions int32, replicas int16, config map[string]*string) {
	t.Helper()
	if _, err := s.admin(t).CreateTopic(t.Context(), partitions, replicas, config, name); err != nil {
		t.Fatal(err)
	}
	s.await(t, "topic "+name, func() bool { return s.topics(t).Has(name) })
}

// register registers a schema as somebody else would.
func (s *servers) register(t *testing.T, subject string, schema sr.Schema) {
	t.Helper()
	if _, err := s.registry(t).RegisterSchema(t.Context(), subject, schema, -1, -1); err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
}

// await waits for what brokers tell each other.
func (s *servers) await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so after 30 s", what)
		}
	}
}

type result struct {
	status         int
	err            error
	stdout, stderr string
}

func (r result) check(t *testing.T, status int, said ...string) {
	t.Helper()
	if r.status != status {
		t.Fatalf("status %d instead of %d: %v\nstdout: %s\nstderr: %s", r.status, status, r.err, r.stdout, r.stderr)
	}
	for _, want := range said {
		if !strings.Contains(r.stdout, want) && !strings.Contains(r.stderr, want) {
			t.Fatalf("%q is not said: %v\nstdout: %s\nstderr: %s", want, r.err, r.stdout, r.stderr)
		}
	}
}

// synchronize runs the command without a terminal.
func synchronize(t testing.TB, getenv func(string) string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	err := run(ctx, args, getenv, console{in: strings.NewReader(""), out: &stdout, err: &stderr})
	status := exitStatus(err, &stderr)
	return result{status, err, stdout.String(), stderr.String()}
}

func (s *servers) run(t *testing.T, args ...string) result {
	t.Helper()
	return synchronize(t, s.getenv, args...)
}

// settle applies a topology, with consent, and has a plan find nothing to do then.
func (s *servers) settle(t *testing.T, file, said string, flags ...string) {
	t.Helper()
	flags = append(flags, "--topology", file)
	s.run(t, append([]string{"apply", "--yes"}, flags...)...).check(t, 0, said)
	s.run(t, append([]string{"plan"}, flags...)...).check(t, 0, "Nothing to do")
}

// write writes a topology and schemas beside it, and returns its path.
func write(t testing.TB, topology string, schemas map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files := maps.Clone(schemas)
	if files == nil {
		files = map[string]string{}
	}
	files["topology.yaml"] = topology
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "topology.yaml")
}
