//go:build !realkafka

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
)

const (
	manyTopics   = 1_000
	manySubjects = 2_000
)

// large is a topology of 1,000 topics with two schemas each, and what seeds a registry with them.
func large(t testing.TB, seed func(subject string, schema string)) string {
	t.Helper()
	schemas := map[string]string{}
	for _, name := range []string{"A", "B"} {
		schemas[name+".avsc"] = fmt.Sprintf(`{"type":"record","name":"%s","namespace":"large","fields":[{"name":"id","type":"string"},{"name":"at","type":"long"},{"name":"text","type":["null","string"],"default":null}]}`, name)
	}
	var text strings.Builder
	text.WriteString("defaults: {partitions: 1, replicas: 1, config: {retention.ms: 86400000, cleanup.policy: delete}}\ntopics:\n")
	for i := range manyTopics {
		fmt.Fprintf(&text, "  - {name: topic-%04d, schemas: [./A.avsc, ./B.avsc]}\n", i)
		for _, name := range []string{"A", "B"} {
			seed(fmt.Sprintf("topic-%04d-large.%s", i, name), schemas[name+".avsc"])
		}
	}
	return write(t, text.String(), schemas)
}

func largeCluster(t testing.TB) (*stack, string) {
	t.Helper()
	s := setup(t, 3)
	id := 0
	file := large(t, func(subject, schema string) {
		id++
		s.registry.SeedSchema(subject, 1, id, sr.Schema{Schema: schema})
	})
	got := synchronize(t, s.getenv, "apply", "--topology", file)
	if got.status != 0 {
		t.Fatalf("%+v", got)
	}
	return s, file
}

// The deadline is generous: the machine may be busy, and the race detector on. BenchmarkPlan tells what it really takes.
func TestAPlanOfALargeClusterIsQuick(t *testing.T) {
	t.Parallel()
	s, file := largeCluster(t)
	began := time.Now()
	synchronize(t, s.getenv, "plan", "--topology", file).check(t, 0, fmt.Sprintf("all %d topics and subjects", manyTopics+manySubjects))
	if took := time.Since(began); took > 60*time.Second {
		t.Errorf("it took %s", took)
	}
}

func BenchmarkPlan(b *testing.B) {
	s, file := largeCluster(b)
	b.ReportAllocs()
	for b.Loop() {
		if got := synchronize(b, s.getenv, "plan", "--topology", file); got.status != 0 {
			b.Fatalf("%+v", got)
		}
	}
}
