package store

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"openbank/bank"
	"openbank/embedded"
	"openbank/embedded/embeddedtest"
)

func lease(t *testing.T, s *Store, slots int) *Lease {
	t.Helper()
	l, err := s.Lease(t.Context(), "group", slots)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Release)
	return l
}

// keep runs Keep until the test ends, and tells which slots were freed.
func keep(t *testing.T, l *Lease) <-chan int {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	freed, ended := make(chan int, 100), make(chan error, 1)
	go func() { ended <- l.Keep(ctx, func(_ context.Context, slot int) { freed <- slot }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return freed
}

func TestEachHandlerHasASlotOfItsOwnAndASuccessorTakesItOver(t *testing.T) {
	t.Parallel()
	url := database(t)
	one, two, three := open(t, url), open(t, url), open(t, url)
	first, second := lease(t, one, 10), lease(t, two, 10)
	if first.Slot() != 0 || second.Slot() != 1 {
		t.Fatalf("slots %d and %d", first.Slot(), second.Slot())
	}
	other, err := three.Lease(t.Context(), "another group", 10)
	if err != nil || other.Slot() != 0 {
		t.Fatalf("another group's slot is %v, %v", other, err)
	}
	defer other.Release()

	first.Release()
	successor(t, three, 0)
}

// successor takes a slot once the server has noticed that its session is gone.
func successor(t *testing.T, s *Store, slot int) {
	t.Helper()
	var l *Lease
	await(t, "the slot", func() bool {
		if l = lease(t, s, 10); l.Slot() != slot {
			l.Release()
		}
		return l.Slot() == slot
	})
}

func TestASlotThatItsHandlerLeftIsTold(t *testing.T) {
	t.Parallel()
	url := database(t)
	one, two := open(t, url), open(t, url)
	first, second := lease(t, one, 10), lease(t, two, 10)
	freed := keep(t, second)
	looked := func() (at string) {
		one.query(t, &at, `SELECT CAST(query_start AS text) FROM pg_stat_activity WHERE pid = $1`, second.us.pid)
		return at
	}
	for range 2 { // the first of them has seen the other's slot
		last := looked()
		await(t, "a look", func() bool { return looked() != last })
	}
	first.Release()
	if slot := <-freed; slot != 0 {
		t.Errorf("slot %d was freed", slot)
	}
}

func TestALostSessionIsReplacedAndTheSlotKept(t *testing.T) {
	t.Parallel()
	url := database(t)
	s := open(t, url)
	l := lease(t, s, 10)
	keep(t, l)
	s.exec(t, `SELECT pg_terminate_backend($1)`, l.us.pid)
	before := l.us
	await(t, "the slot in a new session", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.Held() && l.us != before
	})
	if l.Slot() != 0 {
		t.Errorf("slot %d", l.Slot())
	}
	if next := lease(t, s, 10); next.Slot() != 1 {
		t.Errorf("the next handler has slot %d", next.Slot())
	}
}

func TestOurFormerSessionDoesNotKeepUsFromOurSlot(t *testing.T) {
	t.Parallel()
	s := open(t, database(t))
	l := lease(t, s, 10)
	former, before := l.conn, l.us
	l.conn = nil // as when the network forgot the connection, and the server did not notice
	if err := l.again(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !l.Held() || l.us == before {
		t.Errorf("held: %v, in session %v after %v", l.Held(), l.us, before)
	}
	_ = former.Close()
}

// On a standby a slot could be taken by one handler, and by another one from the server that it replays.
func TestNoSlotIsTakenWhereNothingCanBeWritten(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		says string
		turn func(context.Context, *testing.T, *embedded.Postgres) (back func())
	}{
		"a standby": {"the server is a standby", standBy},
		"a server that is set to be read": {"default_transaction_read_only is on", func(ctx context.Context, t *testing.T, p *embedded.Postgres) func() {
			superuser := embeddedtest.Database(t, p.URL("")+"&default_transaction_read_only=off")
			set := func(to string) {
				must(t, superuser, `ALTER SYSTEM SET default_transaction_read_only = `+to)
				must(t, superuser, `SELECT pg_reload_conf()`)
			}
			set("on")
			fresh := embeddedtest.Database(t, p.URL(""))
			fresh.SetMaxIdleConns(-1)
			await(t, "the setting in new sessions", func() (on bool) {
				if err := fresh.QueryRowContext(ctx, `SELECT current_setting('transaction_read_only') = 'on'`).Scan(&on); err != nil {
					t.Fatal(err)
				}
				return on
			})
			must(t, superuser, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'open-bank' AND pid <> pg_backend_pid()`)
			return func() { set("off") }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			p, s, _ := ownServer(ctx, t)
			l := lease(t, s, 10)
			keep(t, l)
			back := c.turn(ctx, t, p)
			missing := func() string { return strings.Join(s.health.Missing(), "\n") }
			await(t, "what is missing", func() bool {
				return strings.Contains(missing(), "postgres: "+stateReadOnly) && strings.Contains(missing(), c.says) && strings.Contains(missing(), "slot: the session that holds slot 0")
			})
			if l.Held() {
				t.Error("the slot is held")
			}
			second, leave := context.WithCancel(ctx)
			taken := make(chan error, 1)
			go func() {
				l, err := s.Lease(second, "another group", 10)
				if err == nil {
					l.Release()
				}
				taken <- err
			}()
			await(t, "a second handler's condition", func() bool { return strings.Contains(missing(), "no slot of another group is taken yet") })
			leave()
			if err := <-taken; err == nil {
				t.Error("another slot was taken")
			}
			back()
			await(t, "the slot", l.Held)
		})
	}
}

func TestASlotThatAnotherTookMeanwhileIsFatal(t *testing.T) {
	t.Parallel()
	url := database(t)
	one, two := open(t, url), open(t, url)
	l := lease(t, one, 10)
	l.disconnect()
	successor(t, two, 0)
	var stop *FatalError
	if err := l.again(t.Context()); !errors.As(err, &stop) || !strings.Contains(err.Error(), "slot 0 of group") {
		t.Fatal(err)
	}
}

func TestAnIdentityThatAnotherHasIsWaitedFor(t *testing.T) {
	t.Parallel()
	url := database(t)
	holder := lease(t, open(t, url), 1)
	log := new(journal)
	waiting, err := Open(t.Context(), Config{URL: url, Logger: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = waiting.Close() }()
	got := make(chan error, 1)
	go func() {
		l, err := waiting.Lease(t.Context(), "group", 1)
		if err == nil {
			l.Release()
		}
		got <- err
	}()
	await(t, "a log line", func() bool { return strings.Contains(log.String(), "other handlers have this identity; waiting") })
	holder.Release()
	if err := <-got; err != nil {
		t.Fatal(err)
	}
}

func TestWhoTakesASlotWaitsForWhoCleansUpInIt(t *testing.T) {
	t.Parallel()
	url := database(t)
	one, two := open(t, url), open(t, url)
	first, second := lease(t, one, 10), lease(t, two, 10)
	never := func(context.Context) error { return errors.New("this must not be run") }
	if err := second.Clean(t.Context(), first.Slot(), never); err != nil {
		t.Fatal("in a slot that is taken:", err)
	}
	isTaken := func() bool {
		now, err := second.look(t.Context())
		return err == nil && now[0]
	}
	first.Release()
	await(t, "the slot is free", func() bool { return !isTaken() })

	taken := make(chan error, 1)
	err := second.Clean(t.Context(), 0, func(ctx context.Context) error {
		go func() {
			l, err := one.Lease(ctx, "group", 10)
			if err == nil {
				l.Release()
			}
			taken <- err
		}()
		// It has the slot, and waits for us.
		await(t, "the successor", isTaken)
		await(t, "the successor waits", func() (waits bool) {
			one.query(t, &waits, `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)`)
			return waits
		})
		return second.Clean(ctx, 0, never)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-taken; err != nil {
		t.Fatal(err)
	}
}

// freeze stops a session's process until the test ends: its connection stays open, and nothing is answered.
func freeze(t *testing.T, b backend) {
	t.Helper()
	if err := syscall.Kill(b.pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(b.pid, syscall.SIGCONT) })
}

func TestALookAtAServerThatStandsStillEnds(t *testing.T) {
	t.Parallel()
	l := lease(t, open(t, database(t)), 10)
	freeze(t, l.us)
	begin := time.Now()
	if _, err := l.look(t.Context()); err == nil {
		t.Fatal("the server answered")
	}
	if took := time.Since(begin); took > leasePatience+time.Second {
		t.Errorf("a look took %s", took)
	}
}

func TestALeaseIsGivenUpAtOnceWhenTheServerStandsStill(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*Lease, context.CancelFunc){
		"Keep is told to end": func(_ *Lease, cancel context.CancelFunc) { cancel() },
		"it is released":      func(l *Lease, _ context.CancelFunc) { l.Release() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := lease(t, open(t, database(t)), 10)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			freeze(t, l.us)
			looked := make(chan error, 1)
			go func() {
				_, err := l.look(ctx)
				looked <- err
			}()
			await(t, "a look", func() bool {
				if l.mu.TryLock() {
					l.mu.Unlock()
					return false
				}
				return true
			})
			begin := time.Now()
			end(l, cancel)
			if err := <-looked; err == nil {
				t.Error("the server answered")
			}
			l.Release()
			if took := time.Since(begin); took > time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestAStoreIsClosedInTimeWhenTheServerStandsStill(t *testing.T) {
	t.Parallel()
	s := migrated(t)
	execute(t, s, create(bank.Auto))
	var pids []int
	if err := sqlx.SelectContext(t.Context(), s.reading, &pids, `SELECT pid FROM pg_stat_activity WHERE datname = current_database()`); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		freeze(t, backend{pid: pid})
	}
	begin := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > closePatience+time.Second {
		t.Errorf("it took %s", took)
	}
}
