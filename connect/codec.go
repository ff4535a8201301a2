package connect

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"openbank/registry"
	"openbank/schemas"
)

// Codec decodes records by their writer's schema and encodes them by the latest one of their subject, fetching either from the
// registry when it is first needed. It is safe for concurrent use.
type Codec struct {
	registry *registry.Client
	decoder  *schemas.Decoder

	mu       sync.Mutex
	encoders map[string]*schemas.Encoder // by subject
	denied   map[int]time.Time           // when the registry said that it has no such schema
}

// deniedFor is how long the registry is not asked again for a schema that it doesn't have: many records can have the same wrong id.
const deniedFor = 5 * time.Second

// NewCodec makes a Codec. The registry client stays the caller's to close.
func NewCodec(client *registry.Client) *Codec {
	return &Codec{registry: client, decoder: schemas.NewDecoder(), encoders: map[string]*schemas.Encoder{}, denied: map[int]time.Time{}}
}

// Decode returns a pointer to one of the bank's messages, or to a schemas.Heartbeat. What can never be read, an id that the
// registry does not know among it, is a *schemas.UnreadableError; other errors are the registry's or ctx's.
func (c *Codec) Decode(ctx context.Context, value []byte) (any, error) {
	message, err := c.decoder.Decode(value)
	var unknown *schemas.UnknownSchemaError
	if !errors.As(err, &unknown) {
		return message, err
	}
	if c.isDenied(unknown.ID) {
		return nil, noSchema(unknown.ID)
	}
	text, err := c.registry.SchemaByID(ctx, unknown.ID)
	if errors.Is(err, registry.ErrUnknownSchema) {
		c.deny(unknown.ID)
		return nil, noSchema(unknown.ID)
	}
	if err != nil {
		return nil, err // it says what was fetched
	}
	c.decoder.Learn(unknown.ID, text)
	return c.decoder.Decode(value)
}

func noSchema(id int) error {
	return &schemas.UnreadableError{Reason: fmt.Sprintf("the registry has no schema with id %d", id)}
}

func (c *Codec) isDenied(id int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.denied[id]
	return ok && time.Since(at) < deniedFor
}

func (c *Codec) deny(id int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.denied) >= 10000 {
		clear(c.denied) // garbage can have any number of ids
	}
	c.denied[id] = time.Now()
}

// Encode writes message, a pointer to one of the bank's messages, as a record of topic.
func (c *Codec) Encode(ctx context.Context, topic string, message any) ([]byte, error) {
	encoder, err := c.encoder(ctx, topic, schemas.Name(message))
	if err != nil {
		return nil, err
	}
	return encoder.Append(nil, message)
}

// SchemaID is the id that a topic's records of this short name are written with.
func (c *Codec) SchemaID(ctx context.Context, topic, record string) (int, error) {
	encoder, err := c.encoder(ctx, topic, record)
	if err != nil {
		return 0, err
	}
	return encoder.ID(), nil
}

func (c *Codec) encoder(ctx context.Context, topic, record string) (*schemas.Encoder, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	subject := schemas.Subject(topic, record)
	if encoder, ok := c.encoders[subject]; ok {
		return encoder, nil
	}
	latest, err := c.registry.Latest(ctx, subject)
	if errors.Is(err, registry.ErrUnknownSubject) {
		return nil, fmt.Errorf("subject %s is not registered: run synchronizer apply first", subject)
	}
	if err != nil {
		return nil, err // it says what was fetched
	}
	encoder, err := schemas.NewEncoder(record, latest.ID, latest.Text)
	if err != nil {
		return nil, fmt.Errorf("using the schema of subject %s: %w", subject, err)
	}
	c.encoders[subject] = encoder
	return encoder, nil
}
