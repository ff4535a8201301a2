package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"openbank/certs"
)

// Question is one request of the registry's REST API that the other methods do not make.
type Question struct {
	Method string
	// Path is in elements, which are escaped: {"subjects", name, "versions"}.
	Path  []string
	Query url.Values
	Body  any // JSON; nil for none
	// Tries is how often it is asked while the surroundings are at fault. 0: until the context is done. What is not
	// idempotent must be asked once.
	Tries int
}

// contentType is the registry's own; some want it.
const contentType = "application/vnd.schemaregistry.v1+json"

// missingTries is how often a 404 without one of the registry's codes is asked again: a proxy may say so while a registry starts, and
// a wrong URL says nothing else.
const missingTries = 5

// Ask puts a question and reads the answer, JSON, into answer. What waiting does not mend is told at once: a certificate that does
// not fit, ours or theirs, and an answer that is no registry's, such as a web page. Errors are those of the other methods; what the registry decided is an *Error with its code, but for
// ErrUnknownSubject and ErrUnknownSchema.
func (c *Client) Ask(ctx context.Context, question Question, answer any) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = firstWait, longestWait
	var last error
	for try := 1; ; try++ {
		err := c.putToAll(ctx, question, answer)
		if err != nil && ctx.Err() != nil {
			if last == nil {
				return fmt.Errorf("asking the schema registry %s: %w", c.endpoints[c.current.Load()].url, ctx.Err())
			}
			return fmt.Errorf("%w while waiting for the schema registry: %w", ctx.Err(), last)
		}
		if !worthAsking(err) || try == question.Tries || try == missingTries && isMissing(err) {
			return err
		}
		last = err
		timer := time.NewTimer(wait.NextBackOff())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w while waiting for the schema registry: %w", ctx.Err(), last)
		}
	}
}

// worthAsking says whether the same question may be answered later. A 404 with one of the registry's codes was its decision.
func worthAsking(err error) bool {
	var e *Error
	if !Transient(err) || certs.IsTLSFault(err) || !errors.As(err, &e) {
		return false
	}
	if errors.Is(err, ErrNoRegistry) && e.Status < http.StatusBadRequest { // a gateway's page with an error is about a registry that is not there yet
		return false
	}
	return e.Status != http.StatusNotFound || e.Code < http.StatusNotFound*100
}

func isMissing(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

// putToAll asks each URL in turn until one answers, beginning with the one that did so last.
func (c *Client) putToAll(ctx context.Context, question Question, answer any) error {
	first := c.current.Load()
	var failure error
	for i := range int64(len(c.endpoints)) {
		at := (first + i) % int64(len(c.endpoints))
		err := c.put(ctx, c.endpoints[at], question, answer)
		if err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
		if !worthAsking(err) {
			c.current.Store(at)
			if err == nil || !Transient(err) {
				c.noteAnswer()
			}
			return err
		}
		failure = err
	}
	if question.Tries != 1 {
		c.noteSilence(failure)
	}
	return failure
}

func (c *Client) put(ctx context.Context, to endpoint, question Question, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var body io.Reader
	if question.Body != nil {
		text, err := json.Marshal(question.Body)
		if err != nil {
			return fmt.Errorf("writing a request to the schema registry: %w", err)
		}
		body = bytes.NewReader(text)
	}
	address := to.url
	for _, element := range question.Path {
		address += "/" + url.PathEscape(element)
	}
	if len(question.Query) > 0 {
		address += "?" + question.Query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, question.Method, address, body)
	if err != nil {
		return fmt.Errorf("writing a request to the schema registry: %w", err)
	}
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("Accept", contentType+", application/json")
	if to.authorization != "" {
		request.Header.Set("Authorization", to.authorization)
	}
	response, err := (&http.Client{Transport: c.transport, CheckRedirect: sameMethod}).Do(request)
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("no answer within %s: %w", c.timeout, context.DeadlineExceeded)
		}
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err // without the URL, which is said besides
		}
		return unanswered(to.url, err)
	}
	defer func() { _ = response.Body.Close() }() // it was read as far as it matters
	text, err := io.ReadAll(http.MaxBytesReader(nil, response.Body, maxAnswer))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return fmt.Errorf("%s: %w", to.url, ErrTooLarge)
	}
	if err != nil {
		return unanswered(to.url, err)
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return decided(to.url, response.StatusCode, text)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return noRegistry(to.url, response.StatusCode, text)
	}
	return nil
}

// noRegistry is an answer that none gives.
func noRegistry(at string, status int, text []byte) error {
	what := "another JSON"
	if !json.Valid(text) {
		what = "no JSON"
	}
	beginning := strings.Join(strings.Fields(string(text[:min(len(text), maxMessage)])), " ")
	switch {
	case strings.HasPrefix(beginning, "<"):
		what = "a web page"
	case beginning == "":
		what = "nothing"
	default:
		what += ": " + strconv.QuoteToGraphic(strings.ToValidUTF8(beginning, ""))
	}
	return &Error{URL: at, Status: status, Message: ErrNoRegistry.Error() + ", but " + what, cause: ErrNoRegistry}
}

// decided is an answer that is no success.
func decided(at string, status int, text []byte) error {
	var said struct {
		Code    int    `json:"error_code"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return noRegistry(at, status, text)
	}
	if status == http.StatusNotFound {
		switch said.Code {
		case codeUnknownSchema:
			return ErrUnknownSchema
		case codeUnknownSubject, codeUnknownVersion:
			return ErrUnknownSubject
		}
	}
	if said.Message == "" {
		return noRegistry(at, status, text)
	}
	return &Error{URL: at, Status: status, Code: said.Code, Message: cut(said.Message)}
}
