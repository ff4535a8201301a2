package main

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

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
