package registry_test

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"openbank/registry"
)

func TestSeveralURLs(t *testing.T) {
	t.Parallel()
	refusing := func(t *testing.T) string { // a port that was just given back
		t.Helper()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = listener.Close() }()
		return "http://" + listener.Addr().String()
	}
	t.Run("the next one is asked, and stays the first to be asked", func(t *testing.T) {
		t.Parallel()
		lines := &log{}
		bad, badRequests := faulty(t, 1<<40, answer(503, ``))
		good, goodRequests := faulty(t, 0, nil)
		client := open(t, registry.Config{URLs: []string{refusing(t), bad, good}, Logger: lines.logger()})
		for range 3 {
			if _, err := client.Latest(soon(t), subject); err != nil {
				t.Fatal(err)
			}
		}
		if badRequests.Load() != 1 || goodRequests.Load() != 3 || len(lines.lines()) != 0 {
			t.Errorf("%d and %d requests, the log: %q", badRequests.Load(), goodRequests.Load(), lines.lines())
		}
	})
	t.Run("one that hangs is given up after the timeout", func(t *testing.T) {
		t.Parallel()
		hanging := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		good := serve(t, fake().Handler())
		client := open(t, registry.Config{URLs: []string{hanging, good}, Timeout: 50 * time.Millisecond})
		if got, err := client.SchemaByID(soon(t), 7); err != nil || got != text {
			t.Errorf("got %s, %v", got, err)
		}
		ctx, lines := untilAway(t)
		config := registry.Config{URLs: []string{hanging}, Timeout: 50 * time.Millisecond, Logger: lines.logger()}
		_, err := open(t, config).Latest(ctx, subject)
		if err == nil || !strings.Contains(err.Error(), "no answer within 50ms") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("one that knows of no such schema is believed when the others don't either", func(t *testing.T) {
		t.Parallel()
		behind, denials := faulty(t, 1<<40, answer(404, `{"error_code":40403,"message":"schema not found"}`))
		lacking, _ := faulty(t, 1<<40, answer(404, `{"error_code":40401,"message":"subject not found"}`))
		good, _ := faulty(t, 0, nil)
		client := open(t, registry.Config{URLs: []string{behind, good}})
		if got, err := client.SchemaByID(soon(t), 7); err != nil || got != text {
			t.Errorf("got %s, %v", got, err)
		}
		if denials.Load() != 1 {
			t.Errorf("%d requests", denials.Load())
		}
		if got, err := open(t, registry.Config{URLs: []string{lacking, good}}).Latest(soon(t), subject); err != nil || got.ID != 7 {
			t.Errorf("got %+v, %v", got, err)
		}
		away, _ := faulty(t, 1<<40, answer(503, ``))
		if _, err := open(t, registry.Config{URLs: []string{behind, away}, UnknownAfter: time.Nanosecond}).SchemaByID(soon(t), 7); !errors.Is(err, registry.ErrUnknownSchema) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("when all are away the first one that is back is used", func(t *testing.T) {
		t.Parallel()
		one, _ := faulty(t, 1<<40, answer(503, ``))
		two, requests := faulty(t, 3, answer(503, ``))
		if got, err := open(t, registry.Config{URLs: []string{one, two}}).SchemaByID(soon(t), 7); err != nil || got != text {
			t.Errorf("got %s, %v", got, err)
		}
		if requests.Load() != 4 {
			t.Errorf("%d requests", requests.Load())
		}
	})
}

func TestARegistryThatIsRestartedOnItsPort(t *testing.T) {
	t.Parallel()
	lines := &log{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	server := &http.Server{Handler: fake().Handler(), ReadHeaderTimeout: time.Minute}
	go server.Serve(listener) //nolint:errcheck // always ErrServerClosed
	client := open(t, registry.Config{URLs: []string{"http://" + address}, Logger: lines.logger()})
	if _, err := client.Latest(soon(t), subject); err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() {
		_, err := client.Latest(soon(t), subject)
		result <- err
	}()
	for deadline := time.Now().Add(10 * time.Second); len(lines.lines()) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("the log says nothing")
		}
		if _, err := client.Latest(brief(t), subject); err == nil {
			t.Fatal("a closed server answers")
		}
	}
	if listener, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	again := &http.Server{Handler: fake().Handler(), ReadHeaderTimeout: time.Minute}
	go again.Serve(listener) //nolint:errcheck // always ErrServerClosed
	defer func() { _ = again.Close() }()
	if err := <-result; err != nil {
		t.Error(err)
	}
	if shown := lines.lines(); len(shown) != 2 || !strings.Contains(shown[0], "does not answer") || !strings.Contains(shown[1], "answers again") {
		t.Errorf("the log: %q", shown)
	}
}
