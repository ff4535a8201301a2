package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
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
	Topics   connect.Topics   `embed:""`
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
	answer, err := c.ask(s, c.Topics.Creations, c.Topics.CreationAnswers, id, &bank.ConfirmAccountCreation{ID: id, Type: bank.AccountType(c.Type)})
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
	Amount      cents  `required:"" placeholder:"CENTS" help:"How much, in euro cents: 1250 is 12.50 euro."`
	Token       string `help:"Token of the account to debit; a deposit needs none."`
	Description string `help:"What it is for."`
}

// cents is an amount. Whether a bank moves it is the bank's to say.
type cents int64

// UnmarshalText wants a whole number.
func (c *cents) UnmarshalText(text []byte) error {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%s is more than fits: 64 bits of cents", text)
	}
	if err != nil {
		return errors.New("amounts are whole cents: 1250 is 12.50 euro")
	}
	*c = cents(n)
	return nil
}

// Run prints the id of a confirmed transfer. A rejected one is an error.
func (c *transferCommand) Run(s *session) error {
	if c.From == "" || c.To == "" { // a shell's variable that is not set
		return errors.New("--from and --to must name somebody: an IBAN, cash, a shop")
	}
	id, err := c.id()
	if err != nil {
		return err
	}
	answer, err := c.ask(s, c.Topics.Transfers, c.Topics.TransferAnswers, id, &bank.ConfirmMoneyTransfer{
		ID: id, Token: c.Token, Amount: int64(c.Amount), From: c.From, To: c.To, Description: c.Description,
	})
	if err != nil {
		return err
	}
	switch a := answer.(type) {
	case *bank.MoneyTransferConfirmed:
		_, err = fmt.Fprintf(s.stdout, "id=%s\nconfirmed\n", a.ID)
		return err
	case *bank.MoneyTransferFailed:
		if a.Reason == bank.ReasonInvalidToken && c.Token == "" {
			return fmt.Errorf("transfer %s was rejected: %s (no --token given)", a.ID, a.Reason)
		}
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

// slowAfter is when whoever waits for an answer is told that it takes long.
const slowAfter = 3 * time.Second

// ask sends command and waits for the first answer to it.
func (a *asking) ask(s *session, topic, answers string, id bank.ID, command any) (any, error) {
	if err := s.bank.check(kafkaPart, registryPart); err != nil {
		return nil, err
	}
	if a.Timeout <= 0 {
		return nil, errors.New("--timeout is a duration such as 30s")
	}
	if err := a.Topics.Check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.ctx, a.Timeout)
	defer cancel()
	r, err := reachBank(a.Kafka, a.Registry, slog.New(slog.NewTextHandler(s.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return nil, err
	}
	defer r.close()
	record, err := r.prepare(ctx, topic, answers, id, command)
	switch {
	case err != nil && s.ctx.Err() != nil:
		return nil, errors.New("interrupted; nothing was sent")
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("nothing was sent within %s: %w", a.Timeout, err)
	case err != nil:
		return nil, fmt.Errorf("nothing was sent: %w", err)
	}
	slow := time.AfterFunc(slowAfter, func() {
		fmt.Fprintf(s.stderr, "no answer to %s so far; waiting for it, up to %s in all (--timeout). Is a command handler running, and what does its /readyz say?\n", id, a.Timeout)
	})
	defer slow.Stop()
	answer, err := r.exchange(ctx, record)
	switch {
	case errors.Is(err, errRefused):
		return nil, fmt.Errorf("%w; once that is mended, ask again with --id %s", err, id)
	case err != nil && s.ctx.Err() != nil:
		return nil, fmt.Errorf("interrupted; the command may still be carried out: ask again with --id %s", id)
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("no answer to %s within %s: is a command handler running? The command may still be carried out: ask again with --id %s. An id that came before with other content has no answer but a dead letter: open-bank dead-letters list (%w)", id, a.Timeout, id, err)
	case err != nil:
		return nil, fmt.Errorf("%w: the command may still be carried out; ask again with --id %s", err, id)
	}
	return answer, nil
}

// errRefused says that the command is in no topic, unless an earlier try of the client's was taken and only its answer lost.
var errRefused = errors.New("the command was not taken")

// isRefusal says of an error of sending whether a broker, or the client in its place, does not take the record and never will.
func isRefusal(err error) bool {
	return slices.ContainsFunc([]error{
		kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.MessageTooLarge, kerr.InvalidRecord, kerr.PolicyViolation,
	}, func(refusal error) bool { return errors.Is(err, refusal) })
}

// prepare makes the record, and follows the topic of the answers from here on.
func (r *reach) prepare(ctx context.Context, topic, answers string, id bank.ID, command any) (*kgo.Record, error) {
	value, err := r.codec.Encode(ctx, topic, command)
	if err != nil {
		return nil, err
	}
	if err := r.follow(ctx, false, answers); err != nil {
		return nil, err
	}
	return &kgo.Record{Topic: topic, Key: []byte(id.String()), Value: value}, nil
}

// exchange sends record and waits for its answer: they have the same key.
func (r *reach) exchange(ctx context.Context, record *kgo.Record) (any, error) {
	switch err := r.kafka.ProduceSync(ctx, record).FirstErr(); {
	case isRefusal(err):
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	case err != nil:
		return nil, fmt.Errorf("sending the command: %w", err)
	}
	for {
		records, err := r.next(ctx)
		if err != nil {
			return nil, err
		}
		for _, answer := range records {
			if !bytes.Equal(answer.Key, record.Key) {
				continue
			}
			message, err := r.codec.Decode(ctx, answer.Value)
			if err != nil {
				return nil, fmt.Errorf("decoding the answer: %w", err)
			}
			return message, nil
		}
	}
}
