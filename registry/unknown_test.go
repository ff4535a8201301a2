package registry_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"openbank/registry"
)

func TestWhatIsUnknownIsNotKept(t *testing.T) {
	t.Parallel()
	r := fake()
	client := open(t, registry.Config{URLs: []string{serve(t, r.Handler())}})
	if _, err := client.SchemaByID(soon(t), 8); !errors.Is(err, registry.ErrUnknownSchema) || registry.Transient(err) {
		t.Fatalf("got %v", err)
	}
	r.SeedSchema("later", 1, 8, sr.Schema{Schema: `"long"`})
	if got, err := client.SchemaByID(soon(t), 8); err != nil || got != `"long"` {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestARegisteredSchemaThatTheNextMemberDoesNotKnowYet(t *testing.T) {
	t.Parallel()
	r := fake()
	var gets atomic.Int64
	client := open(t, registry.Config{URLs: []string{serve(t, http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if request.Method == http.MethodGet && gets.Add(1) <= 2 {
			answer(404, `{"error_code":40403,"message":"schema not found"}`)(w, request)
			return
		}
		r.Handler().ServeHTTP(w, request)
	}))}})
	if id, err := client.Register(soon(t), subject, text); err != nil || id != 7 {
		t.Errorf("got %d, %v", id, err)
	}
}

func TestAnUnknownSchemaIsBelievedAfterAWhile(t *testing.T) {
	t.Parallel()
	const unknown = `{"error_code":40403,"message":"Schema not found"}`
	for name, c := range map[string]struct {
		// answers by number of the request; the last one repeats
		answers []http.HandlerFunc
		known   bool
	}{
		"denied throughout":              {answers: []http.HandlerFunc{answer(404, unknown)}},
		"there after all":                {answers: []http.HandlerFunc{answer(404, unknown), answer(404, unknown), answer(200, `{"schema":"\"long\""}`)}, known: true},
		"a failure begins the time anew": {answers: []http.HandlerFunc{answer(404, unknown), answer(404, "<html>"), answer(503, ""), answer(404, unknown)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var count int
			var lastFailure, end time.Time
			url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				at := min(count, len(c.answers)-1)
				count++
				if at > 0 && at == count-1 {
					lastFailure = time.Now()
				}
				mu.Unlock()
				c.answers[at](w, r)
			}))
			const after = 400 * time.Millisecond
			start := time.Now()
			client := open(t, registry.Config{URLs: []string{url}, UnknownAfter: after})
			_, err := client.SchemaByID(soon(t), 8)
			end = time.Now()
			if c.known {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, registry.ErrUnknownSchema) {
				t.Fatalf("got %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			if lastFailure.After(start) {
				start = lastFailure
			}
			if took := end.Sub(start); took < after {
				t.Errorf("believed after %s", took)
			}
		})
	}
}

func TestAnUnknownSchemaIsNotBelievedByACallerWhoLeaves(t *testing.T) {
	t.Parallel()
	client := open(t, registry.Config{URLs: []string{serve(t, fake().Handler())}, UnknownAfter: time.Minute})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := client.SchemaByID(ctx, 999); errors.Is(err, registry.ErrUnknownSchema) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// Garbage has any number of ids. Only the first ones get the time that a member of a registry may need.
func TestAFloodOfUnknownSchemasIsBelievedSoon(t *testing.T) {
	t.Parallel()
	const after = 200 * time.Millisecond
	client := open(t, registry.Config{URLs: []string{serve(t, fake().Handler())}, UnknownAfter: after})
	deny := func(id int) time.Duration {
		t.Helper()
		start := time.Now()
		if _, err := client.SchemaByID(soon(t), id); !errors.Is(err, registry.ErrUnknownSchema) {
			t.Fatalf("got %v", err)
		}
		return time.Since(start)
	}
	start := time.Now()
	if took := deny(1000); took < after {
		t.Errorf("the first one is believed after %s", took)
	}
	if took := deny(1000); took >= after {
		t.Errorf("it is believed the second time after %s", took)
	}
	for id := range 2000 {
		deny(10_000 + id)
	}
	if took := time.Since(start); took > 50*after+10*time.Second {
		t.Errorf("2,000 took %s", took)
	}
	if text, err := client.SchemaByID(soon(t), 7); err != nil || text == "" {
		t.Errorf("one that is there: %q, %v", text, err)
	}
}
