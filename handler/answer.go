package handler

import (
	"fmt"
	"strconv"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"openbank/bank"
	"openbank/schemas"
)

// compose appends the answers to records to p.out, and then their events, the debited account's before the credited one's: a client waits
// for its answer.
func (p *producer) compose(records []record) error {
	for i := range records {
		if _, buried := records[i].letter(); !buried {
			if err := p.addAnswer(&records[i]); err != nil {
				return err
			}
		}
	}
	for i := range records {
		if _, buried := records[i].letter(); buried {
			continue
		}
		for j := range records[i].outcome.Events {
			if err := p.addEvent(&records[i].outcome.Events[j], &records[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *producer) addAnswer(r *record) error {
	e, o := &p.h.encoders, r.outcome
	switch command := r.command.(type) {
	case *bank.ConfirmAccountCreation:
		if o.Reason == "" {
			return p.add(&e.creationConfirmed, command.ID, &bank.AccountCreationConfirmed{ID: command.ID, IBAN: o.IBAN, Token: o.Token, Type: o.Type}, r)
		}
		return p.add(&e.creationFailed, command.ID, &bank.AccountCreationFailed{ID: command.ID, Reason: o.Reason}, r)
	case *bank.ConfirmMoneyTransfer:
		if o.Reason == "" {
			return p.add(&e.transferConfirmed, command.ID, &bank.MoneyTransferConfirmed{ID: command.ID}, r)
		}
		return p.add(&e.transferFailed, command.ID, &bank.MoneyTransferFailed{ID: command.ID, Reason: o.Reason}, r)
	}
	return nil
}

func (p *producer) add(o *output, id bank.ID, message any, r *record) error {
	key := len(p.arena)
	p.arena, _ = id.AppendText(p.arena) // never fails
	return p.append(o, key, message, -1, r)
}

func (p *producer) addEvent(event *bank.BalanceChanged, r *record) error {
	key := len(p.arena)
	p.arena = append(p.arena, event.IBAN...)
	return p.append(&p.h.encoders.balanceChanged, key, event, event.Version, r)
}

// append adds one record whose key stands in the arena from the given place on. A version below zero is none.
func (p *producer) append(o *output, key int, message any, version int64, r *record) (err error) {
	out := outgoing{topic: &o.topic, epoch: r.epoch, key: key, value: len(p.arena), traces: r.headers}
	if p.arena, err = o.encoder.Load().Append(p.arena, message); err != nil {
		return fmt.Errorf("encoding %s: %w", schemas.Name(message), err)
	}
	out.version = len(p.arena)
	if version >= 0 {
		p.arena = strconv.AppendInt(p.arena, version, 10)
	}
	out.end = len(p.arena)
	p.out = append(p.out, out)
	return nil
}

// maxTrace is the longest header that answers and events carry on, in bytes: a traceparent has 55. With a longer one, or with many, an
// answer could be larger than the brokers take, and be in the way of all others.
const maxTrace = 256

// traceHeaders are those headers of a command that its answers and events carry on, each once. (A dead letter carries all of them.)
func traceHeaders(of []kafka.Header) (traces []kafka.Header) {
	for _, name := range []string{"traceparent", "correlation-id"} {
		for _, h := range of {
			if h.Key == name && len(h.Value) <= maxTrace {
				traces = append(traces, h)
				break
			}
		}
	}
	return traces
}
