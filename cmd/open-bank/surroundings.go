package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/connect"
	"openbank/embedded"
	"openbank/topology"
)

// surroundings are an embedded bank with its topics and subjects, and how to reach it.
type surroundings struct {
	bank       *embedded.Bank
	connection connection
}

// startSurroundings starts Kafka, registry and Postgres with their state in dir, and makes topics and subjects.
func startSurroundings(ctx context.Context, dir string, logger *slog.Logger) (_ *surroundings, err error) {
	bank, err := embedded.Start(ctx, embedded.Config{Dir: dir, Logger: logger})
	if err != nil {
		return nil, err
	}
	s := &surroundings{bank: bank}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	program := connect.Program{Name: "open-bank"}
	if _, err := program.Parse(&s.connection, nil, bank.Getenv, nil, nil); err != nil {
		return nil, err
	}
	want, err := topology.Default()
	if err != nil {
		return nil, err
	}
	kafka, err := s.connection.Kafka.Client("open-bank", kgo.RequestRetries(1))
	if err != nil {
		return nil, err
	}
	defer kafka.Close()
	registry, err := s.connection.Registry.Client(logger)
	if err != nil {
		return nil, err
	}
	defer registry.Close()
	target := &topology.Target{Kafka: kafka, Registry: registry, Brokers: len(s.connection.Kafka.Brokers), Logger: logger}
	plan, err := target.Plan(ctx, want)
	if err == nil {
		err = target.Apply(ctx, plan)
	}
	if err != nil {
		return nil, fmt.Errorf("making topics and subjects: %w", err)
	}
	return s, nil
}

// environment is what a handler of this bank needs, and its clients may have. The database is not guarded: a trial bank is
// where one tries what verify makes of an altered row.
func (s *surroundings) environment() []string {
	return append(s.bank.Environment(), "DATABASE_GUARD=false")
}

// stop stops everything, also after the command was interrupted.
func (s *surroundings) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return s.bank.Stop(ctx)
}
