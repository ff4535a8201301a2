// Package surroundings answers for a bank without its handler: brokers, registry and Postgres on this machine, with the topics
// and subjects that a handler needs. They are the embedded ones (Embedded), or an Apache Kafka and a real registry beside the
// embedded Postgres (Real), where the embedded brokers would say nothing: about the speed of transactions above all.
package surroundings

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/connect"
	"openbank/embedded"
	"openbank/realkafka"
	"openbank/topology"
)

// EmbeddedKafka is the version of the embedded brokers.
const EmbeddedKafka = "embedded (kfake)"

// Connection is all the settings that say where a bank is, for kong.
type Connection struct {
	Kafka    connect.Kafka    `embed:""`
	Registry connect.Registry `embed:""`
	Database connect.Database `embed:""`
}

// Surroundings are running servers, and how to reach them.
type Surroundings struct {
	Connection Connection
	// Bank is all of it when it is embedded, nil when it is real.
	Bank     *embedded.Bank
	Postgres *embedded.Postgres
	// Versions are those of the servers, by name: kafka, registry.
	Versions map[string]string

	environment []string
	real        *realkafka.Bank
}

// Embedded starts Kafka, registry and Postgres with their state in dir, a temporary directory when it is "", and makes topics
// and subjects.
func Embedded(ctx context.Context, dir string, logger *slog.Logger) (*Surroundings, error) {
	bank, err := embedded.Start(ctx, embedded.Config{Dir: dir, Logger: logger})
	if err != nil {
		return nil, err
	}
	s := &Surroundings{
		Bank: bank, Postgres: bank.Postgres, environment: bank.Environment(),
		Versions: map[string]string{"kafka": EmbeddedKafka, "registry": "embedded (srfake)"},
	}
	return s.prepared(ctx, logger)
}

// Real starts an Apache Kafka of one broker with mutual TLS, a registry with Confluent's API, and an embedded Postgres, all of
// them in temporary directories. It needs Java, and the first time Maven. The settings, by their names in server.properties, are the
// broker's besides its own.
func Real(ctx context.Context, settings map[string]string, logger *slog.Logger) (*Surroundings, error) {
	kafka := "Apache Kafka " + string(realkafka.Current) + ", 1 broker, mutual TLS"
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		kafka += ", " + name + "=" + settings[name]
	}
	s := &Surroundings{Versions: map[string]string{"kafka": kafka, "registry": "Apicurio 2.6.13, Confluent's API"}}
	var err error
	if s.real, err = realkafka.StartBank(ctx, realkafka.BankConfig{Kafka: realkafka.Config{Settings: settings}, Postgres: embedded.PostgresConfig{Logger: logger}}); err != nil {
		return nil, err
	}
	s.Postgres, s.environment = s.real.Postgres, s.real.Environment()
	return s.prepared(ctx, logger)
}

// prepared makes topics and subjects, or stops all again.
func (s *Surroundings) prepared(ctx context.Context, logger *slog.Logger) (_ *Surroundings, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop())
		}
	}()
	program := connect.Program{Name: "surroundings"}
	if _, err := program.Parse(&s.Connection, nil, s.getenv, nil, nil); err != nil {
		return nil, err
	}
	return s, s.Connection.MakeTopics(ctx, logger)
}

func (s *Surroundings) getenv(name string) string {
	for _, variable := range s.environment {
		if value, found := strings.CutPrefix(variable, name+"="); found {
			return value
		}
	}
	return ""
}

// MakeTopics makes what is missing of the default topology's topics and subjects.
func (c Connection) MakeTopics(ctx context.Context, logger *slog.Logger) error {
	want, err := topology.Default()
	if err != nil {
		return err
	}
	kafka, err := c.Kafka.Client("open-bank", kgo.RequestRetries(1))
	if err != nil {
		return err
	}
	defer kafka.Close()
	registry, err := c.Registry.Client(logger)
	if err != nil {
		return err
	}
	defer registry.Close()
	target := &topology.Target{Kafka: kafka, Registry: registry, Brokers: len(c.Kafka.Brokers), Logger: logger}
	plan, err := target.Plan(ctx, want)
	if err == nil {
		err = target.Apply(ctx, plan)
	}
	if err != nil {
		return fmt.Errorf("making topics and subjects: %w", err)
	}
	return nil
}

// PIDs are the servers' process ids, by name: kafka, registry, postgres. Embedded brokers and registry have none of their own.
func (s *Surroundings) PIDs() map[string][]int {
	pids := map[string][]int{"postgres": {s.Postgres.PID()}}
	if s.Bank == nil {
		pids["kafka"], pids["registry"] = s.real.Kafka.PIDs(), []int{s.real.Registry.PID()}
	}
	return pids
}

// Environment is what a handler of this bank needs, and its clients may have.
func (s *Surroundings) Environment() []string { return s.environment }

// Stop stops everything, also after the command was interrupted.
func (s *Surroundings) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if s.Bank != nil {
		return s.Bank.Stop(ctx)
	}
	return s.real.Stop(ctx)
}
