package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/connect"
	"openbank/topology"
)

type apply struct {
	Kafka    connect.Kafka    `embed:""`
	Registry connect.Registry `embed:""`

	Topology string        `placeholder:"FILE" help:"The topology to apply; the open-bank stack's when not given."`
	Brokers  int           `placeholder:"N" help:"How many brokers to wait for before topics are made. As many as KAFKA_BROKERS names when not given."`
	Timeout  time.Duration `default:"5m" help:"How long to wait for brokers and registry, in all."`
	LogJSON  bool          `name:"log-json" help:"Log in JSON instead of text."`
}

func (a *apply) run(ctx context.Context, stdout, stderr io.Writer) error {
	if err := a.validate(); err != nil {
		return err
	}
	want, err := a.load()
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	if a.LogJSON {
		logger = slog.New(slog.NewJSONHandler(stderr, nil))
	}
	// A request that fails comes back at once, with its reason: the waiting, and the telling of it, is the topology's.
	kafka, err := a.Kafka.Client("synchronizer", kgo.RequestRetries(1))
	if err != nil {
		return err
	}
	defer kafka.Close()
	registry, err := a.Registry.Client(logger)
	if err != nil {
		return err
	}
	defer registry.Close()

	target := &topology.Target{Kafka: kafka, Registry: registry, Brokers: a.Brokers, Logger: logger}
	if target.Brokers == 0 {
		target.Brokers = len(a.Kafka.Brokers)
	}
	ctx, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	plan, err := target.Plan(ctx, want)
	if err != nil {
		return a.explain(err)
	}
	for _, note := range plan.Notes {
		logger.Warn(note)
	}
	if err := target.Apply(ctx, plan); err != nil {
		return a.explain(err)
	}
	if plan.Empty() {
		_, err = fmt.Fprintf(stdout, "nothing to do: all %d topics and subjects are there\n", plan.Existing)
	} else {
		_, err = fmt.Fprintf(stdout, "created %d topics, registered %d schemas; %d were there\n", len(plan.Topics), len(plan.Schemas), plan.Existing)
	}
	return err
}

func (a *apply) validate() error {
	faults := []error{connect.Check(a.Kafka, a.Registry)}
	if a.Brokers < 0 {
		faults = append(faults, errors.New("--brokers must be at least 1"))
	}
	if a.Timeout <= 0 {
		faults = append(faults, errors.New("--timeout must be more than nothing, such as 5m"))
	}
	return errors.Join(faults...)
}

func (a *apply) load() (*topology.Topology, error) {
	if a.Topology == "" {
		return topology.Default()
	}
	return topology.Load(os.DirFS(filepath.Dir(a.Topology)), filepath.Base(a.Topology))
}

func (a *apply) explain(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w; it was waited for %s (--timeout)", err, a.Timeout)
	}
	return err
}
