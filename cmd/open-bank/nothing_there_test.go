package main

import (
	"context"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"openbank/connect"
)

// Where nobody listens a command says so and ends, long before the time that all of it may take.
func TestWhereNothingListensIsSaid(t *testing.T) {
	t.Parallel()
	nowhere := []string{"KAFKA_BROKERS=127.0.0.1:1", "SCHEMA_REGISTRY_URL=http://127.0.0.1:1", "DATABASE_URL=postgres://u:hush@127.0.0.1:1/d"}
	for name, c := range map[string]struct{ args, says []string }{
		"no broker for garbage":       {[]string{"send-garbage", "--timeout=1h"}, []string{"127.0.0.1:1", "connection refused: nothing answers there (named in KAFKA_BROKERS"}},
		"no database within the time": {[]string{"check", "--timeout=2s"}, []string{"longer than 2s (--timeout)", "connection refused"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := execute(t, t.TempDir(), nowhere, c.args...)
			for _, want := range c.says {
				if _, last, _ := strings.Cut(got.stderr, "open-bank: "); got.code != 1 || !strings.Contains(last, want) {
					t.Errorf("%q is not in %+v", want, got)
				}
			}
		})
	}
	_, err := openSoon(t.Context(), connect.Database{Location: "postgres://u:hush@127.0.0.1:1/d"}, slog.New(slog.DiscardHandler), 100*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "no answer from the database (DATABASE_URL) within 100ms: ") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("error %v", err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := openSoon(stopped, connect.Database{Location: "postgres://u:hush@127.0.0.1:1/d"}, slog.New(slog.DiscardHandler), time.Hour); err == nil || strings.Contains(err.Error(), "no answer") {
		t.Errorf("stopped: error %v", err)
	}
}

// Commands that speak to the registry wait for it as the handler does, and say what for.
func TestARegistryThatIsNotTrustedIsSaidByItsSetting(t *testing.T) {
	t.Parallel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, creations, creationAnswers))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	schemas := httptest.NewUnstartedServer(http.NotFoundHandler())
	schemas.Config.ErrorLog = log.New(io.Discard, "", 0)
	schemas.StartTLS()
	t.Cleanup(schemas.Close)
	got := execute(t, t.TempDir(), []string{"KAFKA_BROKERS=" + cluster.ListenAddrs()[0], "SCHEMA_REGISTRY_URL=" + schemas.URL}, "account", "--timeout=2s")
	if want := "the registry's certificate is not one that SCHEMA_REGISTRY_CA_LOCATION"; got.code != 1 || !strings.Contains(got.stderr, want) {
		t.Errorf("%q is not in %+v", want, got)
	}
}
