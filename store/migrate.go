package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lib/pq"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	// lockTimeout is how long a change of a table waits for those who use it: for as long, all others queue up behind it.
	lockTimeout = 500 * time.Millisecond
	// lockPause is how long they then have for themselves.
	lockPause = 500 * time.Millisecond
	// migrationPause is how long a transaction that changes tables may stand between two statements before the server gives it up: its process
	// is paused, or gone without a word.
	migrationPause = 3 * time.Second
	// openingChunk is how many accounts get their opening entry in one transaction, which locks their rows.
	openingChunk = 5000
	// poll is how often a lock is tried that another one holds who migrates. It must not be waited for in a statement:
	// the other one's CREATE INDEX CONCURRENTLY waits for every statement that has begun.
	poll = 100 * time.Millisecond
)

// Migrate puts this handler in charge of the database: a fresh one, one of the handlers of 2019, one that was handed back
// to them, one of an earlier version of this handler. What is missing is found in the catalogue and made, in this order,
// each step a short transaction; so a call that was cut short is finished by the next one, and of several at the same time
// one does the work and the others wait for it:
//
//	tables    of the handlers of 2019 and the company account, all in one transaction: only in a fresh database
//	columns   and tables and a sequence of ours                                                   ALTER TABLE, short
//	index     unique, on the IBANs: they are looked through for duplicates, and then   CREATE UNIQUE INDEX CONCURRENTLY
//	guard     a trigger that refuses everybody else's writes; from here on we are in charge       CREATE TRIGGER, short
//	openings  every account's balance at that moment, some thousand in one transaction                    UPDATE
//	grants    to Config.Grantee
//	ready     handlers may execute
//
// Nothing rewrites a table. A change that would have to wait for others gives way to them and tries again.
// Errors: ctx's, or a *FatalError: privileges are lacking, two accounts have the same IBAN, tables that are no bank's.
func (s *Store) Migrate(ctx context.Context) error {
	return s.migrating(ctx, func(m *migration) error {
		// Before anything is changed: it may be another group's.
		if err := m.conn.Raw(func(conn any) error { return s.keptOff(ctx, conn.(driver.QueryerContext)) }); err != nil {
			return err
		}
		if err := m.run(ctx); err != nil {
			return err
		}
		// A session that executes, before another one may hand the database back.
		return s.lend(ctx, func(*session) error { return nil })
	})
}

// migration is a session that alone may change the tables.
type migration struct {
	*Store
	conn *sql.Conn
	at   string // for sentences
	pid  int    // the session's
	told bool   // who stands in the way
	has  condition
}

