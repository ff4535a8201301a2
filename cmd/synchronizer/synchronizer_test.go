package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
	"go.uber.org/goleak"

	"openbank/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stack is a cluster and a registry of a test's own.
type stack struct {
	kafka    *kfake.Cluster
	registry *srfake.Registry
}

func setup(t *testing.T, brokers int) *stack {
	t.Helper()
	kafka, err := kfake.NewCluster(kfake.NumBrokers(brokers))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	registry := srfake.New()
	t.Cleanup(registry.Close)
	return &stack{kafka, registry}
}

func (s *stack) getenv(name string) string {
	return map[string]string{"KAFKA_BROKERS": strings.Join(s.kafka.ListenAddrs(), ","), "SCHEMA_REGISTRY_URL": s.registry.URL()}[name]
}

func (s *stack) topics(t *testing.T) kadm.TopicDetails {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.kafka.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	topics, err := kadm.NewClient(client).ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return topics
}

func (s *stack) subjects(t *testing.T) []string {
	t.Helper()
	client, err := sr.NewClient(sr.URLs(s.registry.URL()))
	if err != nil {
		t.Fatal(err)
	}
	subjects, err := client.Subjects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return subjects
}

func (s *stack) versions(t *testing.T, subject string) []int {
	t.Helper()
	client, err := sr.NewClient(sr.URLs(s.registry.URL()))
	if err != nil {
		t.Fatal(err)
	}
	versions, err := client.SubjectVersions(t.Context(), subject)
	if err != nil {
		t.Fatal(err)
	}
	return versions
}

type result struct {
	err            error
	stdout, stderr string
}

func synchronize(t *testing.T, getenv func(string) string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := run(ctx, args, getenv, &stdout, &stderr)
	return result{err, stdout.String(), stderr.String()}
}

func TestApplyMakesWhatIsMissingAndThenNothing(t *testing.T) {
	t.Parallel()
	s := setup(t, 3)
	first := synchronize(t, s.getenv, "apply")
	if first.err != nil || first.stdout != "created 8 topics, registered 8 schemas; 0 were there\n" {
		t.Fatalf("first: %+v", first)
	}
	topics := s.topics(t)
	for name, partitions := range map[string]int{"confirm_money_transfer": 9, "confirm_money_transfer.dead-letter": 9, "heartbeat": 1} {
		topic := topics[name]
		if len(topic.Partitions) != partitions || topic.Partitions.NumReplicas() != 3 {
			t.Errorf("%s: %d partitions, %d replicas", name, len(topic.Partitions), topic.Partitions.NumReplicas())
		}
	}
	if got := s.subjects(t); len(got) != len(schemas.Names) {
		t.Errorf("subjects: %q", got)
	}
	second := synchronize(t, s.getenv, "apply")
	if second.err != nil || second.stdout != "nothing to do: all 16 topics and subjects are there\n" {
		t.Errorf("second: %+v", second)
	}
}

func TestReplicasAreCappedAtTheBrokersThatAreThere(t *testing.T) {
	t.Parallel()
	s := setup(t, 1)
	if got := synchronize(t, s.getenv, "apply"); got.err != nil {
		t.Fatalf("%+v", got)
	}
	if got := s.topics(t)["heartbeat"].Partitions.NumReplicas(); got != 1 {
		t.Errorf("%d replicas", got)
	}
}

func TestTwoAtOnceDoNoHarm(t *testing.T) {
	t.Parallel()
	s := setup(t, 1)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if got := synchronize(t, s.getenv, "apply"); got.err != nil {
				t.Errorf("%+v", got)
			}
		})
	}
	both.Wait()
	if got := s.versions(t, "heartbeat-nl.openweb.data.Heartbeat"); len(got) != 1 {
		t.Errorf("versions %v", got)
	}
}

