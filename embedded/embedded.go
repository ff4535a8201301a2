// Package embedded answers for a bank's surroundings on one machine: Kafka brokers, a Schema Registry and a Postgres
// server, all on 127.0.0.1, with their state in one directory.
//
//	          Dir
//	           ├── certs      the development CA and the certificates of the brokers and of every client
//	Kafka ─────┼── kafka      records, groups, offsets (in this process, mutual TLS)
//	Registry ──┼── registry   subjects and ids (in this process)
//	Postgres ──┴── postgres   a real server, a child of this process
//
// Each of the three can be started alone, taken away (in order, or at once as by a crash) and given back on the same
// port with what it had. It is for trials and tests: nothing here is meant to hold money that anybody misses.
//
// Whatever is needed and cannot be had is an error that names it; nothing is left running or half made then.
package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"openbank/certs"
	"openbank/whole"
)

const (
	kafkaName    = "kafka"
	registryName = "registry"
	postgresName = "postgres"
	portsName    = "ports.json"
	// renewBefore is how long before the certificates end new ones are made.
	renewBefore = 30 * 24 * time.Hour
	// client is whose certificate Environment names: the stack gives its handlers one and the same.
	client = "command-handler"
)

// Config says where a bank's surroundings are. The zero value is a bank in a temporary directory.
type Config struct {
	// Dir keeps everything from run to run. Default: a temporary directory that goes at Stop, or with the next temporary
	// one that is made after this process was killed.
	Dir string
	// Kafka, Registry and Postgres are as in StartKafka and so on. Dir, Logger, ports and the brokers' TLS are filled in
	// where they are missing; ports are those of the last run, as far as they are free.
	Kafka    KafkaConfig
	Registry RegistryConfig
	Postgres PostgresConfig
	// Logger. Default: nothing is logged.
	Logger *slog.Logger
}

// Bank is the surroundings, running. Each of them can be taken away and given back while the others go on.
type Bank struct {
	Kafka    *Kafka
	Registry *Registry
	Postgres *Postgres

	home  *home
	certs certs.Options
}

// ports are those of the last run, so that addresses that were noted down still hold.
type ports struct {
	Kafka    []int `json:"kafka"`
	Registry int   `json:"registry"`
	Postgres int   `json:"postgres"`
}

// Start starts all three, with certificates of a CA of the bank's own, and returns when they take connections. ctx bounds
// the start alone.
func Start(ctx context.Context, config Config) (_ *Bank, err error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	h, err := openHome(config.Dir, serverIdentity())
	if errors.Is(err, errLocked) {
		return nil, fmt.Errorf("starting the bank's surroundings: another process runs in %s: stop it, or choose another directory: %w", config.Dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("starting the bank's surroundings: %w", err)
	}
	b := &Bank{home: h, certs: certs.Options{Dir: filepath.Join(h.dir, "certs"), WithoutStores: true}}
	defer func() {
		if err != nil {
			// ctx may be what ended the start.
			err = errors.Join(fmt.Errorf("starting the bank's surroundings: %w", err), b.Stop(context.WithoutCancel(ctx)))
		}
	}()
	if err := b.certify(config.Logger); err != nil {
		return nil, err
	}
	if err := b.complete(&config); err != nil {
		return nil, err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { b.Kafka, err = StartKafka(groupCtx, config.Kafka); return err })
	group.Go(func() (err error) { b.Registry, err = StartRegistry(groupCtx, config.Registry); return err })
	group.Go(func() (err error) { b.Postgres, err = StartPostgres(groupCtx, config.Postgres); return err })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := b.notePorts(); err != nil {
		return nil, err
	}
	return b, nil
}

// Holds says whether dir has what a bank left there.
func Holds(dir string) (bool, error) {
	for _, name := range []string{kafkaName, registryName, postgresName} {
		_, err := os.Stat(filepath.Join(dir, name))
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return false, nil
}

// certify makes the certificates, unless there are some that are valid for a while.
func (b *Bank) certify(logger *slog.Logger) error {
	if _, err := os.Stat(b.certs.Dir); !errors.Is(err, fs.ErrNotExist) {
		unfit := certs.Check(b.certs, time.Now().Add(renewBefore))
		if unfit == nil {
			return nil
		}
		logger.Warn("making new certificates; clients need the new ones too", "directory", b.certs.Dir, "because", unfit)
	}
	fresh := certs.Options{Dir: b.certs.Dir + ".unfinished", WithoutStores: true}
	if err := os.RemoveAll(fresh.Dir); err != nil {
		return err
	}
	if err := certs.Generate(fresh); err != nil {
		return err
	}
	if err := os.RemoveAll(b.certs.Dir); err != nil {
		return err
	}
	return os.Rename(fresh.Dir, b.certs.Dir)
}

// complete fills in what config leaves open.
func (b *Bank) complete(config *Config) error {
	for _, part := range []struct {
		dir    *string
		logger **slog.Logger
		name   string
	}{
		{&config.Kafka.Dir, &config.Kafka.Logger, kafkaName},
		{&config.Registry.Dir, &config.Registry.Logger, registryName},
		{&config.Postgres.Dir, &config.Postgres.Logger, postgresName},
	} {
		if *part.dir == "" {
			*part.dir = filepath.Join(b.home.dir, part.name)
		}
		if *part.logger == nil {
			*part.logger = config.Logger
		}
	}
	if config.Kafka.TLS == nil {
		// One certificate for all brokers: they are one process, and all of them localhost.
		tls, err := certs.ServerTLS(b.certs.Files("kafka-1"))
		if err != nil {
			return err
		}
		config.Kafka.TLS = tls
	}
	last := b.lastPorts(config.Logger)
	if len(config.Kafka.Ports) == 0 && (config.Kafka.Brokers == 0 && len(last.Kafka) == defaultBrokers || len(last.Kafka) == config.Kafka.Brokers) && allFree(last.Kafka...) {
		config.Kafka.Ports = last.Kafka
	}
	if config.Registry.Port == 0 && allFree(last.Registry) {
		config.Registry.Port = last.Registry
	}
	if config.Postgres.Port == 0 && allFree(last.Postgres) {
		config.Postgres.Port = last.Postgres
	}
	return nil
}

// lastPorts are those that notePorts noted; none when they can't be read: others do as well.
func (b *Bank) lastPorts(logger *slog.Logger) (last ports) {
	path := filepath.Join(b.home.dir, portsName)
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &last)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		logger.Warn("the ports of the last run can't be read: taking others; what noted the addresses down needs the new ones", "file", path, "error", err)
		return ports{}
	}
	return last
}

