package realkafka

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"openbank/certs"
	"openbank/embedded"
)

// BankConfig says what a bank's surroundings are. The zero value is one broker of the current version.
type BankConfig struct {
	Kafka    Config
	Postgres embedded.PostgresConfig
}

// Bank is a bank's surroundings, as embedded.Bank is, with brokers and a registry that are real. Each of the three can be taken
// away and given back while the others go on.
type Bank struct {
	Kafka    *Cluster
	Registry *Registry
	Postgres *embedded.Postgres
}

// StartBank starts all three and returns when they take connections. ctx bounds the start alone.
func StartBank(ctx context.Context, config BankConfig) (_ *Bank, err error) {
	b := &Bank{}
	starts, startCtx := errgroup.WithContext(ctx)
	starts.Go(func() (err error) { b.Kafka, err = Start(startCtx, config.Kafka); return err })
	starts.Go(func() (err error) { b.Registry, err = StartRegistry(startCtx); return err })
	starts.Go(func() (err error) { b.Postgres, err = embedded.StartPostgres(startCtx, config.Postgres); return err })
	if err := starts.Wait(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the bank's surroundings: %w", err), b.Stop(context.WithoutCancel(ctx)))
	}
	return b, nil
}

// Certificate is a client's identity, by its name in the stack, such as command-generator.
func (b *Bank) Certificate(name string) certs.Files { return b.Kafka.Certificates().Files(name) }

// Environment is how a client reaches the bank, NAME=value, in the stack's names.
func (b *Bank) Environment() []string {
	files := b.Certificate("command-handler")
	return []string{
		"KAFKA_BROKERS=" + strings.Join(b.Kafka.Addresses(), ","), "KAFKA_GROUP=" + group,
		"KAFKA_SSL_CA_LOCATION=" + files.CA, "KAFKA_SSL_CERT_LOCATION=" + files.Cert,
		"KAFKA_SSL_KEY_LOCATION=" + files.Key, "KAFKA_SSL_KEY_PASSWORD=" + files.Password,
		"SCHEMA_REGISTRY_URL=" + b.Registry.URL(), "DATABASE_URL=" + b.Postgres.URL(""),
	}
}

// Getenv looks a name up in Environment, as os.Getenv does in the process's.
func (b *Bank) Getenv(name string) string {
	for _, variable := range b.Environment() {
		if value, found := strings.CutPrefix(variable, name+"="); found {
			return value
		}
	}
	return ""
}

// Stop stops all three for good. The errors are joined, and every one of the three is stopped as far as it can be.
func (b *Bank) Stop(ctx context.Context) error {
	var faults []error
	if b.Registry != nil {
		faults = append(faults, b.Registry.Close())
	}
	if b.Kafka != nil {
		faults = append(faults, b.Kafka.Close())
	}
	if b.Postgres != nil {
		faults = append(faults, b.Postgres.Close(ctx))
	}
	return errors.Join(faults...)
}
