package topology_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/embedded"
	"openbank/registry"
	"openbank/topology"
)

// Deletions come last, after changes that may take an hour: what was shown may be another thing by then.
func TestWhatHasChangedSinceItWasShownIsNotDeleted(t *testing.T) {
	t.Parallel()
	const gone = `{"type":"fixed","name":"f","size":`
	for name, c := range map[string]struct {
		meanwhile      func(context.Context, *world) error
		says           string // "": both are deleted
		topic, subject bool   // are there afterwards
	}{
		"nothing": {func(context.Context, *world) error { return nil }, "", false, false},
		"the topic was made anew": {func(ctx context.Context, w *world) error {
			_, err := w.admin.DeleteTopics(ctx, "old")
			if err == nil {
				_, err = w.admin.CreateTopic(ctx, 1, 1, nil, "old")
			}
			return err
		}, "topic old: it was planned as id ", true, false},
		"the topic has got a record": {func(ctx context.Context, w *world) error {
			return w.kafka.ProduceSync(ctx, &kgo.Record{Topic: "old", Value: []byte("x")}).FirstErr()
		}, "about 1 record would be lost", true, false},
		"the topic is gone": {func(ctx context.Context, w *world) error {
			_, err := w.admin.DeleteTopics(ctx, "old")
			return err
		}, "", false, false},
		"the subject has got a version": {func(ctx context.Context, w *world) error {
			return w.register(ctx, gone+"2}")
		}, "subject old-value: its latest version is 2, ", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			w := newWorld(t)
			if _, err := w.admin.CreateTopic(ctx, 1, 1, nil, "old"); err != nil {
				t.Fatal(err)
			}
			if err := w.register(ctx, gone+"1}"); err != nil {
				t.Fatal(err)
			}
			want, err := topology.Load(fstest.MapFS{
				"topology.yaml": {Data: []byte("topics:\n- {name: a, partitions: 1, replicas: 1, schemas: [./a.avsc]}\n")},
				"a.avsc":        {Data: []byte(`{"type":"record","name":"A","fields":[]}`)},
			}, "topology.yaml")
			if err != nil {
				t.Fatal(err)
			}
			target := &topology.Target{Kafka: w.kafka, Registry: w.registry, Brokers: 1}
			plan, err := target.PlanWith(ctx, want, topology.Options{DeleteTopics: true, DeleteSubjects: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.meanwhile(ctx, w); err != nil {
				t.Fatal(err)
			}
			err = target.Apply(ctx, plan)
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("%v, want %q", err, c.says)
			}
			there, err := w.admin.ListTopics(kadm.WithAuthorizedOps(ctx)) // not what the client remembers
			if err != nil {
				t.Fatal(err)
			}
			_, unknown := w.registry.Latest(ctx, "old-value")
			if there.Has("old") != c.topic || errors.Is(unknown, registry.ErrUnknownSubject) == c.subject {
				t.Errorf("topics %v, subject: %v", there.Names(), unknown)
			}
		})
	}
}

// world is brokers and a registry.
type world struct {
	kafka    *kgo.Client
	admin    *kadm.Client
	registry *registry.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	server, err := embedded.StartRegistry(t.Context(), embedded.RegistryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close(context.WithoutCancel(t.Context())) })
	kafka, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	client, err := registry.New(registry.Config{URLs: []string{server.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &world{kafka, kadm.NewClient(kafka), client}
}

func (w *world) register(ctx context.Context, schema string) error {
	_, err := w.registry.Register(ctx, "old-value", schema)
	return err
}
