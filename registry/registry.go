// Package registry asks a Schema Registry for schemas: by id, by subject, and, for the synchronizer, to register them.
//
// It puts around srclient what that leaves out: a context, retries, several URLs, one request for many that want the
// same schema, and errors that tell a registry that does not answer from one that says no.
//
// An id's schema never changes and is kept, as far as memory should go; nothing else is kept, and no error ever is. Whatever the
// surroundings cause (no connection, a time-out, 408, 425, 429, 5xx, an answer that is no registry's, such as a 404
// without one of its codes) is tried again, with exponential backoff and jitter, until the context is done; the log has
// one line when the registry goes away and one when it is back. Whatever the registry decides is returned at once; that it does not let us
// in (401, or 403 where Probe looks) counts as away, but is not tried again.
package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/riferrei/srclient"
	"golang.org/x/sync/singleflight"

	"openbank/health"
	"openbank/metric"
)

const (
	defaultTimeout = 5 * time.Second
	firstWait      = 50 * time.Millisecond
	longestWait    = 2 * time.Second // so that a registry that is back is soon noticed
	// idleConnections are kept to one URL: as many as a comparison of thousands of subjects uses at once.
	idleConnections = 32
)

// Schema is a registered schema.
type Schema struct {
	ID, Version int
	Text        string
}

// Client asks a registry. It is safe for concurrent use.
type Client struct {
	endpoints []endpoint
	current   atomic.Int64 // index of the endpoint that answered last
	timeout   time.Duration
	unknown   time.Duration // Config.UnknownAfter
	transport *http.Transport
	logger    *slog.Logger

	life    context.Context // ends the requests that outlive the callers who shared them
	close   context.CancelFunc
	sharing sync.WaitGroup
	flight  singleflight.Group

	answers *health.Condition
	retries *metric.Counter

	mutex     sync.Mutex
	awaySince time.Time      // zero while the registry answers
	refused   bool           // since then it has not let us in, and the log says so
	untrusted string         // why there is no TLS with it, as the log says since then
	kept      map[int]string // texts of schemas by id
	keptBytes int
	denied    map[int]struct{} // ids that were denied for good
	verdicts  []time.Time      // when that was, of the latest ones, the oldest first
}

const (
	// maxKept bounds the texts that are kept, in bytes; ours have 1 KB each.
	maxKept = 4 << 20
	// From flood ids on that were denied within floodTime no more time is given to a registry that denies one.
	flood     = 20
	floodTime = time.Minute
	// maxDenied bounds the ids that are remembered as denied.
	maxDenied = 1000
)

// New returns a client. It makes no request. The error lists all that is wrong with the config, and no credentials.
func New(config Config) (*Client, error) {
	endpoints, err := config.endpoints()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = idleConnections
	if config.TLS != nil {
		transport.TLSClientConfig = config.TLS.Clone()
	}
	c := &Client{endpoints: endpoints, timeout: config.Timeout, unknown: config.UnknownAfter, transport: transport, logger: config.Logger}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	if c.logger == nil {
		c.logger = slog.Default()
	}
	if config.Health == nil {
		config.Health = health.New()
	}
	if config.Metrics == nil {
		config.Metrics = metric.New()
	}
	c.answers = config.Health.Condition(health.Registry)
	c.retries = config.Metrics.Counter("openbank_retries_total", string(health.Registry), "no_answer")
	c.life, c.close = context.WithCancel(context.Background())
	return c, nil
}

// Close ends the requests that nobody waits for any more and closes idle connections. Calls that are under way are ended
// by their contexts.
func (c *Client) Close() {
	c.mutex.Lock()
	c.close() // no request is shared from here on, so Wait waits for all
	c.mutex.Unlock()
	c.sharing.Wait()
	c.transport.CloseIdleConnections()
}

