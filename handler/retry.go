package handler

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"openbank/health"
)

const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 2 * time.Second
)

// fatalError is one that waiting does not mend.
type fatalError struct{ error }

func (e fatalError) Unwrap() error { return e.error }

// ordinary is an error that comes and goes by itself, such as what a rebalance makes of a transaction. It is not worth a
// log line, and tried again soon.
type ordinary struct{ error }

func (e ordinary) Unwrap() error { return e.error }

const ordinaryBackoff = 20 * time.Millisecond

// task is something that is tried until it works.
type task struct {
	dependency health.Dependency // what a failure is put down to
	name       string            // in metrics
	doing      string            // in the log
}

// The tasks, as indices of tasks.
const (
	findingKafka = iota
	findingTopics
	findingSchemas
	learningSchema
	preparingTransactions
	readingOffsets
	settingOffsets
	readingBounds
	publishing
	publishingLetters
	awaitingLetterTopic
	joiningAnew
)

var tasks = [...]task{
	findingKafka:          {health.Kafka, "connect", "looking for Kafka"},
	findingTopics:         {health.Kafka, "topics", "looking for the topics"},
	findingSchemas:        {health.Registry, "subjects", "looking for the schemas"},
	learningSchema:        {health.Registry, "schema", "learning a schema"},
	preparingTransactions: {health.Kafka, "prepare_transactions", "preparing to publish in transactions"},
	readingOffsets:        {health.Kafka, "committed_offsets", "reading the group's committed offsets"},
	settingOffsets:        {health.Kafka, "set_offsets", "setting the group's offsets"},
	readingBounds:         {health.Kafka, "log_bounds", "reading the bounds of the log"},
	publishing:            {health.Kafka, "publish", "publishing"},
	publishingLetters:     {health.Kafka, "publish_dead_letters", "publishing dead letters"},
	joiningAnew:           {health.Slot, "join_anew", "joining the group anew"},
	awaitingLetterTopic:   {health.Kafka, "dead_letter_topic", "a dead letter waits for its topic"},
}

// until calls f until it returns nil, with a backoff that doubles from 100 ms to 2 s. Each new error text is logged once,
// not once a try, as what is waited for. A fatalError ends the waiting at once; when ctx is done first, its error is returned.
func (h *Handler) until(ctx context.Context, log *slog.Logger, what int, f func() error) error {
	doing := tasks[what].doing
	said := ""
	var condition *health.Condition
	defer func() {
		if condition != nil {
			condition.Ends()
		}
	}()
	for backoff := firstBackoff; ; backoff = min(2*backoff, lastBackoff) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := f()
		if err == nil {
			if said != "" {
				log.Info(doing + ": done waiting")
			}
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var fatal fatalError
		if errors.As(err, &fatal) {
			return fatal.error
		}
		h.meter.retries[what].Inc()
		var common ordinary
		if errors.As(err, &common) {
			log.Debug(doing+": again", "reason", err)
			backoff = ordinaryBackoff
		} else if text := err.Error(); text != said {
			said = text
			log.Warn(doing+": waiting", "reason", text)
			if condition == nil {
				condition = h.cfg.Health.Condition(tasks[what].dependency)
			}
			condition.Fails(doing + ": " + text)
		}
		if !pause(ctx, backoff) {
			return context.Cause(ctx)
		}
	}
}
