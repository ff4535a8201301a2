//go:build !realkafka

package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

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
	go func() { done <- run(ctx, []string{"apply"}, getenv, console{out: &bytes.Buffer{}, err: &log}) }()
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
	s := startServers(t)
	got := s.run(t, "apply", "--brokers=4", "--timeout=300ms")
	if got.err == nil || !strings.Contains(got.err.Error(), "3 of 4 brokers are there") || !strings.Contains(got.err.Error(), "--timeout") {
		t.Errorf("%+v", got)
	}
	if n := strings.Count(got.stderr, `msg="waiting for the brokers"`); n != 1 {
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
		"bad settings":         {[]string{"apply", "--kafka-brokers=x", "--brokers=0", "--timeout=-1s"}, empty, []string{"KAFKA_BROKERS", "--brokers", "--timeout"}},
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
