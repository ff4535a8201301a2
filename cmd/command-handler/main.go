// Command command-handler executes the bank's commands: it reads them from Kafka, decides them against the balances in
// Postgres and answers them. It is configured by flags or by the environment variables of the open-bank stack.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"openbank/handler"
	"openbank/health"
	"openbank/metric"
	"openbank/registry"
	"openbank/store"
)

// What may stand before the flags.
const (
	migrate     = "migrate"
	handBack    = "hand-back"
	healthcheck = "healthcheck"
)

// version is set by the build.
var version = "development"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if _, ok := os.LookupEnv("GOMAXPROCS"); !ok {
		runtime.GOMAXPROCS(max(1, runtime.GOMAXPROCS(0)/shareOfGo))
	}
	if err := run(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "command-handler: %v\n", err)
		os.Exit(1) //nolint:gocritic // nothing is left to defer: the signals' registration ends with the process
	}
}

// run is the command. Every error is a sentence for whoever runs it, and exit status 1.
func run(ctx context.Context, args []string, env func(string) (string, bool), stdout, stderr io.Writer) error {
	command := ""
	if len(args) > 0 && (args[0] == migrate || args[0] == handBack || args[0] == healthcheck) {
		command, args = args[0], args[1:]
	}
	path := "/readyz"
	if command == healthcheck && len(args) > 0 && args[0] == "live" {
		path, args = "/livez", args[1:]
	}
	s, err := parse(args, env)
	switch {
	case errors.Is(err, errHelp):
		usage(stdout, command)
		return nil
	case err != nil:
		return err
	case s.version:
		_, err := fmt.Fprintf(stdout, "command-handler %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return err
	case command == healthcheck:
		return s.askHealth(ctx, path, stdout)
	}
	cfg, err := s.configure()
	if err != nil {
		return err
	}
	if s.checkConfig {
		return s.print(stdout, cfg)
	}
	cfg.handler.OnBacklog = limitMemory(env)
	log := cfg.logger(stderr)
	if command != "" {
		return onDatabase(ctx, command, cfg, log, stdout)
	}
	cfg.handler.Logger, cfg.registry.Logger, cfg.store.Logger = log, log, log
	cfg.store.Group = cfg.handler.Group
	log.Info("starting", "version", version)
	if cfg.expired {
		log.Warn("brokers that check certificates will not let this handler in: set KAFKA_SSL_CERT_LOCATION and KAFKA_SSL_KEY_LOCATION (or SSL_KEYSTORE_LOCATION) to one that is valid, and start again", "brokers", cfg.encryption)
	}
	board, metrics := health.New(), metric.New()
	cfg.handler.Health, cfg.registry.Health, cfg.store.Health = board, board, board
	cfg.handler.Metrics, cfg.registry.Metrics, cfg.store.Metrics = metrics, metrics, metrics
	starting := board.Condition(health.Itself)
	starting.Fails("it is starting, and looks for Postgres")
	served, err := serve(ctx, cfg.httpAddress, s.source["http-address"] == "default", board, metrics, log)
	if err != nil {
		return err
	}
	defer served.close()

	schemas, err := registry.New(cfg.registry)
	if err != nil {
		return fmt.Errorf("SCHEMA_REGISTRY_URL: %w", err)
	}
	defer schemas.Close()
	db, err := store.Open(ctx, cfg.store)
	if err != nil {
		if ctx.Err() != nil {
			return nil // stopped while waiting: nothing was begun
		}
		return err
	}
	defer func() {
		if err := db.Close(); err != nil {
			log.Warn("closing the database", "error", err)
		}
	}()
	h, err := handler.New(cfg.handler, db, schemas)
	if err != nil {
		return err
	}
	starting.Ends()
	return h.Run(ctx)
}

// shareOfGo is which part of the CPUs runs Go code at the same time, unless GOMAXPROCS says otherwise: a half, the other one being for the
// threads of the Kafka clients. What stages hand each other then goes on on the same thread, and no other is woken to find nothing to do
// (docs/scaling.md).
const shareOfGo = 2

func (c config) logger(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.logLevel}
	if c.logJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