func TestASubjectThatAJVMRegisteredStaysAsItIs(t *testing.T) {
	t.Parallel()
	s := setup(t, 1)
	const subject = "money_transfer_feedback-nl.openweb.data.MoneyTransferFailed"
	jvm := strings.ReplaceAll(schemas.Text("MoneyTransferFailed"), `"string"`, `{"type":"string","avro.java.string":"String"}`)
	client, err := sr.NewClient(sr.URLs(s.registry.URL()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateSchema(t.Context(), subject, sr.Schema{Schema: jvm}); err != nil {
		t.Fatal(err)
	}
	got := synchronize(t, s.getenv, "apply")
	if got.err != nil || !strings.Contains(got.stdout, "registered 7 schemas; 1 were there") {
		t.Errorf("%+v", got)
	}
	if got := s.versions(t, subject); len(got) != 1 {
		t.Errorf("versions %v", got)
	}
}

func TestATopicWithOtherPartitionsIsLeftAndSaid(t *testing.T) {
	t.Parallel()
	s := setup(t, 1)
	client, err := kgo.NewClient(kgo.SeedBrokers(s.kafka.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 4, 1, nil, "balance_changed"); err != nil {
		t.Fatal(err)
	}
	got := synchronize(t, s.getenv, "apply")
	if got.err != nil || !strings.Contains(got.stderr, "balance_changed has 4 partitions instead of 9") {
		t.Errorf("%+v", got)
	}
	if n := len(s.topics(t)["balance_changed"].Partitions); n != 4 {
		t.Errorf("%d partitions", n)
	}
}

func TestAnOwnTopologyIsApplied(t *testing.T) {
	t.Parallel()
	s := setup(t, 1)
	file := filepath.Join(t.TempDir(), "own.yaml")
	text := "topics:\n- name: mine\n  partitions: 2\n  replicas: 1\n  config: {cleanup.policy: compact}\n  schemas: [Heartbeat]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := synchronize(t, s.getenv, "apply", "--topology", file)
	if got.err != nil || got.stdout != "created 1 topics, registered 1 schemas; 0 were there\n" {
		t.Errorf("%+v", got)
	}
	if subjects := s.subjects(t); len(subjects) != 1 || subjects[0] != "mine-nl.openweb.data.Heartbeat" {
		t.Errorf("subjects %q", subjects)
	}
}

func TestBrokersAndRegistryThatAreNotThereYetAreWaitedFor(t *testing.T) {
	t.Parallel()
	s := setup(t, 1)
	var listen net.ListenConfig
	listener, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	var log lines
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	getenv := func(name string) string {
		if name == "SCHEMA_REGISTRY_URL" {
			return "http://" + address
		}
		return s.getenv(name)
	}
	go func() { done <- run(ctx, []string{"apply"}, getenv, &bytes.Buffer{}, &log) }()
	log.await(ctx, t, "registry")
	listener, err = listen.Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: s.registry.Handler(), ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	if err := <-done; err != nil {
		t.Errorf("%v; log: %s", err, log.text())
	}
	_ = server.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

func TestNotEnoughBrokersAreWaitedForUntilTheTimeout(t *testing.T) {
	t.Parallel()
	s := setup(t, 1)
	got := synchronize(t, s.getenv, "apply", "--brokers=3", "--timeout=300ms")
	if got.err == nil || !strings.Contains(got.err.Error(), "1 of 3 brokers are there") || !strings.Contains(got.err.Error(), "--timeout") {
		t.Errorf("%+v", got)
	}
	if n := strings.Count(got.stderr, "waiting for the brokers"); n != 1 {
		t.Errorf("%d lines: %s", n, got.stderr)
	}
	if topics := s.topics(t); len(topics) != 0 {
		t.Errorf("topics: %v", topics.Names())
	}
}

func TestWhatIsWrongIsASentence(t *testing.T) {
	t.Parallel()
	empty := func(string) string { return "" }
	for name, c := range map[string]struct {
		args   []string
		getenv func(string) string
		want   []string
	}{
		"no command":           {nil, empty, []string{"apply"}},
		"an unknown flag":      {[]string{"apply", "--broker"}, empty, []string{"unknown flag --broker", "synchronizer apply --help"}},
		"no file of that name": {[]string{"apply", "--topology=/nowhere/t.yaml"}, empty, []string{"reading the topology", "t.yaml"}},
		"bad settings":         {[]string{"apply", "--kafka-brokers=x", "--brokers=-1", "--timeout=-1s"}, empty, []string{"KAFKA_BROKERS", "--brokers", "--timeout"}},
		"some of four":         {[]string{"apply"}, func(name string) string { return map[string]string{"KAFKA_SSL_KEY_PASSWORD": "hush"}[name] }, []string{"KAFKA_SSL_CA_LOCATION"}},
		"nobody there":         {[]string{"apply", "--kafka-brokers=127.0.0.1:1", "--timeout=200ms"}, empty, []string{"waiting for the brokers (KAFKA_BROKERS)", "refused"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := synchronize(t, c.getenv, c.args...)
			if got.err == nil || got.stdout != "" {
				t.Fatalf("%+v", got)
			}
			for _, want := range c.want {
				if !strings.Contains(got.err.Error(), want) {
					t.Errorf("got %v, want %q in it", got.err, want)
				}
			}
			if strings.Contains(got.err.Error(), "hush") {
				t.Errorf("a password in %v", got.err)
			}
		})
	}
}

func TestVersionAndHelpGoToStandardOutput(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]string{"--version": "synchronizer ", "--help": "apply"} {
		got := synchronize(t, func(string) string { return "" }, flag)
		if got.err != nil || !strings.Contains(got.stdout, want) {
			t.Errorf("%s: %+v", flag, got)
		}
	}
}

// lines collects what a command logs while it runs.
type lines struct {
	mu   sync.Mutex
	all  bytes.Buffer
	more chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
	return l.all.Write(p)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// await waits until the log has text in it.
func (l *lines) await(ctx context.Context, t *testing.T, text string) {
	t.Helper()
	for {
		l.mu.Lock()
		if strings.Contains(l.all.String(), text) {
			l.mu.Unlock()
			return
		}
		if l.more == nil {
			l.more = make(chan struct{})
		}
		more := l.more
		l.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			t.Fatalf("%q was never logged, but: %s", text, l.text())
		}
	}
}
