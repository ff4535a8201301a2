//go:build realkafka

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"openbank/certs"
	"openbank/realkafka"
)

const onRealServers = true

type parts struct{} //nolint:unused // the embedded ones have some

// shared are the brokers that all tests use, one after the other. A registry is made for each: what another schema refers to can't be
// deleted from this one any more.
var shared struct {
	sync.Mutex
	kafka *realkafka.Cluster
}

func TestMain(m *testing.M) {
	status := 1
	err := func() (err error) {
		ctx := context.Background()
		if shared.kafka, err = realkafka.Start(ctx, realkafka.Config{Brokers: 3, CNOnly: true, Authorize: true, Clients: []string{realkafka.Admin}, Brief: true}); err != nil {
			return err
		}
		defer func() { _ = shared.kafka.Close() }()
		status = m.Run()
		return nil
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(status)
}

// startServers empties the shared servers for a test, which has them for itself until it ends.
func startServers(t *testing.T) *servers {
	t.Helper()
	shared.Lock()
	t.Cleanup(shared.Unlock)
	registry, err := realkafka.StartRegistry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = registry.Close() }) // with its process
	files := shared.kafka.Certificates().Files(realkafka.Admin)
	tls, err := certs.ClientTLS(files)
	if err != nil {
		t.Fatal(err)
	}
	s := &servers{
		environment: map[string]string{
			"KAFKA_BROKERS": strings.Join(shared.kafka.Addresses(), ","), "SCHEMA_REGISTRY_URL": registry.URL(),
			"KAFKA_SSL_CA_LOCATION": files.CA, "KAFKA_SSL_CERT_LOCATION": files.Cert,
			"KAFKA_SSL_KEY_LOCATION": files.Key, "KAFKA_SSL_KEY_PASSWORD": files.Password,
		},
		options: []kgo.Opt{kgo.SeedBrokers(shared.kafka.Addresses()...), kgo.DialTLSConfig(tls)},
	}
	s.empty(t)
	return s
}

func (s *servers) empty(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	admin := s.admin(t)
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.DeleteTopics(ctx, topics.Names()...); err != nil {
		t.Fatal(err)
	}
	for len(topics) > 0 {
		if topics, err = admin.ListTopics(ctx); err != nil {
			t.Fatal(err)
		}
	}
	everything := kadm.NewACLs().AnyResource().Allow().AllowHosts().Deny().DenyHosts().Operations().ResourcePatternType(kadm.ACLPatternAny)
	if _, err := admin.DeleteACLs(ctx, everything); err != nil {
		t.Fatal(err)
	}
	s.registry(t).SetCompatibility(ctx, sr.SetCompatibility{Level: sr.CompatBackward})
}

// seed does nothing: the registry is asked for each schema.
func (s *servers) seed(map[string]string) {}
