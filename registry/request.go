package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/riferrei/srclient"

	"openbank/environment"
)

// What the registry says when it has nothing for us.
var (
	ErrUnknownSchema  = errors.New("the schema registry knows no such schema")  // its code 40403
	ErrUnknownSubject = errors.New("the schema registry knows no such subject") // its codes 40401 and 40402
	// ErrTooLarge says that an answer has more than 2 MB, so that it can be no schema that we could use.
	ErrTooLarge = errors.New("the schema registry's answer is larger than 2 MB")
	// ErrNoRegistry says that what answered is something else.
	ErrNoRegistry = errors.New("the answer is not a schema registry's")
)

var (
	errClosed   = errors.New("the schema registry's client is closed")
	errAskAgain = errors.New("the schema registry knows no such schema so far") // does not wrap ErrUnknownSchema: it is not believed yet
)

const (
	codeUnknownSubject = 40401
	codeUnknownVersion = 40402 // some answer this for the latest version of a subject without any
	codeUnknownSchema  = 40403

	// maxAnswer bounds an answer, in bytes: a registry keeps a schema in one record of Kafka, which has 1 MB at most. A list of all
	// subjects may have 20,000 of them.
	maxAnswer  = 2 << 20
	maxMessage = 300 // bytes
)

// Error is an answer of the registry other than success, or the lack of one.
type Error struct {
	URL     string // of the registry, without credentials
	Status  int    // HTTP's; 0 when there was no answer
	Code    int    // the registry's own; 0 when the answer was not JSON with a code
	Message string
	cause   error
}

func (e *Error) Error() string {
	switch {
	case e.Status == 0:
		return fmt.Sprintf("schema registry %s: %s", e.URL, e.Message)
	case e.Code == 0 || e.Code == e.Status:
		return fmt.Sprintf("schema registry %s: status %d: %s", e.URL, e.Status, e.Message)
	}
	return fmt.Sprintf("schema registry %s: status %d, code %d: %s", e.URL, e.Status, e.Code, e.Message)
}

// Unwrap returns why there was no answer, or nil.
func (e *Error) Unwrap() error { return e.cause }

// Transient reports whether err is the surroundings' fault, so that the same request may succeed later.
func Transient(err error) bool {
	var e *Error
	if !errors.As(err, &e) || errors.Is(err, context.Canceled) {
		return false
	}
	switch e.Status {
	case http.StatusNotFound, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true // a 404 with a registry's code is no *Error
	}
	return e.Status < http.StatusMultipleChoices || e.Status >= http.StatusInternalServerError
}

// refusal is an answer that the registry does not let us in; nil when err is none.
func refusal(err error) *Error {
	var e *Error
	if errors.As(err, &e) && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden) {
		return e
	}
	return nil
}

// try makes one request to each URL in turn until one answers, beginning with the one that did so last. That one does not know of a schema is
// believed when no other has it: a member of a registry hears of new ones a little later than the one that took them.
func (c *Client) try(ctx context.Context, call func(*srclient.SchemaRegistryClient) error) error {
	first := c.current.Load()
	var failure, unknown error
	var denies int64
	for i := range int64(len(c.endpoints)) {
		at := (first + i) % int64(len(c.endpoints))
		err := c.request(ctx, c.endpoints[at], call)
		if err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
		switch {
		case Transient(err):
			failure = err
			continue
		case errors.Is(err, ErrUnknownSchema) || errors.Is(err, ErrUnknownSubject):
			unknown, denies = err, at
			continue
		}
		c.current.Store(at)
		switch refused := refusal(err); {
		case refused == nil:
			c.noteAnswer()
		case refused.Status == http.StatusUnauthorized:
			c.noteRefusal(refused)
		} // that this one may not be read says nothing of the others
		return err
	}
	if unknown != nil {
		if failure != nil {
			c.current.Store(denies) // it is what answers
		}
		c.noteAnswer()
		return unknown
	}
	c.noteSilence(failure)
	return failure
}

// request makes one request to one URL. srclient takes no context and forgets the status, so each request gets a client
// of its own around the shared transport; that costs a struct and two maps.
func (c *Client) request(ctx context.Context, to endpoint, call func(*srclient.SchemaRegistryClient) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	exchange := &exchange{context: ctx, transport: c.transport}
	client := srclient.NewSchemaRegistryClient(to.url,
		srclient.WithClient(&http.Client{Transport: exchange, CheckRedirect: sameMethod}),
		srclient.WithPreReqFn(func(request *http.Request) error {
			// On the request rather than in the transport: net/http then drops it when it is redirected to another host.
			if to.authorization != "" {
				request.Header.Set("Authorization", to.authorization)
			}
			return nil
		}))
	client.CachingEnabled(false)
	err := call(client)
	if err == nil {
		return nil
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) && exchange.status == http.StatusOK {
		return ErrTooLarge
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %s: %w", c.timeout, context.DeadlineExceeded)
	}
	return classify(to.url, exchange.status, err)
}

