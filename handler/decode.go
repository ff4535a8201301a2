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

// unknownSchema says that a record can't be decoded yet: its writer's schema is not here, or has to be asked for again.
type unknownSchema struct {
	id    int
	again bool
}

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
		return r, &unknownSchema{id: unknown.ID}
	case errors.As(err, &unknown):
		r.class = unknownID
		r.unreadable = fmt.Sprintf("schema id %d is unknown to the registry", unknown.ID)
	case errors.As(err, &unreadable):
		r.unreadable = unreadable.Reason
	default:
		r.unreadable = err.Error()
	}
	if r.unreadable == "" {
		return r, nil
	}
	// A registry that was made anew may have given the id to another schema since.
	if id, err := schemas.ID(m.Value); err == nil && !h.confirmed.has(id) && !h.refused.has(id) {
		return r, &unknownSchema{id: id, again: true}
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

// learn brings the schema of an id to the decoder. A registry that does not answer is waited for; one that says for long enough that it has no
// such schema is believed, and the id refused for a while. Of a schema that is known, and asked for again, what is known stands unless the
// registry says otherwise within a moment: behind a record that nobody can read others wait.
func (h *Handler) learn(ctx context.Context, wanted *unknownSchema) error {
	if !wanted.again {
		return h.untilLearnt(ctx, wanted.id)
	}
	h.registry.Forget(wanted.id)
	moment, cancel := context.WithTimeout(ctx, askedAgainFor)
	defer cancel()
	err := h.untilLearnt(moment, wanted.id)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		h.log.Warn("the registry does not say anew what a schema is of which a record can't be read: what was known of it stands", "schema_id", wanted.id)
		h.confirmed.add(wanted.id, refusedFor)
		return nil
	}
	h.confirmed.add(wanted.id, confirmedFor)
	return nil
}

func (h *Handler) untilLearnt(ctx context.Context, id int) error {
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

// askedAgainFor is how long the registry may take to say once more what a schema is.
const askedAgainFor = 5 * time.Second

// refusedFor is how long a schema id that the registry does not know is refused without asking again: a flood of records with it
// waits once, and a schema that comes late is found.
const refusedFor = 10 * time.Second

// confirmedFor is how long the schema of records that it does not fit is believed to be the registry's, without asking again.
const confirmedFor = time.Minute

// mostIDs bounds how many are remembered.
const mostIDs = 10000

// idSet remembers schema ids for a while: what the registry said of them, so that many records with one do not each wait for it.
type idSet struct {
	mu      sync.Mutex
	expires map[int]time.Time
}

func (r *idSet) has(id int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.expires[id]
	if ok && time.Now().After(at) {
		delete(r.expires, id)
		return false
	}
	return ok
}

func (r *idSet) add(id int, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.expires == nil {
		r.expires = map[int]time.Time{}
	}
	if len(r.expires) >= mostIDs {
		clear(r.expires) // garbage can have any number of ids
	}
	r.expires[id] = time.Now().Add(d)
}
