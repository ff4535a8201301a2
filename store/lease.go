package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"

	"openbank/health"
	"openbank/metric"
)

// Lease is a number, a slot, that no other session has under the same name. A handler's identities in Kafka are made of
// it: so whoever is started in a dead one's place takes its slot and with it its identity, at once, and no two
// handlers that live ever have the same.
//
// It is an advisory lock on a session of its own, which ends with the session: when the process dies, and also when the
// server restarts. Keep takes it again then. That the lease is held when one looks is no proof a moment later; what
// keeps two handlers apart then is Kafka's fencing.
//
// A standby gives such locks too, and they hold nobody off: none is taken there.
type Lease struct {
	s     *Store
	name  string
	slot  int
	held  atomic.Bool
	db    *sqlx.DB // sessions of its own
	lines lines    // and their connections: a server that stands still must not keep us

	ours   *health.Condition
	gauge  *metric.Gauge // 1 while held
	losses *metric.Counter

	mu      sync.Mutex // guards the session
	conn    *sql.Conn
	us      backend
	opened  []backend // since the lease was ours the last time: one may hold it, though the answer that it does was lost
	serving bool      // the session must be one that executes
}

// backend is a session as the server knows it; process ids are used again.
type backend struct {
	pid   int
	since string
}

const (
	// leaseInterval is the time between two looks at the slots.
	leaseInterval = 500 * time.Millisecond
	// leasePatience bounds a look, and each answer: or a server that stands still would go unnoticed.
	leasePatience = 5 * time.Second
)

// Advisory locks of two int4 keys are a space of their own: the first key is the name, the second the slot.
const (
	tryLockSQL = `SELECT pg_try_advisory_lock($1, $2)`
	// Who sees to what a dead handler left holds this while it does, and whoever takes the slot waits for it.
	awaitLockSQL = `SELECT pg_advisory_lock($1, $2)`
	unlockSQL    = `SELECT pg_advisory_unlock($1, $2)`
	heldSlotsSQL = `SELECT CAST(CAST(objid AS bigint) AS int), pid FROM pg_locks
WHERE locktype = 'advisory' AND classid = CAST(CAST($1 AS bigint) AS oid) AND objsubid = 2 AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`
	holderSQL = `SELECT a.pid, coalesce(CAST(a.backend_start AS text), ''), coalesce(host(a.client_addr), 'a local socket'), coalesce(a.application_name, '')
FROM pg_stat_activity a JOIN (` + heldSlotsSQL + `) l (slot, pid) ON a.pid = l.pid WHERE l.slot = $2`
)

// key is a name as the first key of an advisory lock.
func key(name string) int32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return int32(h.Sum32())
}

func (l *Lease) key() int32      { return key("slot of " + l.name) }
func (l *Lease) cleaning() int32 { return key("cleaning of " + l.name) }

// errNoSlot says that every slot is somebody else's.
var errNoSlot = errors.New("every slot is taken")

// Lease takes the lowest free slot of a name, which has so many of them. It waits like Execute, and until there is one.
// Errors: ctx's, or a *FatalError.
func (s *Store) Lease(ctx context.Context, name string, slots int) (*Lease, error) {
	l := &Lease{
		s: s, name: name, slot: -1,
		ours: s.health.Condition(health.Slot), gauge: s.metrics.Gauge("openbank_slot_held"), losses: s.metrics.Counter("openbank_slot_losses_total"),
	}
	l.ours.Fails("no slot of " + name + " is taken yet")
	var err error
	if l.db, err = s.pool(s.settings, 4, leasing, dialer{silence: leasePatience, lines: &l.lines}, onWriter); err != nil {
		return nil, err
	}
	err = s.retry(ctx, func(ctx context.Context) error {
		return l.connect(ctx, func(ctx context.Context) error {
			for slot := range slots {
				taken, err := l.try(ctx, slot)
				if err != nil {
					return err
				}
				if taken {
					l.slot = slot
					return nil
				}
			}
			return fmt.Errorf("%w: %s has %d", errNoSlot, name, slots)
		})
	})
	if err != nil {
		l.Release()
		return nil, err
	}
	return l, nil
}

// onWriter refuses a session with a server where a lock means nothing.
func onWriter(ctx context.Context, conn connection) (driver.Conn, error) {
	return conn, takesWrites(ctx, conn)
}

