package main

import (
	"log/slog"

	"openbank/floor"
	"openbank/surroundings"
)

type floorEchoCommand struct {
	Bank         surroundings.Connection `embed:""`
	Delivery     string                  `enum:"exactly-once,at-least-once" default:"exactly-once" help:"exactly-once or at-least-once."`
	Commands     string                  `required:"" help:"Topic."`
	Answers      string                  `required:"" help:"Topic."`
	Events       string                  `required:"" help:"Topic."`
	AnswerSchema uint32                  `required:"" help:"Id of MoneyTransferConfirmed."`
	EventSchema  uint32                  `required:"" help:"Id of BalanceChanged."`
	MaxBatch     int                     `default:"4000" help:"Most commands in one go."`
}

// Run answers until it is stopped.
func (c *floorEchoCommand) Run(s *session) error {
	return floor.Echo(s.ctx, floor.EchoConfig{
		Kafka: c.Bank.Kafka, DatabaseURL: c.Bank.Database.URL(), Commands: c.Commands, Answers: c.Answers, Events: c.Events,
		AnswerSchema: c.AnswerSchema, EventSchema: c.EventSchema, ExactlyOnce: c.Delivery == "exactly-once", MaxBatch: c.MaxBatch,
		Logger: slog.New(slog.NewTextHandler(s.stderr, nil)),
	})
}
