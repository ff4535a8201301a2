package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"openbank/health"
	"openbank/metric"
)

// defaultHTTPAddress is reached from the machine, or the container, itself: nobody sees more of a handler that takes another's place than
// before. A port that is taken ends the handler only when somebody named it.
const defaultHTTPAddress = "127.0.0.1:8383"

// askTime bounds a question to a handler's health.
const askTime = 3 * time.Second

// httpAddress checks where to listen. "" is nowhere.
func httpAddress(text string) (string, error) {
	if text == "off" {
		return "", nil
	}
	_, port, err := net.SplitHostPort(text)
	if number, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || number > 65535 {
		return "", fmt.Errorf("%q is neither off nor an address such as %s or :8383", text, defaultHTTPAddress)
	}
	return text, nil
}

// server serves health and metrics.
type server struct {
	http *http.Server
	done chan struct{}
}

// serve listens at an address, if there is one. An address that nobody chose and that is taken is gone without.
func serve(ctx context.Context, address string, unchosen bool, board *health.Board, metrics *metric.Set, log *slog.Logger) (*server, error) {
	if address == "" {
		return nil, nil
	}
	observe(board, metrics)
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && unchosen:
		log.Warn("health and metrics are not served: another program has the default address; HTTP_ADDRESS names another one, or off", "address", address)
		return nil, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("HTTP_ADDRESS (--http-address): another program has %s: name an address that is free, or off", address)
	case err != nil:
		return nil, fmt.Errorf("HTTP_ADDRESS (--http-address): listening at %s: %w", address, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", board.ServeLive)
	mux.HandleFunc("GET /readyz", board.ServeReady)
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_ = metrics.Write(w) // whoever asked is gone
	})
	s := &server{
		http: &http.Server{
			Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
			ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
		done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Warn("health and metrics are not served any more", "error", err)
		}
	}()
	log.Info("serving health and metrics", "address", listener.Addr().String())
	return s, nil
}

// close ends the serving; what is being asked at that moment is not answered.
func (s *server) close() {
	if s == nil {
		return
	}
	_ = s.http.Close() // its listener's error is of no use to anybody
	<-s.done
}

// observe makes the metrics that tell of the process and its health.
func observe(board *health.Board, metrics *metric.Set) {
	metrics.Gauge("openbank_build_info", version, runtime.Version()).Set(1)
	for family, holds := range map[string]func() bool{"openbank_ready": board.Ready, "openbank_live": board.Live} {
		metrics.GaugeFunc(family, func() float64 {
			if holds() {
				return 1
			}
			return 0
		})
	}
	for _, d := range health.Dependencies {
		metrics.GaugeFunc("openbank_unmet_conditions", func() float64 { return float64(board.Unmet(d)) }, string(d))
	}
}

// askHealth asks the handler that serves at HTTP_ADDRESS, as a container's health check does: there is no curl beside it.
func (v *values) askHealth(ctx context.Context, path string, stdout io.Writer) error {
	address, err := httpAddress(v.value["http-address"])
	if err != nil {
		return fmt.Errorf("HTTP_ADDRESS (--http-address): %w", err)
	}
	if address == "" {
		return errors.New("HTTP_ADDRESS (--http-address) is off: there is nobody to ask")
	}
	host, port, _ := net.SplitHostPort(address) // it is checked
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+path, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy: it is this machine
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("no handler answers: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("reading the handler's answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(text)))
	}
	_, err = stdout.Write(text)
	return err
}