// SchemaByID returns the text of the schema with this id. Callers who want the same one share a request, and none of
// them ends it for the others. The error is ErrUnknownSchema when the registry has said for Config.UnknownAfter that there
// is none; once is enough when it has said so of this id before, or of many lately, which are garbage. It is
// ErrTooLarge when the schema is, otherwise an *Error that is not transient, or ctx's.
func (c *Client) SchemaByID(ctx context.Context, id int) (string, error) {
	if text, ok := c.known(id); ok {
		return text, nil
	}
	var text string
	var deniedSince time.Time
	err := c.retry(ctx, func(ctx context.Context) error {
		shared := c.flight.DoChan(strconv.Itoa(id), func() (any, error) { return c.fetch(id) })
		select {
		case result := <-shared:
			if !errors.Is(result.Err, ErrUnknownSchema) {
				deniedSince = time.Time{}
				text, _ = result.Val.(string)
				return result.Err
			}
			if deniedSince.IsZero() {
				deniedSince = time.Now()
			}
			if time.Since(deniedSince) < c.unknown && !c.isGarbage(id) {
				return errAskAgain
			}
			c.deny(id)
			return result.Err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err != nil {
		return "", fmt.Errorf("fetching schema %d: %w", id, err)
	}
	return text, nil
}

// known is the text of a schema that is kept.
func (c *Client) known(id int) (string, bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	text, ok := c.kept[id]
	return text, ok
}

// Forget has the schema of an id asked for again.
func (c *Client) Forget(id int) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.keptBytes -= len(c.kept[id])
	delete(c.kept, id)
}

// keep keeps the text of a schema, and forgets the others when they are too many.
func (c *Client) keep(id int, text string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.keptBytes += len(text); c.kept == nil || c.keptBytes > maxKept {
		c.kept, c.keptBytes = map[int]string{}, len(text)
	}
	c.kept[id] = text
}

// isGarbage says whether an id need not be given time: it was denied before, or many were lately.
func (c *Client) isGarbage(id int) bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	_, before := c.denied[id]
	return before || len(c.verdicts) >= flood && time.Since(c.verdicts[0]) < floodTime
}

// deny notes that an id was denied for good.
func (c *Client) deny(id int) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.denied == nil || len(c.denied) >= maxDenied {
		c.denied = map[int]struct{}{}
	}
	c.denied[id] = struct{}{}
	if c.verdicts = append(c.verdicts, time.Now()); len(c.verdicts) > flood {
		c.verdicts = slices.Delete(c.verdicts, 0, 1)
	}
}

// fetch makes one try for a schema, keeps it and returns its text.
func (c *Client) fetch(id int) (text string, err error) {
	c.mutex.Lock()
	if c.life.Err() != nil {
		c.mutex.Unlock()
		return "", errClosed
	}
	c.sharing.Add(1)
	c.mutex.Unlock()
	defer c.sharing.Done()
	if text, ok := c.known(id); ok { // by a request that ended just before this one
		return text, nil
	}
	err = c.try(c.life, func(client *srclient.SchemaRegistryClient) error {
		schema, err := client.GetSchema(id)
		if err != nil {
			return err
		}
		if text = schema.Schema(); text == "" {
			return ErrNoRegistry
		}
		c.keep(id, text)
		return nil
	})
	if errors.Is(err, context.Canceled) {
		return "", errClosed
	}
	return text, err
}

// Latest returns the latest schema of a subject. The error is ErrUnknownSubject, at once, when there is none; otherwise
// an *Error that is not transient, or ctx's.
func (c *Client) Latest(ctx context.Context, subject string) (Schema, error) {
	schema, err := c.ask(ctx, func(client *srclient.SchemaRegistryClient) (*srclient.Schema, error) {
		return client.GetLatestSchema(subject)
	})
	if err != nil {
		return Schema{}, fmt.Errorf("fetching the latest schema of %s: %w", subject, err)
	}
	return schema, nil
}