// classify turns srclient's error and the HTTP status (0: no answer) into ours.
func classify(at string, status int, err error) error {
	var said srclient.Error
	if errors.As(err, &said) {
		if status == http.StatusNotFound {
			switch said.Code {
			case codeUnknownSchema:
				return ErrUnknownSchema
			case codeUnknownSubject, codeUnknownVersion:
				return ErrUnknownSubject
			}
		}
		return &Error{URL: at, Status: status, Code: said.Code, Message: cut(said.Message)}
	}
	var failed *url.Error
	if errors.As(err, &failed) {
		return unanswered(at, failed.Err)
	}
	if status >= http.StatusMultipleChoices {
		return &Error{URL: at, Status: status, Message: "the answer is no JSON"}
	}
	return &Error{URL: at, Status: status, Message: cut(err.Error()), cause: err}
}

// unanswered is a request that got no answer, and why, by the setting that it is about when it is about TLS.
func unanswered(at string, cause error) *Error {
	message := cut(cause.Error())
	if reason := environment.RegistryTLSReason(cause); reason != "" {
		message += ": " + reason
	}
	return &Error{URL: at, Message: message, cause: cause}
}

func cut(message string) string {
	if len(message) > maxMessage {
		return strings.ToValidUTF8(message[:maxMessage], "") + "…"
	}
	return message
}

// sameMethod keeps net/http from turning a redirected POST into a GET.
func sameMethod(request *http.Request, via []*http.Request) error {
	if len(via) >= 5 || request.Method != via[0].Method {
		return http.ErrUseLastResponse
	}
	return nil
}

// exchange gives requests a context, bounds the answers and reads them, and remembers the last one's status.
type exchange struct {
	context   context.Context // srclient leaves no other way in
	transport http.RoundTripper
	status    int
}

// RoundTrip implements http.RoundTripper.
func (e *exchange) RoundTrip(request *http.Request) (*http.Response, error) {
	e.status = 0
	response, err := e.transport.RoundTrip(request.WithContext(e.context))
	if err != nil {
		return nil, err // net/http wraps it
	}
	e.status = response.StatusCode
	body := http.MaxBytesReader(nil, response.Body, maxAnswer)
	defer func() { _ = body.Close() }()
	answer, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(bytes.TrimSpace(answer), []byte("null")) { // srclient would follow a nil pointer
		return nil, ErrNoRegistry
	}
	response.Body = io.NopCloser(bytes.NewReader(answer))
	return response, nil
}

func (c *Client) noteSilence(err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.answers.Fails("no answer: " + err.Error())
	reason := environment.RegistryTLSReason(err) // that TLS fails may show only when what was away comes back
	if c.awaySince.IsZero() || reason != "" && reason != c.untrusted {
		c.untrusted = reason
		if c.awaySince.IsZero() {
			c.awaySince = time.Now()
		}
		if errors.Is(err, ErrNoRegistry) || isMissing(err) {
			c.logger.Warn("schema registry does not answer, something else does, waiting for it: SCHEMA_REGISTRY_URL needs the path too where the registry has one, such as /apis/ccompat/v7", "error", err)
			return
		}
		c.logger.Warn("schema registry does not answer, waiting for it", "error", err)
	}
}

// noteRefusal leaves the registry's own words out: they may quote what it was sent.
func (c *Client) noteRefusal(e *Error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.answers.Fails(fmt.Sprintf("the registry refuses our credentials, or lacks some: status %d of %s", e.Status, e.URL))
	if c.awaySince.IsZero() {
		c.awaySince = time.Now()
	}
	if !c.refused {
		c.refused = true
		c.logger.Warn("schema registry does not let us in: correct its user and password or token, or their rights", "url", e.URL, "status", e.Status)
	}
}

func (c *Client) noteAnswer() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if !c.awaySince.IsZero() {
		c.logger.Info("schema registry answers again", "url", c.endpoints[c.current.Load()].url,
			"after", time.Since(c.awaySince).Round(time.Millisecond))
		c.awaySince, c.refused, c.untrusted = time.Time{}, false, ""
		c.answers.Holds()
	}
}