func allFree(ports ...int) bool {
	for _, port := range ports {
		listener, err := listen(port)
		if err != nil {
			return false
		}
		_ = listener.Close()
	}
	return true
}

func (b *Bank) notePorts() error {
	text, err := json.Marshal(ports{Kafka: b.Kafka.ports, Registry: b.Registry.port, Postgres: b.Postgres.port})
	if err != nil {
		return err
	}
	return whole.WriteBytes(filepath.Join(b.home.dir, portsName), 0o600, text)
}

// Dir is the directory that everything is in.
func (b *Bank) Dir() string { return b.home.dir }

// Keep makes a temporary directory stay, for whoever wants to look into it: neither Stop nor a later bank removes it.
func (b *Bank) Keep() error { return b.home.keep() }

// Certificate is a client's or server's identity, by its name in the stack, such as command-generator.
func (b *Bank) Certificate(name string) certs.Files { return b.certs.Files(name) }

// Environment is how a client reaches the bank, NAME=value, in the stack's names and always in the same order.
func (b *Bank) Environment() []string {
	files := b.certs.Files(client)
	return []string{
		"KAFKA_BROKERS=" + b.Kafka.Addresses(),
		"SCHEMA_REGISTRY_URL=" + b.Registry.URL(),
		"KAFKA_SSL_CA_LOCATION=" + files.CA,
		"KAFKA_SSL_CERT_LOCATION=" + files.Cert,
		"KAFKA_SSL_KEY_LOCATION=" + files.Key,
		"KAFKA_SSL_KEY_PASSWORD=" + files.Password,
		"DATABASE_URL=" + b.Postgres.URL(""),
		// These are the Rust handler's variables, and its group would follow from them; the bank's group is the stack's.
		"KAFKA_GROUP=command-handler",
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

// Stop stops all three and lets others have the directory. What it holds is there for the next Start, unless it is a
// temporary one. The errors are joined, and every one of the three is stopped as far as it can be.
func (b *Bank) Stop(ctx context.Context) error {
	var faults []error
	if b.Registry != nil {
		faults = append(faults, b.Registry.Close(ctx))
	}
	if b.Kafka != nil {
		faults = append(faults, b.Kafka.Close(ctx))
	}
	if b.Postgres != nil {
		faults = append(faults, b.Postgres.Close(ctx))
	}
	return errors.Join(append(faults, b.home.leave())...)
}
