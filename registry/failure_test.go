package registry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"openbank/health"
	"openbank/registry"
)

// faulty answers the first requests with fault and the others as a registry.
func faulty(t *testing.T, times int64, fault http.HandlerFunc) (url string, requests *atomic.Int64) {
	t.Helper()
	requests = &atomic.Int64{}
	good := fake().Handler()
	return serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) <= times {
			fault(w, r)
			return
		}
		good.ServeHTTP(w, r)
	})), requests
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

var transient = map[string]http.HandlerFunc{
	"503 in JSON":                   answer(503, `{"error_code":50003,"message":"no leader"}`),
	"500 without JSON":              answer(500, `<html>`),
	"502 without a body":            answer(502, ``),
	"429":                           answer(429, `{"error_code":429,"message":"slow down"}`),
	"404 of a proxy":                answer(404, `<html>no route</html>`),
	"404 in JSON with HTTP's code":  answer(404, `{"error_code":404,"message":"HTTP 404 Not Found"}`),
	"404 in JSON without a code":    answer(404, `{"title":"nginx"}`),
	"404 in JSON of another form":   answer(404, `"40403"`),
	"success without JSON":          answer(200, `<html>log in</html>`),
	"success with an empty object":  answer(200, `{}`),
	"success with nothing":          answer(200, " null\n"),
	"success cut short":             answer(200, `{"schema":"{\"type\":`),
	"40403 with another status":     answer(503, `{"error_code":40403,"message":"schema not found"}`),
	"a connection that is given up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	"a body that is given up": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "99")
		w.WriteHeader(http.StatusOK)
		panic(http.ErrAbortHandler)
	},
	"a page that is far too long": answer(502, strings.Repeat("x", 3<<20)),
}

func TestTransientErrorsAreTriedAgain(t *testing.T) {
	t.Parallel()
	for name, fault := range transient {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lines := &log{}
			url, requests := faulty(t, 3, fault)
			client := open(t, registry.Config{URLs: []string{url}, Logger: lines.logger()})
			for range 2 { // the second time from memory
				if got, err := client.SchemaByID(soon(t), 7); err != nil || got != text {
					t.Fatalf("got %s, %v", got, err)
				}
			}
			if got := requests.Load(); got != 4 {
				t.Errorf("%d requests, want 4", got)
			}
			shown := lines.lines()
			if len(shown) != 2 || !strings.Contains(shown[0], "does not answer") || !strings.Contains(shown[1], "answers again") {
				t.Errorf("the log: %q", shown)
			}
		})
		t.Run(name+", asked by subject", func(t *testing.T) {
			t.Parallel()
			url, requests := faulty(t, 2, fault)
			client := open(t, registry.Config{URLs: []string{url}})
			for range 2 {
				if got, err := client.Latest(soon(t), subject); err != nil || got.ID != 7 {
					t.Fatalf("got %+v, %v", got, err)
				}
			}
			if got := requests.Load(); got != 4 { // a latest schema is never kept
				t.Errorf("%d requests, want 4", got)
			}
		})
	}
}

func TestARegistryThatStaysAwayIsWaitedForUntilTheContextIsDone(t *testing.T) {
	t.Parallel()
	lines := &log{}
	ctx, stop := context.WithCancel(soon(t))
	tries := 0
	url, requests := faulty(t, 1<<40, func(w http.ResponseWriter, r *http.Request) {
		if tries++; tries == 3 {
			stop()
		}
		answer(503, `{"error_code":50003,"message":"no leader"}`)(w, r)
	})
	client := open(t, registry.Config{URLs: []string{url}, Logger: lines.logger()})
	_, err := client.SchemaByID(ctx, 7)
	var last *registry.Error
	if !errors.Is(err, context.Canceled) || !errors.As(err, &last) || last.Status != 503 || last.Code != 50003 || last.Message != "no leader" {
		t.Errorf("got %v", err)
	}
	if requests.Load() != 3 || len(lines.lines()) != 1 {
		t.Errorf("%d requests, the log: %q", requests.Load(), lines.lines())
	}
}

func TestDecisionsOfTheRegistryAreReturnedAtOnce(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status, code int
		body         string
	}{
		{401, 401, `{"error_code":401,"message":"who?"}`},
		{403, 0, `<html>`},
		{409, 409, `{"error_code":409,"message":"not compatible"}`},
		{422, 42201, `{"error_code":42201,"message":"no schema"}`},
		{400, 0, ``},
	} {
		t.Run(fmt.Sprint(test.status), func(t *testing.T) {
			t.Parallel()
			url, requests := faulty(t, 1<<40, answer(test.status, test.body))
			client := open(t, registry.Config{URLs: []string{url}})
			_, err := client.Register(soon(t), subject, text)
			var refusal *registry.Error
			if !errors.As(err, &refusal) || refusal.Status != test.status || refusal.Code != test.code || registry.Transient(err) {
				t.Errorf("got %v", err)
			}
			if got := requests.Load(); got != 1 {
				t.Errorf("%d requests", got)
			}
		})
	}
}

