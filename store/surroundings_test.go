package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"openbank/embedded"
)

func TestEveryErrorHasItsClass(t *testing.T) {
	t.Parallel()
	s := &Store{layout: clojureLayout}
	for want, codes := range map[class]string{
		again:   "40001 40P01",
		wait:    "55P03 57014 57P01 57P02 57P03 25006 08000 08006 53000 53100 53300 58030 XX000 0A000",
		refused: "22001 22003 22021 22P05 23502 23514 23505 54000",
		fatal:   "26000 42P05 42P01 42703 42501 28000 28P01 3D000",
	} {
		for code := range strings.FieldsSeq(codes) {
			err := fmt.Errorf("doing something: %w", &pq.Error{Code: pqerror.Code(code)})
			if got := s.classify(err).class; got != want {
				t.Errorf("%s: class %d, want %d", code, got, want)
			}
		}
	}
	for _, table := range []string{"balance", "cac", "cmt"} {
		if s.classify(&pq.Error{Code: "23505", Table: table}).class != again {
			t.Errorf("a row that is there already in %s: the batch should run again", table)
		}
	}
	for _, err := range []error{driver.ErrBadConn, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, &net.OpError{}, &net.DNSError{}, errors.New("whatever")} {
		if s.classify(err).class != wait {
			t.Errorf("%v: should be waited for", err)
		}
	}
}

// ownServer is a bank on a server that only one test has, and its store's log.
func ownServer(ctx context.Context, t *testing.T) (*embedded.Postgres, *Store, *journal) {
	t.Helper()
	p, err := embedded.StartPostgres(ctx, embedded.PostgresConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})
	log := new(journal)
	s, err := Open(ctx, Config{URL: p.URL(""), Logger: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	return p, s, log
}

func TestPostgresMayDieAndComeBackWhileBatchesAreExecuted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	p, s, log := ownServer(ctx, t)
	a := accounts(t, s, 10, 0)

	// Three sessions pay in 1 cent at a time, each cent once, whatever happens to the server.
	var stop atomic.Bool
	var paid, batches atomic.Int64
	var sessions sync.WaitGroup
	for n := range 3 {
		sessions.Go(func() {
			for offset := int64(0); !stop.Load(); offset++ {
				b := Batch{Progress: []Progress{{Topic: "t", Partition: int32(n), ExecutedTo: offset, PublishedTo: -1}}}
				for i := range 20 {
					c := move(1, "cash", "", a[i%10].IBAN)
					c.Origin = Origin{Topic: "t", Partition: int32(n), Offset: offset*20 + int64(i)}
					b.Commands = append(b.Commands, c)
				}
				outs, err := s.Execute(ctx, b)
				if err != nil {
					t.Error(err)
					return
				}
				for i, out := range outs {
					if out.Disposition != Executed && out.Disposition != Unfinished || len(out.Events) != 1 {
						t.Errorf("%d: %+v", i, out)
					}
				}
				paid.Add(20)
				batches.Add(1)
			}
		})
	}
	progress := func() {
		before := batches.Load()
		await(t, "batches", func() bool { return batches.Load() > before+20 || t.Failed() })
	}
	for range 2 {
		progress()
		p.Kill()
		if err := p.Start(ctx); err != nil {
			t.Fatal(err)
		}
		progress()
		if err := p.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		await(t, "a log line", func() bool { return strings.Contains(log.String(), "waiting") })
		if err := p.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	progress()
	stop.Store(true)
	sessions.Wait()
	r := sound(t, s)
	if r.Inflow != fmt.Sprint(paid.Load()) {
		t.Fatalf("%s cents paid in, want %d", r.Inflow, paid.Load())
	}
	text := log.String()
	if begun, ended := strings.Count(text, "; waiting"), strings.Count(text, "Postgres works again"); ended < 4 || ended > 12 || begun < ended || begun > 2*ended { // a fast shutdown may still let one batch through
		t.Fatalf("%d states begun, %d ended:\n%s", begun, ended, text)
	}
}

func TestOpenWaitsForAServerThatIsNotThereYet(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	u, err := url.Parse(database(t))
	if err != nil {
		t.Fatal(err)
	}
	target := u.Host
	u.Host = address
	log := new(journal)
	opened := make(chan error, 1)
	go func() {
		s, err := Open(t.Context(), Config{URL: u.String(), Logger: log.logger()})
		if err == nil {
			err = s.Close()
		}
		opened <- err
	}()
	await(t, "a log line", func() bool { return strings.Contains(log.String(), "Postgres does not answer; waiting") })

	if l, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target}
	p.sessions.Go(p.accept)
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	p.cut()
	p.sessions.Wait()
	text := log.String()
	if strings.Count(text, "waiting") != 1 || strings.Count(text, "works again") != 1 {
		t.Fatal(text)
	}
	password, _ := u.User.Password()
	if strings.Contains(text, password) {
		t.Fatal("the password is in the log: " + text)
	}
}

func TestOpenGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := Open(ctx, Config{URL: "postgres://u:secret@127.0.0.1:1/db", Logger: new(journal).logger()})
	if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "secret") {
		t.Fatal(err)
	}
}

func TestAWrongURLIsFatalAndNamesTheSetting(t *testing.T) {
	t.Parallel()
	right := database(t)
	u, err := url.Parse(right)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*url.URL)) string {
		other := *u
		change(&other)
		return other.String()
	}
	for name, c := range map[string]struct{ url, says string }{
		"a wrong password":                {with(func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "hunter2") }), "correct the user or the password"},
		"an unknown user":                 {with(func(u *url.URL) { u.User = url.UserPassword("nobody", "hunter2") }), "correct the user or the password"},
		"an unknown user with a colon":    {with(func(u *url.URL) { u.User = url.User("nobody:hunter2") }), "DATABASE_URL (postgres://***:***@"},
		"a # in the password":             {"postgres://u:4711#hunter2@127.0.0.1:1/db", "should look like"},
		"a ? in the password":             {"postgres://u:4711?hunter2@127.0.0.1:1/db", "should look like"},
		"a key in place of its path":      {with(func(u *url.URL) { u.RawQuery = "sslkey=-----BEGIN+KEY-----%0Ahunter2" }), "the sslkey of DATABASE_URL holds a key or certificate itself"},
		"an unknown database":             {with(func(u *url.URL) { u.Path = "nowhere" }), "there is no such database"},
		"not a URL":                       {"postgres://u:hunter2@host:port:port/x", "should look like"},
		"a server without TLS":            {with(func(u *url.URL) { u.RawQuery = "sslmode=require" }), "TLS"},
		"a certificate that is not there": {with(func(u *url.URL) { u.RawQuery = "sslmode=verify-full&sslrootcert=/nowhere/ca.crt" }), "TLS"},
		"a setting that there is not":     {with(func(u *url.URL) { u.RawQuery = "sslmode=disable&no_such_setting=1" }), "DATABASE_URL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err := Open(ctx, Config{URL: c.url, Logger: new(journal).logger()})
			stop := (*FatalError)(nil)
			if !errors.As(err, &stop) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "DATABASE_URL") {
				t.Fatal(err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Fatal("the password shows: ", err)
			}
		})
	}
}

func TestAServerThatSaysNothingIsGivenUp(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c, err := dialer{silence: 20 * time.Millisecond}.DialTimeout("tcp", l.Addr().String(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, err = c.Read(make([]byte, 1))
	if timeout := net.Error(nil); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatal("the driver's own deadline did not hold:", err)
	case <-time.After(100 * time.Millisecond):
	}
	_ = c.Close()
	if err := <-done; err == nil {
		t.Error("read from a closed connection")
	}
}

func TestASessionKeepsItsOwnSettings(t *testing.T) {
	t.Parallel()
	u := database(t)
	s := open(t, u+"&statement_timeout=7s&synchronous_commit=off")
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"enable_seqscan": "off", "jit": "off", "lock_timeout": "10s", "statement_timeout": "7s",
		"idle_in_transaction_session_timeout": "30s", "tcp_keepalives_idle": "10", "synchronous_commit": "on", "open_bank.handler": "on",
		"plan_cache_mode": "force_generic_plan", "tcp_user_timeout": "20000", // since PostgreSQL 12
	} {
		var got *string
		if err := s.executing.GetContext(t.Context(), &got, `SELECT current_setting($1, true)`, name); err != nil {
			t.Fatal(err)
		}
		if got == nil && server.Version() < 12 {
			continue
		}
		if *got != want {
			t.Errorf("%s is %s, want %s", name, *got, want)
		}
	}
}
