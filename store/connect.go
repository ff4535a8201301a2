package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"openbank/environment"
)

// What the sessions of either pool are set to. All of it exists in PostgreSQL 11; what the URL sets itself wins.
var (
	// A session that died with its host must give the accounts back soon.
	everySession = map[string]string{
		"tcp_keepalives_idle":     "10",
		"tcp_keepalives_interval": "5",
		"tcp_keepalives_count":    "3",
	}
	// Statements are prepared once, perhaps on empty tables, and must never settle for a plan that is only good there:
	// rows are found by index, in its order, and joined by hash. A plan that is not to be had otherwise looks so dear
	// then that it would also be compiled: jit off.
	executing = map[string]string{
		"enable_seqscan":                      "off",
		"enable_bitmapscan":                   "off",
		"enable_nestloop":                     "off",
		"enable_mergejoin":                    "off",
		"jit":                                 "off",
		"lock_timeout":                        "10s",
		"statement_timeout":                   "60s",
		"idle_in_transaction_session_timeout": "30s",
	}
	// A slot is looked at often and for moments, and nothing may keep its handler.
	leasing = map[string]string{
		"lock_timeout":                        "4s",
		"statement_timeout":                   "4s",
		"idle_in_transaction_session_timeout": "0",
	}
	// Verify and snapshots read whole tables, a migration may wait for another one.
	reading = map[string]string{
		"lock_timeout":                        "0",
		"statement_timeout":                   "0",
		"idle_in_transaction_session_timeout": "0",
	}
)

// afterConnect makes the settings that not every server knows, and those that depend on what the server has: an answer
// follows the commit, so a role's synchronous_commit=off must not stand. open_bank.handler is what the guard asks for; a
// pooler would not let it through among the parameters of a connection.
const afterConnect = `
SELECT set_config('plan_cache_mode', 'force_generic_plan', false) WHERE current_setting('plan_cache_mode', true) IS NOT NULL
UNION ALL
SELECT set_config('tcp_user_timeout', '20s', false) WHERE current_setting('tcp_user_timeout', true) IS NOT NULL
UNION ALL
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
UNION ALL
SELECT set_config('open_bank.handler', 'on', false)`

// silence is how long a session of ours waits for a reply: longer than a statement may take. A message of several that takes longer yet is
// given up, and its batch run again.
const silence = 75 * time.Second

// settings are environment.DatabaseConfig's, and besides: a time-out, a name, and arrays that go out binary. The error is a *FatalError.
func settings(url, setting string) (pq.Config, error) {
	cfg, err := environment.DatabaseConfig(url, setting)
	if err != nil {
		return pq.Config{}, &FatalError{Sentence: err.Error()}
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 5 * time.Second
	}
	if cfg.ApplicationName == "" {
		cfg.ApplicationName = ourName
	}
	cfg.BinaryParameters = true
	return cfg, nil
}

// ourName is what the sessions are called on the server, unless the URL says otherwise.
const ourName = "open-bank"

// CheckURL says what is wrong with the URL of a database, as far as that shows without a connection. The error is a *FatalError that names
// the setting, and holds no password.
func CheckURL(database, setting string) error {
	_, err := settings(database, setting)
	return err
}

// User is the user that a DATABASE_URL names, or the environment where it names none. The error is a *FatalError that
// holds no password.
func User(database string) (string, error) {
	cfg, err := settings(database, "DATABASE_URL")
	return cfg.User, err
}

// pool opens a pool of at most size sessions with the given settings.
func (s *Store) pool(cfg pq.Config, size int, session map[string]string, dial dialer,
	ready func(context.Context, connection) (driver.Conn, error),
) (*sqlx.DB, error) {
	cfg = cfg.Clone()
	runtime := maps.Clone(everySession)
	maps.Copy(runtime, session)
	maps.Copy(runtime, cfg.Runtime)
	cfg.Runtime = runtime
	c, err := pq.NewConnectorConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("preparing to connect: %w", err)
	}
	c.Dialer(dial)
	db := sqlx.NewDb(sql.OpenDB(connector{c, s.forgetTopics, ready}), "postgres")
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

// connector finishes a session's settings before the pool gets it.
type connector struct {
	*pq.Connector
	renewed func()
	ready   func(context.Context, connection) (driver.Conn, error) // nil: nothing more to do
}

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, afterConnect, nil)
	if err == nil {
		err = rows.Close()
	}
	ready := conn
	if err == nil && c.ready != nil {
		ready, err = c.ready(ctx, conn.(connection))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("setting up a session: %w", err), conn.Close())
	}
	c.renewed()
	return ready, nil
}

// executes makes a connection a session that executes.
func (s *Store) executes(ctx context.Context, conn connection) (driver.Conn, error) {
	if err := takesWrites(ctx, conn); err != nil {
		return nil, err
	}
	if err := s.serve(ctx, conn); err != nil {
		return nil, err
	}
	if err := s.remembers(ctx, conn); err != nil {
		return nil, err
	}
	return s.prepare(ctx, conn)
}

// serve makes a session one that executes: no other session can hand the database back while it is there, and none
// begins to execute in one that was, nor beside another group's.
func (s *Store) serve(ctx context.Context, conn driver.Conn) error {
	lock, err := conn.(driver.QueryerContext).QueryContext(ctx, fmt.Sprintf(`SELECT pg_advisory_lock_shared(%d)`, s.layout.serving), nil)
	if err == nil {
		err = lock.Close()
	}
	if err != nil {
		return err
	}
	// A later statement, which sees what was committed while the lock was waited for.
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, s.layout.sql(`SELECT t.* FROM (SELECT 1) one LEFT JOIN (`+tenureSQL+`) t ON true`), nil)
	if err != nil {
		return err
	}
	row := make([]driver.Value, len(rows.Columns()))
	if err := errors.Join(rows.Next(row), rows.Close()); err != nil {
		return err
	}
	switch {
	case row[0] == nil:
		return &FatalError{Sentence: s.at() + ": nobody has taken this database over; run command-handler migrate"}
	case row[2] == true:
		return &FatalError{Sentence: s.at() + ": this database was handed back while this handler was running; to take it over again, stop the other handler and start this one anew"}
	case row[1] == false:
		return errors.New("the database is being taken over")
	}
	since, _ := row[0].(int64)
	s.since.Store(since)
	return s.join(ctx, conn.(driver.QueryerContext))
}

// check refuses a server that the bank cannot live on, and finds the layout.
func (s *Store) check(ctx context.Context, given, preferred string) error {
	var version, encoding string
	if err := s.reading.QueryRowxContext(ctx, `SELECT current_setting('server_version_num'), current_setting('server_encoding')`).
		Scan(&version, &encoding); err != nil {
		return fmt.Errorf("asking the server's version: %w", err)
	}
	if n, err := strconv.Atoi(version); err != nil || n < 110000 {
		return &FatalError{Sentence: s.at() + ": Postgres " + version + " is too old; 11 or newer is needed"}
	}
	if encoding != "UTF8" {
		return &FatalError{Sentence: s.at() + ": the database's encoding is " + encoding +
			", which cannot hold every text; create it with ENCODING 'UTF8'"}
	}
	var err error
	s.layout, err = findLayout(ctx, s.reading, given, preferred)
	var stop *FatalError
	if errors.As(err, &stop) {
		return &FatalError{Sentence: s.at() + ": " + stop.Sentence}
	}
	return err
}