// Slot is the leased number.
func (l *Lease) Slot() int { return l.slot }

// Held says whether the lease was ours when Keep last looked. While it is not, nothing may be begun under its identity.
func (l *Lease) Held() bool { return l.held.Load() }

// hold notes whether the lease is ours.
func (l *Lease) hold(ours bool) {
	was := l.held.Swap(ours)
	switch {
	case ours:
		l.ours.Holds()
		l.gauge.Set(1)
	case was:
		l.ours.Fails(fmt.Sprintf("the session that holds slot %d of %s is lost: nothing is published until it is back", l.slot, l.name))
		l.gauge.Set(0)
	}
}

// connect opens a session and has take lock something in it.
func (l *Lease) connect(ctx context.Context, take func(context.Context) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.disconnect()
	defer l.lines.until(ctx)()
	conn, err := l.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("opening a session for the lease: %w", err)
	}
	l.conn = conn
	ctx = context.WithoutCancel(ctx) // the end of ctx cuts the line
	var now backend
	err = conn.QueryRowContext(ctx, `SELECT pid, CAST(backend_start AS text) FROM pg_stat_activity WHERE pid = pg_backend_pid()`).Scan(&now.pid, &now.since)
	if err == nil {
		l.opened = append(l.opened, now)
		if l.serving {
			err = l.serve(ctx)
		}
	}
	if err == nil {
		err = take(ctx)
	}
	if err != nil {
		l.disconnect()
		return err
	}
	l.us, l.opened = now, nil
	l.hold(true)
	return nil
}

// Serve has the lease's session count among those that execute, from now on: so hand-back sees a handler that has nothing to do as well,
// and one whose sessions were all lost when the database was handed back ends as soon as it has a session again. Error: a *FatalError.
func (l *Lease) Serve(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.serving {
		return nil
	}
	l.serving = true
	if l.conn == nil {
		return nil // whoever opens the next session sees to it
	}
	defer l.lines.until(ctx)()
	err := l.serve(context.WithoutCancel(ctx))
	var stop *FatalError
	if err != nil && !errors.As(err, &stop) {
		l.disconnect() // Keep opens the next one
		return nil
	}
	return err
}

func (l *Lease) serve(ctx context.Context) error {
	return l.conn.Raw(func(conn any) error { return l.s.serve(ctx, conn.(driver.Conn)) })
}

// disconnect ends the session: a connection that went back to the pool would keep the lock.
func (l *Lease) disconnect() {
	l.hold(false)
	if l.conn == nil {
		return
	}
	_ = l.conn.Raw(func(any) error { return driver.ErrBadConn }) // driver.ErrBadConn has the pool close it
	_ = l.conn.Close()
	l.conn = nil
}

// try takes a slot if it is free, once nobody is left who cleans up in it.
func (l *Lease) try(ctx context.Context, slot int) (taken bool, err error) {
	if err := l.conn.QueryRowContext(ctx, tryLockSQL, l.key(), slot).Scan(&taken); err != nil || !taken {
		return false, wrap("taking a slot", err)
	}
	for _, statement := range []string{awaitLockSQL, unlockSQL} {
		if _, err := l.conn.ExecContext(ctx, statement, l.cleaning(), slot); err != nil {
			return false, fmt.Errorf("waiting for who cleans up in a slot: %w", err)
		}
	}
	return true, nil
}

// Keep holds on to the lease until ctx is done: it looks at the slots twice a second, and takes the slot again when its
// session is lost. freed is called, in a goroutine of Keep's, for each slot that another session had and has no more;
// Keep returns when the last such call did. Error: a *FatalError, when another handler has the slot now.
func (l *Lease) Keep(ctx context.Context, freed func(ctx context.Context, slot int)) error {
	var calls sync.WaitGroup
	defer calls.Wait()
	tick := time.NewTicker(leaseInterval)
	defer tick.Stop()
	var before map[int]bool
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, err := l.look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil || !now[l.slot]:
			l.hold(false)
			l.losses.Inc()
			if err := l.again(ctx); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
			before = nil // all sessions may have ended with ours
			continue
		}
		for slot := range before {
			if !now[slot] {
				calls.Go(func() { freed(ctx, slot) })
			}
		}
		before = now
	}
}

