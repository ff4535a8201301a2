package main

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"openbank/fleet"
	"openbank/result"
	"openbank/surroundings"
)

func TestAHandlerThatRunsOnSomebodysStackIsMeasuredThere(t *testing.T) {
	t.Parallel()
	stack, err := surroundings.Embedded(t.Context(), "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stack.Stop(); err != nil {
			t.Error(err)
		}
	})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	running, err := fleet.Start(fleet.Command{Name: "well", Path: self, Environment: []string{handlerVariable + "=well"}}, 1, t.TempDir(), stack.Environment())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := running.Stop(); err != nil {
			t.Error(err)
		}
	})
	for range 2 { // a bank that others have used, this program among them
		got := measureOn(t, stack.Environment(), nil, "latency", "--accounts=50", "--rate=200", "--warm-up=200ms", "--duration=1s", "--beside=echo-at-least-once",
			fmt.Sprintf("--sample=pid:%s=%d", result.Own, running.PIDs()[0]))
		if got.code != 0 || got.result == nil {
			t.Fatalf("status %d: %s", got.code, got.stderr)
		}
		if len(got.result.Subjects) != 2 || got.result.Subjects[0].Name != "the handler that runs" || got.result.Subjects[0].Delivery != "at-least-once" || got.result.Subjects[0].Command != "" {
			t.Errorf("%+v", got.result.Subjects)
		}
		for _, s := range got.result.Subjects {
			checkRound(t, s, s.Rounds[0])
		}
		if got.result.Versions["kafka"] != surroundings.EmbeddedKafka || got.result.Postgres["fsync"] != "on" {
			t.Errorf("%v %v", got.result.Versions, got.result.Postgres)
		}
	}
	if got := measureOn(t, stack.Environment(), nil, "drain", "--accounts=50", "--commands=100", fake(t, "well")); got.code != 1 || got.result != nil || !strings.Contains(got.stderr, "is handled already, by ") {
		t.Errorf("another one beside it: %+v", got)
	}
	checkWhatIsMissingIsSaid(t, stack.Environment())
	client, err := stack.Connection.Kafka.Client("test")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	topics, err := kadm.NewClient(client).ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range topics.Names() {
		if strings.Contains(name, "echo") {
			t.Errorf("topic %s is left", name)
		}
	}
}

// checkWhatIsMissingIsSaid measures the handler of a stack of which one thing does not answer: without the registry nothing can be measured,
// without the database all but what it tells of itself.
func checkWhatIsMissingIsSaid(t *testing.T, stack []string) {
	t.Helper()
	args := []string{"latency", "--accounts=50", "--rate=200", "--warm-up=200ms", "--duration=500ms"}
	got := measureOn(t, append(slices.Clone(stack), "SCHEMA_REGISTRY_URL=http://127.0.0.1:1"), nil, append(args, "--patience=1s")...)
	if got.code != 1 || !strings.Contains(got.stderr, "no answer from the schema registry (SCHEMA_REGISTRY_URL) within 1s (--patience): ") || !strings.Contains(got.stderr, "connection refused") {
		t.Errorf("without the registry: %+v", got)
	}
	got = measureOn(t, append(slices.Clone(stack), "DATABASE_URL=postgres://u:hush@127.0.0.1:1/d"), nil, args...)
	const says = "the database could not be asked (DATABASE_URL): "
	if got.code != 0 || got.result == nil || !strings.Contains(got.result.Postgres["unknown"], says) || !strings.Contains(got.stdout, "Postgres unknown: "+says) ||
		!strings.Contains(got.stderr, "will be missing from the result") || !strings.Contains(got.stderr, "connection refused") || strings.Contains(got.stderr, "hush") {
		t.Errorf("without the database: %+v", got)
	}
}
