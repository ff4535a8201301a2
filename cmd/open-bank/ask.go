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
	"openbank/schemas"
)

const (
	creations       = "confirm_account_creation"
	creationAnswers = "account_creation_feedback"
	transfers       = "confirm_money_transfer"
	transferAnswers = "money_transfer_feedback"
	balanceChanges  = "balance_changed"
)

type asking struct {
	Kafka    connect.Kafka    `embed:""`
	Registry connect.Registry `embed:""`
	ID       string           `placeholder:"UUID" help:"The command's id; a new one when not given. The same id again gets the same answer again."`
	Timeout  time.Duration    `default:"30s" help:"How long to wait for the answer."`
}

type accountCommand struct {
	asking
	Type string `enum:"AUTO,MANUAL" default:"MANUAL" help:"Who holds the account: a program (AUTO) or a person (MANUAL)."`
}

// Run prints id, IBAN and token of the account.
func (c *accountCommand) Run(s *session) error {
	id, err := c.id()
	if err != nil {
		return err
	}
	answer, err := c.ask(s, creations, creationAnswers, id, &bank.ConfirmAccountCreation{ID: id, Type: bank.AccountType(c.Type)})
	if err != nil {
		return err
	}
	switch a := answer.(type) {
	case *bank.AccountCreationConfirmed:
		_, err = fmt.Fprintf(s.stdout, "id=%s\niban=%s\ntoken=%s\n", a.ID, a.IBAN, a.Token)
		return err
	case *bank.AccountCreationFailed:
		return fmt.Errorf("account creation %s was rejected: %s", a.ID, a.Reason)
	default:
		return fmt.Errorf("account creation %s was answered by a %s", id, schemas.Name(answer))
	}
}

type transferCommand struct {
	asking
	From        string `required:"" help:"IBAN of the account to debit, or cash for a deposit."`
	To          string `required:"" help:"IBAN of the account to credit, or any other party: cash, a shop."`
	Amount      int64  `required:"" placeholder:"CENTS" help:"How much, in euro cents: 1250 is 12.50 euro."`
	Token       string `help:"Token of the account to debit; a deposit needs none."`
	Description string `help:"What it is for."`
}

// Run prints the id of a confirmed transfer. A rejected one is an error.
func (c *transferCommand) Run(s *session) error {
	id, err := c.id()
	if err != nil {
		return err
	}
	answer, err := c.ask(s, transfers, transferAnswers, id, &bank.ConfirmMoneyTransfer{
		ID: id, Token: c.Token, Amount: c.Amount, From: c.From, To: c.To, Description: c.Description,
	})
	if err != nil {
		return err
	}
	switch a := answer.(type) {
	case *bank.MoneyTransferConfirmed:
		_, err = fmt.Fprintf(s.stdout, "id=%s\nconfirmed\n", a.ID)
		return err
	case *bank.MoneyTransferFailed:
		return fmt.Errorf("transfer %s was rejected: %s", a.ID, a.Reason)
	default:
		return fmt.Errorf("transfer %s was answered by a %s", id, schemas.Name(answer))
	}
}

func (a *asking) id() (bank.ID, error) {
	if a.ID == "" {
		return newID(), nil
	}
	id, err := bank.ParseID(a.ID)
	if err != nil {
		return id, fmt.Errorf("--id: %w", err)
	}
	return id, nil
}

// newID is a random UUID, version 4.
func newID() bank.ID {
	var id bank.ID
	_, _ = rand.Read(id[:]) // never fails
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// ask sends command and waits for the first answer to it.
func (a *asking) ask(s *session, topic, answers string, id bank.ID, command any) (any, error) {
	ctx, cancel := context.WithTimeout(s.ctx, a.Timeout)
	defer cancel()
	r, err := reachBank(a.Kafka, a.Registry, slog.New(slog.NewTextHandler(s.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return nil, err
	}
	defer r.close()
	answer, err := r.ask(ctx, topic, answers, id, command)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("no answer to %s within %s: is a command handler running? The command may still be carried out; ask again with --id %s (%w)", id, a.Timeout, id, err)
	}
	return answer, err
}

func (r *reach) ask(ctx context.Context, topic, answers string, id bank.ID, command any) (any, error) {
	value, err := r.codec.Encode(ctx, topic, command)
	if err != nil {
		return nil, err
	}
	if err := r.follow(ctx, false, answers); err != nil {
		return nil, err
	}
	record := &kgo.Record{Topic: topic, Key: []byte(id.String()), Value: value}
	if err := r.kafka.ProduceSync(ctx, record).FirstErr(); err != nil {
		return nil, fmt.Errorf("sending the command: %w", err)
	}
	for {
		records, err := r.next(ctx)
		if err != nil {
			return nil, err
		}
		for _, record := range records {
			if string(record.Key) != id.String() {
				continue
			}
			answer, err := r.codec.Decode(ctx, record.Value)
			if err != nil {
				return nil, fmt.Errorf("decoding the answer: %w", err)
			}
			return answer, nil
		}
	}
}