// Register registers a schema under a subject, if it is not yet, and returns its id. The error is an *Error that is not
// transient (409: not compatible with the latest one; 422: no valid schema), or ctx's.
func (c *Client) Register(ctx context.Context, subject, text string) (int, error) {
	var id int
	err := c.retry(ctx, func(ctx context.Context) error {
		err := c.try(ctx, func(client *srclient.SchemaRegistryClient) error {
			schema, err := client.CreateSchema(subject, text, srclient.Avro)
			if err == nil {
				id = schema.ID()
			}
			return err
		})
		// srclient reads the schema back, possibly from a member of the registry that has not heard of it yet.
		if errors.Is(err, ErrUnknownSchema) {
			return &Error{URL: c.endpoints[c.current.Load()].url, Status: http.StatusNotFound, Message: "does not know what it just registered"}
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("registering a schema under %s: %w", subject, err)
	}
	return id, nil
}

// Lookup returns the id and version that a schema has under a subject, without registering it. The error is
// ErrUnknownSubject or ErrUnknownSchema, at once, when it has none; otherwise an *Error that is not transient, or ctx's.
func (c *Client) Lookup(ctx context.Context, subject, text string) (Schema, error) {
	schema, err := c.ask(ctx, func(client *srclient.SchemaRegistryClient) (*srclient.Schema, error) {
		return client.LookupSchema(subject, text, srclient.Avro)
	})
	if err != nil {
		return Schema{}, fmt.Errorf("looking a schema up under %s: %w", subject, err)
	}
	return schema, nil
}

// Subjects returns all subjects. The error is an *Error that is not transient, or ctx's.
func (c *Client) Subjects(ctx context.Context) ([]string, error) {
	var subjects []string
	err := c.retry(ctx, func(ctx context.Context) error {
		return c.try(ctx, func(client *srclient.SchemaRegistryClient) (err error) {
			subjects, err = client.GetSubjects()
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("listing the subjects: %w", err)
	}
	return subjects, nil
}

// Probe asks once for the latest schema of a subject, to see whether the registry is there. Whatever it answers is well, unless it
// does not let us in; the error is that, or that it did not answer, or ctx's.
func (c *Client) Probe(ctx context.Context, subject string) error {
	err := c.try(ctx, func(client *srclient.SchemaRegistryClient) error {
		_, err := client.GetLatestSchema(subject)
		return err
	})
	refused := refusal(err)
	if refused != nil {
		c.noteRefusal(refused)
	}
	if err != nil && (ctx.Err() != nil || Transient(err) || refused != nil) {
		return fmt.Errorf("looking whether the schema registry is there: %w", err)
	}
	return nil
}

// ask is a call that answers with a schema.
func (c *Client) ask(ctx context.Context, call func(*srclient.SchemaRegistryClient) (*srclient.Schema, error)) (Schema, error) {
	var schema Schema
	err := c.retry(ctx, func(ctx context.Context) error {
		return c.try(ctx, func(client *srclient.SchemaRegistryClient) error {
			found, err := call(client)
			if err != nil {
				return err
			}
			if found.Schema() == "" {
				return ErrNoRegistry
			}
			schema = Schema{ID: found.ID(), Version: found.Version(), Text: found.Schema()}
			return nil
		})
	})
	return schema, err
}

// retry repeats try while the surroundings are at fault.
func (c *Client) retry(ctx context.Context, try func(context.Context) error) error {
	wait := backoff.NewExponentialBackOff() // jitter of a half by default
	wait.InitialInterval, wait.MaxInterval = firstWait, longestWait
	var last error
	for {
		err := try(ctx)
		if ctx.Err() != nil && err != nil && last != nil {
			break
		}
		if !Transient(err) && !errors.Is(err, errAskAgain) {
			return err
		}
		last = err
		c.retries.Inc()
		timer := time.NewTimer(wait.NextBackOff())
		select {
		case <-timer.C:
			continue
		case <-ctx.Done():
			timer.Stop()
		}
		break
	}
	return fmt.Errorf("%w while waiting for the schema registry: %w", ctx.Err(), last)
}
