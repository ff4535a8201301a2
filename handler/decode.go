package handler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"openbank/bank"
	"openbank/registry"
	"openbank/schemas"
)

// unknownSchema says that a record can't be decoded yet: its writer's schema is not here.
type unknownSchema struct{ id int }

func (e *unknownSchema) Error() string { return fmt.Sprintf("schema %d is not here yet", e.id) }

// decode reads a record of a command topic. What can never be read has its reason in the record; the only error is an
// *unknownSchema.
func (h *Handler) decode(t topic, m *kafka.Message) (record, error) {
	r := record{key: m.Key, value: m.Value, headers: m.Headers, sent: m.Timestamp.UnixMilli(), offset: int64(m.TopicPartition.Offset)}
	if m.Value == nil {
		r.unreadable = "value is null"
		return r, nil
	}
	command, err := h.decoder.Decode(m.Value)
	var unknown *schemas.UnknownSchemaError
	var unreadable *schemas.UnreadableError
	switch {
	case err == nil && t.holds(command, h.cfg.Topics):
		r.command = command
	case err == nil:
		r.class = wrongRecord
		r.unreadable = fmt.Sprintf("record %s does not belong on topic %s", schemas.Name(command), t.name)
	case errors.As(err, &unknown) && !h.refused.has(unknown.ID):
		return r, &unknownSchema{unknown.ID}
	case errors.As(err, &unknown):
		r.class = unknownID
		r.unreadable = fmt.Sprintf("schema id %d is unknown to the registry", unknown.ID)
	case errors.As(err, &unreadable):
		r.unreadable = unreadable.Reason
	default:
		r.unreadable = err.Error()
	}
	return r, nil
}

// holds says whether a message is a command of the topic.
func (t topic) holds(message any, of Topics) bool {
	switch message.(type) {
	case *bank.ConfirmAccountCreation:
		return t.name == of.ConfirmAccountCreation
	case *bank.ConfirmMoneyTransfer:
		return t.name == of.ConfirmMoneyTransfer
	}
	return false
}

// learn brings the schema of an id to the decoder. A registry that does not answer is waited for; one that says for long
// enough that it has no such schema is believed, and the id refused for a while.
func (h *Handler) learn(ctx context.Context, id int) error {
	return h.until(ctx, h.log, learningSchema, func() error {
		text, err := h.registry.SchemaByID(ctx, id)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, registry.ErrUnknownSchema):
			h.log.Warn("the registry does not know a schema id", "schema_id", id)
			h.refused.add(id, refusedFor)
		case errors.Is(err, registry.ErrTooLarge):
			h.decoder.Refuse(id, "it is larger than 2 MB")
		case err != nil:
			return err
		default:
			h.decoder.Learn(id, text)
		}
		return nil
	})
}

// refusedFor is how long a schema id that the registry does not know is refused without asking again: a flood of records with it
// waits once, and a schema that comes late is found.
const refusedFor = 10 * time.Second

// mostRefusals bounds how many are remembered.
const mostRefusals = 10000

// refusals remembers for a while which schema ids the registry does not know, so that many records with such an id do not
// each wait for the verdict.
type refusals struct {
	mu      sync.Mutex
	expires map[int]time.Time
}

func (r *refusals) has(id int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.expires[id]
	if ok && time.Now().After(at) {
		delete(r.expires, id)
		return false
	}
	return ok
}

func (r *refusals) add(id int, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.expires == nil {
		r.expires = map[int]time.Time{}
	}
	if len(r.expires) >= mostRefusals {
		clear(r.expires) // garbage can have any number of ids
	}
	r.expires[id] = time.Now().Add(d)
}
