//go:build !realkafka

package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
	"go.uber.org/goleak"
)

// onRealServers says that replicas are really moved, and that brokers look at values.
const onRealServers = false

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startServers starts a cluster of three brokers and a registry of a test's own.
func startServers(t *testing.T) *servers {
	t.Helper()
	s := setup(t, 3)
	return &servers{
		environment: map[string]string{"KAFKA_BROKERS": s.getenv("KAFKA_BROKERS"), "SCHEMA_REGISTRY_URL": s.getenv("SCHEMA_REGISTRY_URL")},
		options:     []kgo.Opt{kgo.SeedBrokers(s.kafka.ListenAddrs()...)},
		parts:       parts{embedded: s},
	}
}

// parts are there for tests that have requests refused.
type parts struct{ embedded *stack }

// stack is a cluster and a registry of a test's own.
type stack struct {
	kafka    *kfake.Cluster
	registry *srfake.Registry
}

func setup(t testing.TB, brokers int, more ...kfake.Opt) *stack {
	t.Helper()
	kafka, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(brokers)}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	registry := srfake.New(srfake.WithGlobalCompat(sr.CompatBackward))
	t.Cleanup(registry.Close)
	registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool { return verdict(registry, w, r) })
	return &stack{kafka, registry}
}

func (s *stack) getenv(name string) string {
	return map[string]string{"KAFKA_BROKERS": strings.Join(s.kafka.ListenAddrs(), ","), "SCHEMA_REGISTRY_URL": s.registry.URL()}[name]
}

// verdict gives srfake what it lacks, a check of compatibility: of Avro without references, against the latest version.
func verdict(registry *srfake.Registry, w http.ResponseWriter, r *http.Request) bool {
	asked, isCheck := strings.CutPrefix(r.URL.Path, "/compatibility")
	subject, isVersion := strings.CutPrefix(asked, "/subjects/")
	subject, rest, _ := strings.Cut(subject, "/")
	if r.Method != http.MethodPost || !isVersion || !strings.HasPrefix(rest, "versions") {
		return false
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return false
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	var schema sr.Schema
	if json.Unmarshal(body, &schema) != nil {
		return false
	}
	reason := incompatible(registry, subject, schema)
	w.Header().Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	switch {
	case isCheck:
		_ = json.NewEncoder(w).Encode(map[string]any{"is_compatible": reason == "", "messages": []string{reason}})
		return true
	case reason != "":
		w.WriteHeader(http.StatusConflict)
		_ = json.NewEncoder(w).Encode(map[string]any{"error_code": http.StatusConflict, "message": reason})
		return true
	}
	return false
}

func incompatible(registry *srfake.Registry, subject string, schema sr.Schema) string {
	client, err := sr.NewClient(sr.URLs(registry.URL()))
	if err != nil {
		return err.Error()
	}
	ctx := sr.WithParams(context.Background(), sr.DefaultToGlobal)
	level := client.Compatibility(ctx, subject)[0].Level
	latest, err := client.SchemaByVersion(ctx, subject, -1)
	if err != nil || level == sr.CompatNone || schema.Type != sr.TypeAvro || len(schema.References) > 0 {
		return ""
	}
	before, errBefore := avro.Parse(latest.Schema.Schema)
	after, errAfter := avro.Parse(schema.Schema)
	if errBefore != nil || errAfter != nil {
		return "one of the schemas can't be read"
	}
	if err := avro.CheckCompatibility(before, after); err != nil {
		return err.Error()
	}
	return ""
}

// seed has the registry know schemas, by subject, without being asked one by one.
func (s *servers) seed(schemas map[string]string) {
	id := 0
	for subject, schema := range schemas {
		id++
		s.embedded.registry.SeedSchema(subject, 1, id, sr.Schema{Schema: schema})
	}
}
