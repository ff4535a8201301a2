package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"openbank/health"
	"openbank/metric"
)

// healthOf serves a board at a port that is free, and returns the address.
func healthOf(t *testing.T, board *health.Board) string {
	t.Helper()
	var log bytes.Buffer
	s, err := serve(t.Context(), "127.0.0.1:0", false, board, metric.New(), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	_, address, found := strings.Cut(strings.TrimSpace(log.String()), "address=")
	if !found {
		t.Fatalf("it does not say where it serves: %s", log.String())
	}
	return address
}

func TestAnAddressThatIsTaken(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	taken := listener.Addr().String()

	t.Run("ends the handler when it was named", func(t *testing.T) {
		t.Parallel()
		err := run(t.Context(), []string{"--http-address", taken}, variables(), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "HTTP_ADDRESS") || !strings.Contains(err.Error(), taken) || !strings.Contains(err.Error(), "another program") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("is gone without when it is the default", func(t *testing.T) {
		t.Parallel()
		var log bytes.Buffer
		s, err := serve(t.Context(), taken, true, health.New(), metric.New(), slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil || s != nil || !strings.Contains(log.String(), "HTTP_ADDRESS") {
			t.Errorf("server %v, error %v, log %s", s, err, log.String())
		}
		s.close()
	})
}

func TestAnAddressHasAHostAndAPort(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"off": true, ":8383": true, "127.0.0.1:0": true, "[::1]:8383": true, "handler-1:65535": true,
		"8383": false, "localhost": false, "localhost:http": false, "localhost:65536": false, "on": false, "http://localhost:8383": false,
	} {
		if _, err := httpAddress(address); (err == nil) != want {
			t.Errorf("%q: %v", address, err)
		}
	}
	_, err := parseAndConfigure("--http-address=8383")
	if err == nil || !strings.Contains(err.Error(), "HTTP_ADDRESS (--http-address)") || !strings.Contains(err.Error(), `"8383"`) {
		t.Errorf("error %v", err)
	}
}

func parseAndConfigure(args ...string) (config, error) {
	v, err := parse(args, variables())
	if err != nil {
		return config{}, err
	}
	return v.configure()
}

func TestHealthcheckAsksTheHandler(t *testing.T) {
	t.Parallel()
	board := health.New()
	postgres := board.Condition(health.Postgres)
	address := healthOf(t, board)
	check := func(args ...string) (string, error) {
		var out bytes.Buffer
		err := run(context.Background(), append(append([]string{"healthcheck"}, args...), "--http-address", address), variables(), &out, io.Discard)
		return out.String(), err
	}
	if said, err := check(); err != nil || said != "ready\n" {
		t.Errorf("it says %q, %v", said, err)
	}
	postgres.Fails("away")
	if said, err := check(); err == nil || said != "" || !strings.Contains(err.Error(), "not ready\npostgres: away") {
		t.Errorf("it says %q, %v", said, err)
	}
	if said, err := check("live"); err != nil || said != "live\n" {
		t.Errorf("it says %q, %v", said, err)
	}
	_, port, _ := net.SplitHostPort(address)
	address = ":" + port // as in a container that serves others too
	if _, err := check("live"); err != nil {
		t.Error(err)
	}
	address = "off"
	if _, err := check(); err == nil || !strings.Contains(err.Error(), "off") {
		t.Errorf("error %v", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = listener.Addr().String()
	_ = listener.Close()
	if _, err := check(); err == nil || !strings.Contains(err.Error(), "no handler answers") {
		t.Errorf("error %v", err)
	}
}

// A scrape looks at the stages as a question for /livez does, of which there may be none.
func TestAStageThatStandsStillShowsInTheMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		board, metrics := health.New(), metric.New()
		observe(board, metrics)
		stage := board.Stage("publishing")
		scrape := func(want string) {
			t.Helper()
			var out bytes.Buffer
			if err := metrics.Write(&out); err != nil || !strings.Contains(out.String(), "\n"+want+"\n") {
				t.Errorf("%v; %s is not in\n%s", err, want, out.String())
			}
		}
		stage.Moves()
		scrape("openbank_live 1")
		time.Sleep(health.Patience + time.Second)
		scrape("openbank_live 0")
		scrape("openbank_ready 1")
		stage.Moves()
		scrape("openbank_live 1")
		board.Condition(health.Kafka).Fails("away")
		scrape("openbank_ready 0")
	})
}

func TestOnlyTheThreePagesAreServed(t *testing.T) {
	t.Parallel()
	address := healthOf(t, health.New())
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for request, want := range map[string]int{
		"GET /livez": 200, "GET /readyz": 200, "GET /metrics": 200, "HEAD /readyz": 200,
		"GET /": 404, "GET /debug/pprof/": 404, "POST /readyz": 405, "DELETE /metrics": 405,
	} {
		method, path, _ := strings.Cut(request, " ")
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != want {
			t.Errorf("%s is %d, want %d; %v", request, response.StatusCode, want, err)
		}
		if path == "/metrics" && want == 200 && (!strings.HasPrefix(response.Header.Get("Content-Type"), "text/plain; version=0.0.4") || !strings.Contains(string(text), "openbank_build_info{")) {
			t.Errorf("%s: %s: %s", request, response.Header.Get("Content-Type"), text)
		}
		_ = response.Body.Close()
	}
}
