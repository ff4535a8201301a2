package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
	"openbank/connect"
)

// mostGarbage bounds what one call sends: it is for trying dead letters out, not for filling a topic.
const mostGarbage = 1000

type garbageCommand struct {
	Kafka    connect.Kafka    `embed:""`
	Registry connect.Registry `embed:""`
	Topics   connect.Topics   `embed:""`
	To       string           `enum:"transfers,creations" default:"transfers" help:"To which command topic: transfers or creations."`
	Count    int              `short:"n" default:"2" help:"How many records, 1 to 1000."`
	Timeout  time.Duration    `default:"30s" help:"How long all of it may take."`
}

// Run sends them, in turn bytes that are no Avro and a command that is cut short, and prints where each is.
func (c *garbageCommand) Run(s *session) error {
	if err := s.bank.check(kafkaPart, registryPart); err != nil {
		return err
	}
	if c.Count < 1 || c.Count > mostGarbage {
		return fmt.Errorf("--count is %d, it must be 1 to %d", c.Count, mostGarbage)
	}
	if c.Timeout <= 0 {
		return errors.New("--timeout is a duration such as 30s")
	}
	if err := c.Topics.Check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(s.ctx, c.Timeout, fmt.Errorf("not all was sent within %s (--timeout)", c.Timeout))
	defer cancel()
	r, err := reachBank(c.Kafka, c.Registry, slog.New(slog.NewTextHandler(s.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	defer r.close()
	topic := c.Topics.Transfers
	if c.To == "creations" {
		topic = c.Topics.Creations
	}
	switch err := c.send(ctx, s, r, topic); {
	case err != nil && s.ctx.Err() != nil:
		return errInterrupted
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	case err != nil:
		return fmt.Errorf("sending garbage to %s: %w", topic, err)
	}
	_, err = fmt.Fprintf(s.stderr, "once a handler has read them, open-bank dead-letters list shows what became of them\n")
	return err
}

// send makes all records before it sends the first one: the registry may lack the schema of some. The brokers are asked for the topic even
// before: a producer would wait for them, and for a topic that is not there, without a word.
func (c *garbageCommand) send(ctx context.Context, s *session, r *reach, topic string) (err error) {
	if err := r.knows(ctx, topic); err != nil {
		return err
	}
	records, what := make([]*kgo.Record, c.Count), make([]string, c.Count)
	for i := range records {
		if records[i], what[i], err = r.garbage(ctx, topic, c.To == "creations", i); err != nil {
			return err
		}
	}
	for i, record := range records {
		if err := r.kafka.ProduceSync(ctx, record).FirstErr(); err != nil {
			return err
		}
		fmt.Fprintf(s.stdout, "%s %s\n", position{record.Topic, record.Partition, record.Offset}, what[i])
	}
	return nil
}

// garbage is a record that no handler can make sense of, and what is wrong with it.
func (r *reach) garbage(ctx context.Context, topic string, isCreation bool, n int) (record *kgo.Record, what string, err error) {
	id := newID()
	record = &kgo.Record{Topic: topic, Key: []byte(id.String())}
	if n%2 == 0 {
		record.Value = append([]byte("garbage "), make([]byte, 16)...)
		_, _ = rand.Read(record.Value[8:]) // never fails
		return record, "no Avro", nil
	}
	var command any = &bank.ConfirmMoneyTransfer{ID: id, Amount: 1, From: bank.Cash, To: bank.CompanyIBAN, Description: "garbage"}
	if isCreation {
		command = &bank.ConfirmAccountCreation{ID: id, Type: bank.Auto}
	}
	if record.Value, err = r.codec.Encode(ctx, topic, command); err != nil {
		return nil, "", err
	}
	record.Value = record.Value[:len(record.Value)/2]
	return record, "a command that is cut short", nil
}