// migrating calls do with the session, with retries: do must be able to begin anew.
func (s *Store) migrating(ctx context.Context, do func(*migration) error) error {
	waiting := false
	return s.retry(ctx, func(ctx context.Context) (err error) {
		conn, err := s.reading.Conn(ctx)
		if err != nil {
			return fmt.Errorf("opening a session: %w", err)
		}
		// The session ends, and with it its lock and settings.
		defer func() {
			_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // says just that
			if e := conn.Close(); e != nil && !isConnectionError(e) {
				err = errors.Join(err, fmt.Errorf("closing the session: %w", e))
			}
		}()
		for {
			var mine bool
			if err := conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1)`, s.layout.migrating).Scan(&mine); err != nil {
				return fmt.Errorf("locking out others who migrate: %w", err)
			}
			if mine {
				break
			}
			if !waiting {
				s.surroundings.log.Info("another session is changing the tables; waiting for it")
				waiting = true
			}
			sleep(ctx, poll)
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		m := &migration{Store: s, conn: conn, at: s.at()}
		if err := conn.QueryRowContext(ctx, `SELECT pg_backend_pid()`).Scan(&m.pid); err != nil {
			return fmt.Errorf("asking for the session's number: %w", err)
		}
		if err := m.look(ctx); err != nil {
			return err
		}
		return do(m)
	})
}

// at names the database in sentences.
func (s *Store) at() string { return s.setting + " (" + s.target + ")" }

// step is one that Migrate takes.
type step struct {
	name   string
	needed func() bool
	take   func(context.Context) error
}

func (m *migration) run(ctx context.Context) error {
	if err := m.checkOther(ctx); err != nil {
		return err
	}
	if err := m.checkColumns(ctx); err != nil {
		return err
	}
	if err := m.checkPrivileges(ctx); err != nil {
		return err
	}
	steps := []step{
		{"tables", m.fresh, m.makeTables},
		{"columns", m.lacksColumns, m.addColumns},
		{"index", m.lacksIndex, m.makeIndex},
		{"guard", m.lacksGuard, m.takeCharge},
		{"openings", m.lacksOpenings, m.enterOpenings},
		{"grants", m.lacksGrants, m.grant},
		{"ready", m.lacksReadiness, m.declareReady},
	}
	began := time.Now()
	taken := false
	for _, step := range steps {
		if !step.needed() {
			continue
		}
		if !taken && !m.fresh() {
			m.surroundings.log.Info("bringing the database on", "layout", m.layout.name, "first_step", step.name)
		}
		taken = true
		start := time.Now()
		if err := step.take(ctx); err != nil {
			return fmt.Errorf("bringing the database on, step %q: %w", step.name, err)
		}
		m.surroundings.log.Debug("a step of bringing the database on is done", "step", step.name, "took", time.Since(start).Round(time.Millisecond))
		m.reached(step.name)
		if err := m.look(ctx); err != nil {
			return err
		}
	}
	if !taken { // or a second handler, on other tables than the first, would go unnoticed
		m.surroundings.log.Info("working on the database", "layout", m.layout.name, "guarded", m.has.guards > 0)
	} else {
		m.surroundings.log.Info("in charge of the database", "layout", m.layout.name, "guarded", !m.unguarded, "after", time.Since(began).Round(time.Millisecond))
	}
	return nil
}

// sql puts text, or a file of migrations by its name, into the layout's names.
func (m *migration) sql(text string) string { return m.layout.sql(text) }

func (m *migration) file(name string) (string, error) {
	text, err := migrations.ReadFile("migrations/" + name)
	if err != nil {
		return "", fmt.Errorf("reading migration %s: %w", name, err)
	}
	return m.sql(string(text)), nil
}

// change runs statements, tables in braces or whole files, in one transaction that waits for nobody for long. Who
// stands in the way is told once.
func (m *migration) change(ctx context.Context, statements ...string) error {
	texts := make([]string, len(statements))
	for i, text := range statements {
		if strings.HasSuffix(text, ".sql") {
			var err error
			if texts[i], err = m.file(text); err != nil {
				return err
			}
			continue
		}
		texts[i] = m.sql(text)
	}
	for {
		err := m.watched(ctx, func() error { return m.once(ctx, texts) })
		var pe *pq.Error
		if err == nil || !errors.As(err, &pe) || pe.Code != "55P03" && pe.Code != "40P01" {
			return err
		}
		sleep(ctx, lockPause)
		if ctx.Err() != nil {
			return gaveUp(ctx, err)
		}
	}
}

func (m *migration) once(ctx context.Context, texts []string) (err error) {
	tx, err := m.conn.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	defer func() {
		if err != nil {
			if e := tx.Rollback(); e != nil && !isConnectionError(e) {
				err = errors.Join(err, fmt.Errorf("rolling back: %w", e))
			}
		}
	}()
	texts = append([]string{fmt.Sprintf("SET LOCAL lock_timeout = %d", lockTimeout.Milliseconds()),
		fmt.Sprintf("SET LOCAL idle_in_transaction_session_timeout = %d", migrationPause.Milliseconds())}, texts...)
	for _, text := range texts {
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// watched calls do, and tells, once in a migration, who keeps it waiting.
func (m *migration) watched(ctx context.Context, do func() error) error {
	if m.told {
		return do()
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !m.told {
			sleep(ctx, lockTimeout/2)
			if ctx.Err() != nil {
				return
			}
			holders, err := sessions(ctx, m.reading, `a.pid = ANY (pg_blocking_pids($1))`, m.pid)
			if err == nil && len(holders) > 0 {
				m.told = true
				m.surroundings.log.Warn("a session stands in the way of a change of the tables; waiting", "session", strings.Join(holders, "; "))
			}
		}
	}()
	err := do()
	cancel()
	<-ended
	return err
}

// sessions describes those that meet a condition on pg_stat_activity a and pg_locks l.
func sessions(ctx context.Context, db querier, condition string, args ...any) ([]string, error) {
	var all []string
	err := query(ctx, db, func(scan func(...any) error) error {
		all = append(all, "")
		return scan(&all[len(all)-1])
	}, sessionsSQL(condition), args...)
	if err != nil {
		return nil, fmt.Errorf("asking who is connected: %w", err)
	}
	return all, nil
}

func sessionsSQL(condition string) string {
	return `
		SELECT DISTINCT 'Postgres session ' || a.pid || coalesce(' of user ' || a.usename, '') || coalesce(', program ' || nullif(a.application_name, ''), '')
			|| coalesce(', from ' || host(a.client_addr), '') || coalesce(', connected since ' || to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS TZ'), '')
			|| coalesce(', ' || a.state, '')
		FROM pg_stat_activity a LEFT JOIN pg_locks l ON l.pid = a.pid WHERE ` + condition + ` ORDER BY 1`
}
