package handler

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"openbank/registry"
	"openbank/schemas"
)

// output is one kind of record that we write to one topic, with the schema that is registered for it now.
type output struct {
	topic, record string
	encoder       atomic.Pointer[schemas.Encoder]
}

// encoders holds the outputs of the handler.
type encoders struct {
	creationConfirmed, creationFailed, transferConfirmed, transferFailed, balanceChanged output
}

func (e *encoders) all() []*output {
	return []*output{&e.creationConfirmed, &e.creationFailed, &e.transferConfirmed, &e.transferFailed, &e.balanceChanged}
}

func (e *encoders) name(t Topics) {
	set := func(o *output, topic, record string) { o.topic, o.record = topic, record }
	set(&e.creationConfirmed, t.AccountCreationFeedback, "AccountCreationConfirmed")
	set(&e.creationFailed, t.AccountCreationFeedback, "AccountCreationFailed")
	set(&e.transferConfirmed, t.MoneyTransferFeedback, "MoneyTransferConfirmed")
	set(&e.transferFailed, t.MoneyTransferFeedback, "MoneyTransferFailed")
	set(&e.balanceChanged, t.BalanceChanged, "BalanceChanged")
}

// subject follows TopicRecordNameStrategy.
func (o *output) subject() string { return schemas.Subject(o.topic, o.record) }

// refresh makes the encoder of the latest schema under the output's subject. The handler never registers one: it writes
// with what whoever runs the stack has registered.
func (o *output) refresh(ctx context.Context, r *registry.Client) error {
	latest, err := r.Latest(ctx, o.subject())
	if errors.Is(err, registry.ErrUnknownSubject) {
		return fmt.Errorf("subject %s is not registered yet: run the synchronizer, or register the stack's schemas", o.subject())
	}
	if err != nil {
		return fmt.Errorf("reading the latest schema of subject %s: %w", o.subject(), err)
	}
	if now := o.encoder.Load(); now != nil && now.ID() == latest.ID && now.Text() == latest.Text {
		return nil
	}
	encoder, err := schemas.NewEncoder(o.record, latest.ID, latest.Text)
	if err != nil {
		return fatalError{fmt.Errorf("subject %s, version %d (schema id %d): %w", o.subject(), latest.Version, latest.ID, err)}
	}
	o.encoder.Store(encoder)
	return nil
}

// refreshSchemas looks for newer schemas from time to time. One that does not fit ends the handler: the records
// that we would go on writing are not what the subject's readers were promised.
func (h *Handler) refreshSchemas(ctx context.Context) {
	for pause(ctx, h.cfg.RefreshSchemas) {
		for _, o := range h.encoders.all() {
			err := o.refresh(ctx, h.registry)
			var fatal fatalError
			switch {
			case errors.As(err, &fatal):
				h.fail(fatal.error)
				return
			case err != nil && ctx.Err() == nil:
				h.log.Warn("looking for newer schemas", "error", err)
			}
		}
	}
}