// look reads which slots are taken. Ours counts only when it is our session that has it.
func (l *Lease) look(ctx context.Context) (map[int]bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return nil, driver.ErrBadConn
	}
	ctx, cancel := context.WithTimeout(ctx, leasePatience)
	defer cancel()
	defer l.lines.until(ctx)()
	rows, err := l.conn.QueryContext(context.WithoutCancel(ctx), heldSlotsSQL, int64(uint32(l.key()))) //nolint:sqlclosecheck // eachRow closes them
	if err != nil {
		return nil, err
	}
	held := map[int]bool{}
	err = eachRow(rows, func() error {
		var slot, pid int
		if err := rows.Scan(&slot, &pid); err != nil {
			return err
		}
		if slot != l.slot || pid == l.us.pid {
			held[slot] = true
		}
		return nil
	})
	return held, err
}

// Confirm asks the server whether the lease is ours at this moment, whatever Keep last saw. Error: that it is not, or that the server did
// not say; Keep sees to that.
func (l *Lease) Confirm(ctx context.Context) error {
	now, err := l.look(ctx)
	if err == nil && !now[l.slot] {
		err = errors.New("its session is lost")
	}
	if err != nil {
		return fmt.Errorf("asking whether slot %d is ours: %w", l.slot, err)
	}
	return nil
}

// again takes the very same slot in a new session.
func (l *Lease) again(ctx context.Context) error {
	l.s.surroundings.log.Warn("the session that holds our slot is lost: nothing is published until it is back", "group", l.name, "slot", l.slot)
	err := l.s.retry(ctx, func(ctx context.Context) error {
		return l.connect(ctx, func(ctx context.Context) error {
			taken, err := l.try(ctx, l.slot)
			if err != nil || taken {
				return err
			}
			return l.usurped(ctx)
		})
	})
	if err == nil {
		l.s.surroundings.log.Info("our slot is ours again", "group", l.name, "slot", l.slot)
	}
	return err
}

// usurped tells one of our own sessions, which the server has not noticed to be dead, from another handler's.
func (l *Lease) usurped(ctx context.Context) error {
	var them backend
	var host, application string
	err := l.conn.QueryRowContext(ctx, holderSQL, int64(uint32(l.key())), l.slot).Scan(&them.pid, &them.since, &host, &application)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return errOvertaken // it is free by now
	case err != nil:
		return fmt.Errorf("asking who has our slot: %w", err)
	case them == l.us || slices.Contains(l.opened, them):
		if _, err := l.conn.ExecContext(ctx, `SELECT pg_terminate_backend($1)`, them.pid); err != nil {
			return fmt.Errorf("ending our former session: %w", err)
		}
		return errOvertaken
	}
	return &FatalError{Sentence: fmt.Sprintf("another handler (%s from %s) has taken slot %d of %s while our session with Postgres was lost; this one ends, start it again for a new slot",
		application, host, l.slot, l.name)}
}

// Clean runs f for a slot that nobody has, and has whoever takes it meanwhile wait. It does nothing when the slot is
// taken, or when another one cleans up there already. Errors: f's, or what kept it from being run.
func (l *Lease) Clean(ctx context.Context, slot int, f func(context.Context) error) (err error) {
	defer l.lines.until(ctx)()
	conn, err := l.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("opening a session to clean up: %w", err)
	}
	defer func() {
		if e := conn.Close(); e != nil && !isConnectionError(e) {
			err = errors.Join(err, fmt.Errorf("closing the session: %w", e))
		}
	}()
	asking := context.WithoutCancel(ctx) // the end of ctx cuts the line
	var ours bool
	if err := conn.QueryRowContext(asking, tryLockSQL, l.cleaning(), slot).Scan(&ours); err != nil || !ours {
		return wrap("taking a slot to clean up", err)
	}
	defer func() {
		if _, e := conn.ExecContext(asking, unlockSQL, l.cleaning(), slot); e != nil {
			_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // the lock ends with the session
		}
	}()
	var taken bool
	err = conn.QueryRowContext(asking, `SELECT EXISTS (SELECT FROM (`+heldSlotsSQL+`) l (slot, pid) WHERE slot = $2)`, int64(uint32(l.key())), slot).Scan(&taken)
	if err != nil || taken {
		return wrap("asking whether a slot is taken", err)
	}
	return f(ctx)
}

// Release gives the slot back, whatever state the server is in. It may be called twice.
func (l *Lease) Release() {
	l.lines.cut()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.disconnect()
	_ = l.db.Close() // of sessions that were cut
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
