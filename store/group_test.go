package store

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"openbank/bank"
	"openbank/embedded/embeddedtest"
	"openbank/predecessor"
)

// openFor opens a store for the handlers of a group.
func openFor(t *testing.T, group string, c Config) *Store {
	t.Helper()
	c.Group, c.Logger = group, new(journal).logger()
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// keptOff wants an error that names who is in charge and says what to do.
func keptOff(t *testing.T, err error, by, group string) {
	t.Helper()
	var stop *FatalError
	if !errors.As(err, &stop) {
		t.Fatalf("a handler of %s beside one of %s: %v", group, by, err)
	}
	for _, want := range []string{"handlers of another consumer group have this database: Postgres session ", "program open-bank of group " + by, "this one is of group " + group, "Set KAFKA_GROUP", "stop them first"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("it does not say %q: %v", want, err)
		}
	}
}

// noneOf waits until the server has noticed that a group's sessions are gone.
func noneOf(t *testing.T, url, group string) {
	t.Helper()
	db := embeddedtest.Database(t, url)
	await(t, "the end of its sessions", func() (none bool) {
		if err := db.QueryRowContext(t.Context(), `SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'open-bank of group ' || $1 AND datname = current_database()`, group).Scan(&none); err != nil {
			t.Fatal(err)
		}
		return none
	})
}

func TestOneGroupAtATimeExecutes(t *testing.T) {
	t.Parallel()
	url := database(t)
	one, sibling, other := openFor(t, "one", Config{URL: url}), openFor(t, "one", Config{URL: url}), openFor(t, "other", Config{URL: url, Unguarded: true})
	for _, s := range []*Store{one, sibling} {
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	keptOff(t, other.Migrate(t.Context()), "one", "other")
	guarded := false
	if one.query(t, &guarded, `SELECT EXISTS (SELECT FROM pg_trigger WHERE tgfoid = CAST('refuse_others' AS regproc))`); !guarded {
		t.Error("it has taken the guard off a database that is not its")
	}
	_, err := other.Execute(t.Context(), Batch{Commands: []Command{create(bank.Auto)}})
	keptOff(t, err, "one", "other")
	execute(t, one, create(bank.Auto))
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	keptOff(t, other.Migrate(t.Context()), "one", "other") // the sibling is there
	execute(t, sibling, create(bank.Auto))

	// The last of a group leaves nothing behind, and the tools are of no group.
	if err := sibling.Close(); err != nil {
		t.Fatal(err)
	}
	noneOf(t, url, "one")
	if err := other.Migrate(t.Context()); err != nil {
		t.Fatal("after the others had stopped:", err)
	}
	execute(t, other, create(bank.Auto))
	tool := open(t, url)
	if err := tool.Migrate(t.Context()); err != nil {
		t.Error("migrate beside a handler:", err)
	}
	if r, err := tool.Verify(t.Context()); err != nil || !r.OK() {
		t.Errorf("%+v, %v", r, err)
	}
	if err := errors.Join(other.Close(), tool.Close()); err != nil {
		t.Fatal(err)
	}
	noneOf(t, url, "other")
	await(t, "hand-back", func() bool { return open(t, url).HandBack(t.Context()) == nil })
}

// Handlers of the two layouts keep two banks, though in one database, and so do those of two schemas.
func TestEachBankHasAGroupOfItsOwn(t *testing.T) {
	t.Parallel()
	url := database(t)
	for _, schema := range []string{"one", "other"} {
		open(t, url).exec(t, `CREATE SCHEMA `+schema)
		s := openFor(t, schema, Config{URL: url + "&search_path=" + schema})
		if err := s.Migrate(t.Context()); err != nil {
			t.Error(err)
		}
		execute(t, s, create(bank.Auto))
	}
	for i, o := range predecessorsBank(t, predecessor.Clojure, predecessor.Rust) {
		s := openFor(t, []string{"one", "other"}[i], Config{URL: o.url, Layout: []string{"clojure", "rust"}[i]})
		if err := s.Migrate(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// All sessions end with the server. Who is back first is in charge then, and one that was before ends, whatever it had under way.
func TestAGroupThatLostItsSessionsEndsWhenAnotherIsInCharge(t *testing.T) {
	t.Parallel()
	url := database(t)
	one, other := openFor(t, "one", Config{URL: url}), openFor(t, "other", Config{URL: url})
	if err := one.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := lease(t, one, 1)
	if err := l.Serve(t.Context()); err != nil {
		t.Fatal(err)
	}
	one.renew() // the session that holds the slot is all that is left
	keptOff(t, other.Migrate(t.Context()), "one", "other")
	one.exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'open-bank of group one' AND datname = current_database() AND pid <> pg_backend_pid()`)
	await(t, "the other group, once they are noticed to be gone", func() bool { return other.Migrate(t.Context()) == nil })
	keptOff(t, l.again(t.Context()), "other", "one")
	_, err := one.Execute(t.Context(), Batch{Commands: []Command{create(bank.Auto)}})
	keptOff(t, err, "other", "one")
	if l.Held() {
		t.Error("it holds its slot")
	}
}

// However many handlers begin at one moment, one group's are let in, and all of them.
func TestGroupsThatBeginAtOnceAreNotBothLetIn(t *testing.T) {
	t.Parallel()
	url := database(t)
	if err := open(t, url).Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		const handlers = 8
		var stores [handlers]*Store
		var in [handlers]error
		var begun sync.WaitGroup
		begin := make(chan struct{})
		for i := range handlers {
			stores[i] = openFor(t, []string{"one", "other"}[i%2], Config{URL: url})
			begun.Go(func() {
				<-begin
				in[i] = stores[i].lend(t.Context(), func(*session) error { return nil })
			})
		}
		close(begin)
		begun.Wait()
		var stop *FatalError
		for i, err := range in {
			if err != nil && !errors.As(err, &stop) || (err == nil) != (in[i%2] == nil) {
				t.Errorf("round %d: handler %d of %s: %v", round, i, stores[i].group, err)
			}
		}
		if (in[0] == nil) == (in[1] == nil) {
			t.Errorf("round %d: both groups or none: %v, %v", round, in[0], in[1])
		}
		for _, s := range stores {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		noneOf(t, url, "one")
		noneOf(t, url, "other")
	}
}

// Between looking for another group and taking its lock a session is alone: one that comes meanwhile waits, and sees what was taken.
func TestWhoLooksForAnotherGroupWaitsForWhoDoesSo(t *testing.T) {
	t.Parallel()
	url := database(t)
	one, other := openFor(t, "one", Config{URL: url}), openFor(t, "other", Config{URL: url})
	if err := open(t, url).Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := one.reading.Connx(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	do := func(statement string, args ...any) {
		t.Helper()
		if _, err := conn.ExecContext(t.Context(), statement, args...); err != nil {
			t.Fatal(err)
		}
	}
	do(one.layout.sql(`SELECT pg_advisory_lock($1, b.key) FROM `+bankKeySQL), deciding)
	in := make(chan error, 1)
	go func() { in <- other.lend(t.Context(), func(*session) error { return nil }) }()
	await(t, "the other", func() (waits bool) {
		one.query(t, &waits, `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`)
		return waits
	})
	do(one.layout.sql(`SELECT pg_advisory_lock_shared(b.key, $1) FROM `+bankKeySQL), key("one"))
	do(one.layout.sql(`SELECT pg_advisory_unlock($1, b.key) FROM `+bankKeySQL), deciding)
	keptOff(t, <-in, "one", "other")
}