// A registry that answers, but not us, is of no more use than one that does not answer.
func TestARegistryThatDoesNotLetUsInIsAway(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			lines, board := &log{}, health.New()
			var phase atomic.Pointer[http.HandlerFunc]
			turn := func(to http.HandlerFunc) { phase.Store(&to) }
			url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*phase.Load())(w, r) }))
			client := open(t, registry.Config{URLs: []string{url}, Username: "reader", Password: "hunter2", Logger: lines.logger(), Health: board})
			probe := func(logged int, missing string) {
				t.Helper()
				err := client.Probe(soon(t), subject)
				says := strings.Join(board.Missing(), "\n")
				if (err == nil) != (missing == "") || board.Ready() != (missing == "") || !strings.Contains(says, missing) {
					t.Errorf("%v; missing %q, want %q", err, says, missing)
				}
				if shown := lines.lines(); len(shown) != logged {
					t.Errorf("the log: %q", shown)
				}
				if strings.Contains(says+strings.Join(lines.lines(), ""), "hunter2") {
					t.Errorf("a secret shows: %s, %q", says, lines.lines())
				}
			}
			refuses := answer(status, fmt.Sprintf(`{"error_code":%d,"message":"not reader:hunter2"}`, status))
			away := answer(500, `{"error_code":50001,"message":"no store"}`)
			is := fmt.Sprintf("registry: the registry refuses our credentials, or lacks some: status %d of %s", status, url)
			turn(refuses)
			probe(1, is)
			probe(1, is)
			turn(fake().Handler().ServeHTTP)
			probe(2, "")
			turn(away)
			probe(3, "registry: no answer: ")
			turn(refuses)
			probe(4, is)
			turn(away)
			probe(4, "registry: no answer: ")
			turn(answer(404, `{"error_code":40401,"message":"subject not found"}`))
			probe(5, "")
			for i, want := range []string{"does not let us in", "answers again", "does not answer", "does not let us in", "answers again"} {
				if !strings.Contains(lines.lines()[i], want) {
					t.Errorf("line %d of the log is %q, want %q", i, lines.lines()[i], want)
				}
			}
		})
	}
}

func TestARegistrationWhoseAnswerIsLostIsTheSameTheSecondTime(t *testing.T) {
	t.Parallel()
	r := fake()
	var posts atomic.Int64
	client := open(t, registry.Config{URLs: []string{serve(t, http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if request.Method == http.MethodPost && posts.Add(1) == 1 {
			r.Handler().ServeHTTP(httptest.NewRecorder(), request)
			panic(http.ErrAbortHandler)
		}
		r.Handler().ServeHTTP(w, request)
	}))}})
	id, err := client.Register(soon(t), "new", `"long"`)
	if latest, ok := r.GetSchema("new", 1); err != nil || !ok || latest.ID != id || posts.Load() != 2 {
		t.Errorf("got %d, %v, %d posts", id, err, posts.Load())
	}
}

func TestManyWhoWantTheSameSchemaShareARequest(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	arrived, release := make(chan struct{}), make(chan struct{})
	good := fake().Handler()
	client := open(t, registry.Config{URLs: []string{serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 1 {
			close(arrived)
		}
		<-release
		good.ServeHTTP(w, r)
	}))}})
	impatient, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := client.SchemaByID(impatient, 7)
		left <- err
	}()
	<-arrived // the impatient one's request is the one that all share
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if got, err := client.SchemaByID(soon(t), 7); err != nil || got != text {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the one who left: %v", err)
	}
	close(release)
	group.Wait()
	if got := requests.Load(); got != 1 {
		t.Errorf("%d requests", got)
	}
}

func TestCloseEndsARequestThatIsShared(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	url := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	}))
	client := open(t, registry.Config{URLs: []string{url}, Timeout: time.Minute})
	result := make(chan error, 1)
	go func() {
		_, err := client.SchemaByID(soon(t), 7)
		result <- err
	}()
	<-arrived
	client.Close()
	if err := <-result; err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("got %v", err)
	}
	if _, err := client.SchemaByID(soon(t), 7); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("afterwards: %v", err)
	}
}

func TestErrorsSayWhatWasAsked(t *testing.T) {
	t.Parallel()
	url, _ := faulty(t, 1<<40, answer(422, `{"error_code":42201,"message":"Input schema is an invalid Avro schema"}`))
	client := open(t, registry.Config{URLs: []string{url}})
	_, err := client.Register(soon(t), "s", "{}")
	if want := "registering a schema under s: schema registry " + url + ": status 422, code 42201: Input schema is an invalid Avro schema"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestASchemaThatIsFarTooLongIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	client := open(t, registry.Config{URLs: []string{serve(t, answer(200, `{"schema":"`+strings.Repeat("x", 3<<20)+`"}`))}})
	if _, err := client.SchemaByID(soon(t), 7); !errors.Is(err, registry.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

// Whoever can register schemas can register many.
func TestSchemasAreKeptWithinBounds(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	client := open(t, registry.Config{URLs: []string{serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprintf(w, `{"schema":"%s"}`, strings.Repeat("x", 1<<20))
	}))}})
	for id := range 5 {
		for range 2 {
			if text, err := client.SchemaByID(soon(t), id); err != nil || len(text) != 1<<20 {
				t.Fatalf("%d bytes, %v", len(text), err)
			}
		}
	}
	if n := asked.Load(); n != 5 {
		t.Errorf("%d requests for 5 schemas asked for twice", n)
	}
	if _, err := client.SchemaByID(soon(t), 0); err != nil || asked.Load() != 6 {
		t.Errorf("the first one is kept beyond 4 MB: %d requests, %v", asked.Load(), err)
	}
}
