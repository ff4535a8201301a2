package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
	"openbank/connect"
	"openbank/schemas"
)

type tailCommand struct {
	Kafka         connect.Kafka    `embed:""`
	Registry      connect.Registry `embed:""`
	Topic         string           `arg:"" help:"The topic."`
	FromBeginning bool             `help:"Show what is there already as well."`
	UntilEnd      bool             `help:"Stop at what is the end of the topic now, instead of waiting for more."`
	Count         *int             `short:"n" placeholder:"N" help:"Stop after this many records."`
	ShowTokens    bool             `help:"Show the tokens of accounts, which whoever has them can move money with, and bytes that can't be read, which may hold one."`
}

// tailed is a line of output.
type tailed struct {
	Topic      string            `json:"topic"`
	Partition  int32             `json:"partition"`
	Offset     int64             `json:"offset"`
	Timestamp  time.Time         `json:"timestamp"`
	Key        string            `json:"key"`
	Headers    map[string]string `json:"headers,omitempty"`
	Record     string            `json:"record,omitempty"`
	Value      map[string]any    `json:"value,omitempty"`
	Unreadable string            `json:"unreadable,omitempty"`
	Length     int               `json:"length,omitempty"` // this and the next two only of what is unreadable
	SHA256     string            `json:"sha256,omitempty"`
	Bytes      []byte            `json:"bytes,omitempty"` // base64; a token may be among them
}

// Run prints until it has printed enough or is interrupted, which is an orderly end.
func (c *tailCommand) Run(s *session) error {
	if err := s.bank.check(kafkaPart, registryPart); err != nil {
		return err
	}
	if c.Count != nil && *c.Count < 1 {
		return errors.New("-n (--count) must be at least 1; without it there is no end")
	}
	r, err := reachBank(c.Kafka, c.Registry, slog.New(slog.NewTextHandler(s.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), kgo.KeepControlRecords())
	if err != nil {
		return err
	}
	defer r.close()
	if err := r.knows(s.ctx, c.Topic); err != nil {
		if s.ctx.Err() != nil {
			return nil
		}
		return err
	}
	left := &unread{} // with --until-end
	if c.UntilEnd && c.FromBeginning {
		if left, _, err = r.unread(s.ctx, c.Topic); err != nil {
			return err
		}
	}
	if c.UntilEnd && len(left.ends) == 0 {
		return nil
	}
	if err := r.follow(s.ctx, c.FromBeginning, c.Topic); err != nil {
		return err
	}
	if !c.FromBeginning {
		fmt.Fprintf(s.stderr, "waiting for new records on %s; --from-beginning shows those that are there\n", c.Topic)
	}
	out := json.NewEncoder(s.stdout)
	next := r.next
	if c.UntilEnd {
		next = func(ctx context.Context) ([]*kgo.Record, error) { return left.next(ctx, r.kafka) }
	}
	for printed := 0; !c.UntilEnd || len(left.ends) > 0; {
		records, err := next(s.ctx)
		if err != nil {
			if s.ctx.Err() != nil {
				return nil
			}
			return err
		}
		for _, record := range records {
			if c.UntilEnd && !left.takes(record) || record.Attrs.IsControl() {
				continue
			}
			line, err := c.line(s, r, record)
			if err == nil {
				err = out.Encode(line)
			}
			if err != nil {
				return err
			}
			if printed++; c.Count != nil && printed >= *c.Count {
				return nil
			}
		}
	}
	return nil
}

// knows fails when there is no such topic.
func (r *reach) knows(ctx context.Context, wanted ...string) error {
	topics, err := kadm.NewClient(r.kafka).ListTopicsWithInternal(ctx)
	if err != nil {
		return fmt.Errorf("listing the topics: %w", connect.Explain(err))
	}
	missing := slices.IndexFunc(wanted, func(topic string) bool { return !topics.Has(topic) })
	if missing < 0 {
		return nil
	}
	topic := wanted[missing]
	topics.FilterInternal()
	if len(topics) == 0 {
		return fmt.Errorf("there is no topic %s; there are none at all", topic)
	}
	return fmt.Errorf("there is no topic %s; there are: %s", topic, strings.Join(topics.Names(), ", "))
}

func (c *tailCommand) line(s *session, r *reach, record *kgo.Record) (tailed, error) {
	line := tailed{
		Topic: record.Topic, Partition: record.Partition, Offset: record.Offset, Timestamp: record.Timestamp.UTC(), Key: string(record.Key),
	}
	for _, h := range record.Headers {
		if line.Headers == nil {
			line.Headers = map[string]string{}
		}
		line.Headers[h.Key] = string(h.Value)
	}
	message, unreadable, err := r.decode(s.ctx, record.Value)
	switch {
	case err != nil:
		return line, err
	case unreadable != "":
		line.Unreadable, line.Length, line.SHA256 = unreadable, len(record.Value), fmt.Sprintf("%x", sha256.Sum256(record.Value))
		if c.ShowTokens {
			line.Bytes = record.Value
		}
	default:
		line.Record, line.Value = schemas.Name(message), avroFields(message, c.ShowTokens)
	}
	return line, nil
}

// decode returns a message, or why there is none. The only errors are the registry's and ctx's.
func (r *reach) decode(ctx context.Context, value []byte) (message any, why string, err error) {
	message, err = r.codec.Decode(ctx, value)
	var unreadable *schemas.UnreadableError
	if errors.As(err, &unreadable) {
		return nil, unreadable.Reason, nil
	}
	return message, "", err
}

// hidden stands for a token.
const hidden = "xxxxx"

// avroFields is a message under the names of its schema. Tokens are hidden unless they are to be shown; that there is none is no secret.
func avroFields(message any, showTokens bool) map[string]any {
	fields := plainFields(message)
	if token, ok := fields["token"]; ok && token != "" && !showTokens {
		fields["token"] = hidden
	}
	return fields
}

func plainFields(message any) map[string]any {
	switch m := message.(type) {
	case *schemas.Heartbeat:
		return map[string]any{"beat": m.Beat}
	case *bank.ConfirmAccountCreation:
		return map[string]any{"id": m.ID, "a_type": m.Type}
	case *bank.AccountCreationConfirmed:
		return map[string]any{"id": m.ID, "iban": m.IBAN, "token": m.Token, "a_type": m.Type}
	case *bank.AccountCreationFailed:
		return map[string]any{"id": m.ID, "reason": m.Reason}
	case *bank.ConfirmMoneyTransfer:
		return map[string]any{"id": m.ID, "token": m.Token, "amount": m.Amount, "from": m.From, "to": m.To, "description": m.Description}
	case *bank.MoneyTransferConfirmed:
		return map[string]any{"id": m.ID}
	case *bank.MoneyTransferFailed:
		return map[string]any{"id": m.ID, "reason": m.Reason}
	case *bank.BalanceChanged:
		return map[string]any{"iban": m.IBAN, "new_balance": m.NewBalance, "changed_by": m.ChangedBy, "from_to": m.FromTo, "description": m.Description}
	default:
		return nil
	}
}
