// Package store keeps the bank in Postgres: accounts with their balances, and one row for each command handled, which
// is its event, its answer and the proof that it was handled. It answers for every command taking effect once, whatever
// is delivered again, dies halfway or runs beside it; for the order of execution being written down (seq); and for the
// books being open to inspection (Verify, Snapshot). What a command means is decided in package bank, and Kafka is
// nobody's business here but for the names of records (Origin) and how far they are handled (Progress).
//
// A batch is one transaction, READ COMMITTED, with one order of statements and of locks in every session:
//
//	lock     the accounts that the batch may name, by IBAN                lock.go
//	look up  the ids handled before, and draw the seq numbers             lookup.go
//	decide   one command after the other, in memory                       decide.go
//	write    new balances, creations, or balances, transfers; progress    write.go
//
// That is three messages to Postgres: what is read is asked for along with the transaction's beginning, and COMMIT is the third (session.go).
//
// The look-up comes after the locks and in a statement of its own: it must see what another session committed while
// ours waited for the locks. The other way round money moved twice between two sessions. Accounts and rows are
// written in a fixed order (IBAN, id), so that two sessions never wait for each other in a circle.
//
// Errors: what the surroundings cause is waited for, with one log line when a state begins and one when it ends; a
// command that Postgres refuses is singled out and becomes a dead letter; the rest is a *FatalError.
package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"openbank/health"
	"openbank/metric"
)

// Config says where the bank's database is.
type Config struct {
	// URL is where Postgres is: postgres://user:password@host:port/database?name=value, or key=value pairs. What it
	// leaves out comes from the usual PG* environment, as in libpq. Settings of the session may stand in it
	// (statement_timeout=5s) and win over ours. A password is never logged.
	URL string
	// Setting is where URL came from, for sentences. Default: DATABASE_URL.
	Setting string
	// Logger gets one line when Postgres enters a state that has to be waited out, and one when it is over. Default:
	// slog.Default().
	Logger *slog.Logger
	// Layout is the names of the tables: clojure (balance, cac, cmt), rust (balancer, cacr, cmtr), or "" for those that
	// are there; where both are, those that the URL's user may write, else those of Prefer. An empty database gets
	// clojure's.
	Layout, Prefer string
	// Unguarded leaves the database open to the writes of other programs, of which this handler would see nothing.
	Unguarded bool
	// Grantee is a user whom Migrate grants what it takes to execute, when it is not the URL's. Default: nobody.
	Grantee string
	// Sessions is how many batches may be in Postgres at once. Default: 3, one for each of the two lanes and one more.
	Sessions int
	// Group is the consumer group whose commands are executed: no other group's sessions execute in this bank meanwhile, and sessions
	// bear its name unless the URL names them. Default: none, and nobody is kept off.
	Group string
	// Health is told what is waited for, and Metrics what is tried again. Default: boards that nobody sees.
	Health  *health.Board
	Metrics *metric.Set
}

// Store is a bank's database. Its methods may be called concurrently.
type Store struct {
	layout       layout
	setting      string    // that led there
	target       string    // where we are connected to, for sentences; no password
	settings     pq.Config // of every session; with the password
	executing    *sqlx.DB  // sessions with time-outs and prepared statements
	reading      *sqlx.DB  // sessions for migrations, verify, snapshots
	lines        lines     // the connections of both
	surroundings surroundings
	random       io.Reader // for IBANs and tokens
	unguarded    bool
	grantee      string
	group        string
	health       *health.Board
	metrics      *metric.Set
	retries      map[string]*metric.Counter // by state
	reached      func(step string)          // tests look on here
	since        atomic.Int64               // commands up to this seq are history

	memory memory

	numbering sync.Mutex // never held while asking Postgres: a new session takes it
	topics    map[topic]int32
	opened    atomic.Int64 // sessions so far
}

// Open connects to Postgres, which need not be there yet: it is waited for, with one log line, until ctx is done.
// Errors: ctx's, or a *FatalError: not a URL, no such user, password or database, a server older than 11.
func Open(ctx context.Context, c Config) (*Store, error) {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Setting == "" {
		c.Setting = "DATABASE_URL"
	}
	if c.Health == nil {
		c.Health = health.New()
	}
	if c.Metrics == nil {
		c.Metrics = metric.New()
	}
	if c.Sessions <= 0 {
		c.Sessions = 3
	}
	cfg, err := settings(c.URL, c.Setting)
	if c.Group != "" && cfg.ApplicationName == ourName {
		cfg.ApplicationName += groupName(c.Group)
	}
	if err == nil {
		err = errors.Join(checkLayout(c.Layout), checkLayout(c.Prefer))
	}
	if err != nil {
		return nil, err
	}
	s := &Store{
		setting:      c.Setting,
		target:       mask(cfg),
		settings:     cfg,
		surroundings: surroundings{condition: c.Health.Condition(health.Postgres)},
		health:       c.Health,
		metrics:      c.Metrics,
		retries:      retryCounters(c.Metrics),
		random:       rand.Reader,
		unguarded:    c.Unguarded,
		grantee:      c.Grantee,
		group:        c.Group,
		reached:      func(string) {},
		topics:       make(map[topic]int32),
		memory:       memory{executedTo: make(map[partition]int64)},
	}
	s.surroundings.log = c.Logger.With("database", s.target)
	if s.executing, err = s.pool(cfg, c.Sessions, executing, dialer{silence: silence, lines: &s.lines}, s.executes); err != nil {
		return nil, err
	}
	if s.reading, err = s.pool(cfg, 4, reading, dialer{lines: &s.lines}, nil); err != nil {
		return nil, errors.Join(err, s.executing.Close())
	}
	s.reading.SetMaxIdleConns(1)
	defer s.lines.until(ctx)()
	if err := s.retry(ctx, func(ctx context.Context) error { return s.check(ctx, c.Layout, c.Prefer) }); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// closePatience is how long an orderly end of the sessions may take.
const closePatience = 250 * time.Millisecond

// Close closes the sessions; one that is broken already counts as closed. What is being executed fails; nothing that
// was acknowledged is lost. A server that stands still is not waited for.
func (s *Store) Close() error {
	// Each statement's end is told to the server, and waited for.
	defer time.AfterFunc(closePatience, s.lines.cut).Stop()
	var errs []error
	for _, db := range []*sqlx.DB{s.executing, s.reading} {
		if err := db.Close(); err != nil && !isConnectionError(err) {
			errs = append(errs, fmt.Errorf("closing the sessions: %w", err))
		}
	}
	s.lines.cut()
	return errors.Join(errs...)
}

// TakenOver says whether the bank was another handler's before, so that commands of its topics may have been handled which it has no
// progress of. It is known once a session executes.
func (s *Store) TakenOver() bool { return s.since.Load() > 0 }

// renew drops the sessions that are not in use.
func (s *Store) renew() {
	size := s.executing.Stats().MaxOpenConnections
	s.executing.SetMaxIdleConns(0)
	s.executing.SetMaxIdleConns(size)
}
