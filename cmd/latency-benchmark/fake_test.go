package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	_ "github.com/lib/pq" // the driver
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
	"openbank/connect"
	"openbank/load"
	"openbank/predecessor"
	"openbank/surroundings"
)

// beHandler is a handler in this process until it is told to stop: the predecessor, or one that keeps its accounts in memory and
// has one fault.
func beHandler(kind string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var connection surroundings.Connection
	if _, err := (connect.Program{Name: kind}).Parse(&connection, nil, os.Getenv, os.Stdout, os.Stderr); err != nil {
		return err
	}
	registry, err := connection.Registry.Client(slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer registry.Close()
	codec := connect.NewCodec(registry)
	fmt.Fprintln(os.Stderr, "pid", os.Getpid())
	if kind == "predecessor" {
		return bePredecessor(ctx, connection, codec)
	}
	kafka, err := connection.Kafka.Client(kind, kgo.ProducerLinger(0), kgo.ConsumerGroup(kind), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeTopics(load.DefaultTopics.Creations, load.DefaultTopics.Transfers))
	if err != nil {
		return err
	}
	defer kafka.Close()
	h := &faulty{kind: kind, kafka: kafka, codec: codec, accounts: bank.Accounts{}}
	for {
		fetches := kafka.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		for _, r := range fetches.Records() {
			if err := h.handle(ctx, r); err != nil {
				return err
			}
		}
	}
}

func bePredecessor(ctx context.Context, connection surroundings.Connection, codec *connect.Codec) (err error) {
	url := connection.Database.URL()
	db, err := sql.Open("postgres", url)
	if err != nil {
		return err
	}
	if err := errors.Join(predecessor.Clojure.Create(ctx, db), db.Close()); err != nil {
		return err
	}
	if url, err = predecessor.Clojure.URL(url); err != nil {
		return err
	}
	h, err := predecessor.Start(ctx, predecessor.Config{Layout: predecessor.Clojure, DatabaseURL: url, Kafka: connection.Kafka, Codec: codec})
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-h.Ended():
	}
	return h.Stop()
}

// faulty is a handler with a fault that shows after some thirty transfers between accounts.
type faulty struct {
	kind      string
	kafka     *kgo.Client
	codec     *connect.Codec
	accounts  bank.Accounts
	transfers int  // between accounts
	done      bool // the fault
}

func (h *faulty) publish(ctx context.Context, topic, key string, message any) error {
	value, err := h.codec.Encode(ctx, topic, message)
	if err != nil {
		return err
	}
	h.kafka.Produce(ctx, &kgo.Record{Topic: topic, Key: []byte(key), Value: value}, nil)
	return nil
}

func (h *faulty) handle(ctx context.Context, r *kgo.Record) error {
	message, err := h.codec.Decode(ctx, r.Value)
	if err != nil {
		return err
	}
	switch c := message.(type) {
	case *bank.ConfirmAccountCreation:
		iban, err := bank.NewIBAN(rand.Reader)
		if err != nil {
			return err
		}
		h.accounts[iban] = &bank.Account{IBAN: iban, Token: iban, Limit: bank.DefaultLimit}
		return h.publish(ctx, load.DefaultTopics.CreationAnswers, c.ID.String(), &bank.AccountCreationConfirmed{ID: c.ID, IBAN: iban, Token: iban, Type: c.Type})
	case *bank.ConfirmMoneyTransfer:
		return h.transfer(ctx, c)
	}
	return nil
}

func (h *faulty) transfer(ctx context.Context, c *bank.ConfirmMoneyTransfer) error {
	outcome := h.accounts.Transfer(c)
	if c.From != bank.Cash {
		h.transfers++
		if h.transfers%100 == 0 {
			fmt.Fprintln(os.Stderr, h.transfers, "transfers")
		}
	}
	now := !h.done && h.transfers >= 30 && c.From != bank.Cash && outcome.Reason == ""
	h.done = h.done || now
	reason := outcome.Reason
	events := 1
	switch {
	case h.kind == "confirms":
		reason = ""
	case h.kind == "silent" && c.From != bank.Cash:
		return nil
	case !now:
	case h.kind == "refuses":
		reason = bank.ReasonInsufficientFunds
	case h.kind == "forgets":
		return nil
	case h.kind == "repeats":
		events = 2
	case h.kind == "dies":
		return errors.New("it was to die")
	case h.kind == "freezes":
		if err := freeze(ctx); err != nil {
			return err
		}
	}
	for range events {
		if err := h.answer(ctx, c, reason); err != nil {
			return err
		}
		if outcome.Reason != "" {
			continue
		}
		for _, e := range c.AppendEvents(nil, outcome.From, outcome.To) {
			if h.kind == "miscounts" && now {
				e.NewBalance++
			}
			if h.kind == "overpays" && now {
				e.ChangedBy++
			}
			if err := h.publish(ctx, load.DefaultTopics.Events, e.IBAN, &e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *faulty) answer(ctx context.Context, c *bank.ConfirmMoneyTransfer, reason string) error {
	if reason != "" {
		return h.publish(ctx, load.DefaultTopics.TransferAnswers, c.ID.String(), &bank.MoneyTransferFailed{ID: c.ID, Reason: reason})
	}
	return h.publish(ctx, load.DefaultTopics.TransferAnswers, c.ID.String(), &bank.MoneyTransferConfirmed{ID: c.ID})
}

// freeze has this process stand still for a second, as whole as the kernel can.
func freeze(ctx context.Context) error {
	wake := exec.CommandContext(ctx, "sh", "-c", fmt.Sprintf("sleep 1.2; kill -CONT %d", os.Getpid()))
	if err := wake.Start(); err != nil {
		return err
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
		return err
	}
	return wake.Wait()
}
