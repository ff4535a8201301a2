// Package tpcb answers for the yardstick of this project's figures: transactions like TPC-B's as pgbench has them, prepared, in a
// schema of their own. pgbench itself runs them where it is installed, else the same statements are put by this process.
package tpcb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	_ "github.com/lib/pq" // the driver
)

// schema is where the tables are made.
const schema = "openbank_tpcb"

// Config says what runs where.
type Config struct {
	URL      string // of a database in which a schema may be made
	Binaries string // a directory that may hold pgbench; else it is looked for in PATH
	Scale    int    // 100,000 accounts each
	Clients  int
}

// TPCB is prepared tables.
type TPCB struct {
	config  Config
	program string // pgbench, or ""
	db      *sql.DB
	stmts   []*sql.Stmt
}

// The transaction of pgbench's built-in script tpcb-like, and the tables that it needs.
var (
	transaction = []string{
		`UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2`,
		`SELECT abalance FROM pgbench_accounts WHERE aid = $1`,
		`UPDATE pgbench_tellers SET tbalance = tbalance + $1 WHERE tid = $2`,
		`UPDATE pgbench_branches SET bbalance = bbalance + $1 WHERE bid = $2`,
		`INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP)`,
	}
	tables = []string{
		`CREATE TABLE pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22))`,
		`CREATE TABLE pgbench_tellers (tid int NOT NULL, bid int, tbalance int, filler char(84)) WITH (fillfactor = 100)`,
		`CREATE TABLE pgbench_accounts (aid int NOT NULL, bid int, abalance int, filler char(84)) WITH (fillfactor = 100)`,
		`CREATE TABLE pgbench_branches (bid int NOT NULL, bbalance int, filler char(88)) WITH (fillfactor = 100)`,
		`INSERT INTO pgbench_branches (bid, bbalance) SELECT i, 0 FROM generate_series(1, %[1]d) i`,
		`INSERT INTO pgbench_tellers (tid, bid, tbalance) SELECT i, (i - 1) / 10 + 1, 0 FROM generate_series(1, 10 * %[1]d) i`,
		`INSERT INTO pgbench_accounts (aid, bid, abalance, filler) SELECT i, (i - 1) / 100000 + 1, 0, '' FROM generate_series(1, 100000 * %[1]d) i`,
		`ALTER TABLE pgbench_branches ADD PRIMARY KEY (bid)`,
		`ALTER TABLE pgbench_tellers ADD PRIMARY KEY (tid)`,
		`ALTER TABLE pgbench_accounts ADD PRIMARY KEY (aid)`,
		`VACUUM ANALYZE pgbench_accounts, pgbench_branches, pgbench_tellers`,
	}
)

// Prepare makes the tables anew: some 15 MB and a quarter of a second for each of the scale.
func Prepare(ctx context.Context, config Config) (*TPCB, error) { return prepare(ctx, config, false) }

// prepare leaves pgbench out when ourselves is set.
func prepare(ctx context.Context, config Config, ourselves bool) (_ *TPCB, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("preparing TPC-B: %w", err)
		}
	}()
	// pgbench is told host and database apart, and sessions get their schema by the query.
	if u, err := url.Parse(config.URL); err != nil || u.Host == "" {
		return nil, errors.New("the database has to be named by a URL, postgres://USER:PASSWORD@HOST:PORT/DATABASE") // not %w: it holds a password
	}
	t := &TPCB{config: config, program: filepath.Join(config.Binaries, "pgbench")}
	if info, err := os.Stat(t.program); err != nil || info.IsDir() {
		if t.program, err = exec.LookPath("pgbench"); err != nil {
			t.program = ""
		}
	}
	if ourselves {
		t.program = ""
	}
	if t.db, err = sql.Open("postgres", config.URL); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = t.db.Close()
		}
	}()
	for _, text := range []string{`DROP SCHEMA IF EXISTS ` + schema + ` CASCADE`, `CREATE SCHEMA ` + schema} {
		if _, err := t.db.ExecContext(ctx, text); err != nil {
			return nil, err
		}
	}
	if err := t.db.Close(); err != nil {
		return nil, err
	}
	if t.db, err = sql.Open("postgres", within(config.URL)); err != nil {
		return nil, err
	}
	t.db.SetMaxOpenConns(config.Clients)
	t.db.SetMaxIdleConns(config.Clients)
	if t.program != "" {
		_, err := t.pgbench(ctx, "-i", "-q", "-s", strconv.Itoa(config.Scale))
		return t, err
	}
	for _, text := range tables {
		if _, err := t.db.ExecContext(ctx, fmt.Sprintf(text+" -- %[1]d", config.Scale)); err != nil {
			return nil, err
		}
	}
	for _, text := range transaction {
		stmt, err := t.db.PrepareContext(ctx, text) //nolint:sqlclosecheck // kept for as long as the pool
		if err != nil {
			return nil, err
		}
		t.stmts = append(t.stmts, stmt)
	}
	return t, nil
}

// within is a database's URL for sessions that see the schema first.
func within(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text // it was connected to
	}
	query := u.Query()
	query.Set("search_path", schema)
	u.RawQuery = query.Encode()
	return u.String()
}

// How says in words what runs.
func (t *TPCB) How() string {
	who := "pgbench's statements by this program"
	if t.program != "" {
		who = "pgbench"
	}
	return fmt.Sprintf("%s, scale %d, %d clients, prepared", who, t.config.Scale, t.config.Clients)
}

// Run returns transactions a second, over a time that is rounded to seconds.
func (t *TPCB) Run(ctx context.Context, over time.Duration) (float64, error) {
	if t.program == "" {
		return t.ourselves(ctx, over)
	}
	seconds := max(1, int(over.Round(time.Second)/time.Second))
	out, err := t.pgbench(ctx, "-n", "-M", "prepared", "-c", strconv.Itoa(t.config.Clients), "-j", "2", "-T", strconv.Itoa(seconds))
	if err != nil {
		return 0, fmt.Errorf("running TPC-B: %w", err)
	}
	m := regexp.MustCompile(`tps = ([0-9.]+) \((without initial|excluding)`).FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("running TPC-B: no rate in what pgbench says: %s", out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

// Close removes the tables.
func (t *TPCB) Close(ctx context.Context) error {
	_, err := t.db.ExecContext(ctx, `DROP SCHEMA `+schema+` CASCADE`)
	return errors.Join(err, t.db.Close())
}

func (t *TPCB) pgbench(ctx context.Context, args ...string) ([]byte, error) {
	u, err := url.Parse(t.config.URL)
	if err != nil {
		return nil, errors.New("the database's URL is none") // not %w: it holds a password
	}
	port := u.Port()
	if port == "" {
		port = "5432"
	}
	cmd := exec.CommandContext(ctx, t.program, append(args, "-h", u.Hostname(), "-p", port, "-U", u.User.Username(), u.Path[1:])...)
	cmd.Env = append(os.Environ(), "PGOPTIONS=-c search_path="+schema)
	if password, ok := u.User.Password(); ok {
		cmd.Env = append(cmd.Env, "PGPASSWORD="+password)
	}
	if mode := u.Query().Get("sslmode"); mode != "" {
		cmd.Env = append(cmd.Env, "PGSSLMODE="+mode)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("pgbench: %w: %s", err, out)
	}
	return out, nil
}

func (t *TPCB) ourselves(ctx context.Context, over time.Duration) (float64, error) {
	var done atomic.Int64
	var clients sync.WaitGroup
	failed := make(chan error, t.config.Clients)
	start := time.Now()
	for range t.config.Clients {
		clients.Go(func() {
			for time.Since(start) < over {
				if err := t.transact(ctx); err != nil {
					failed <- err
					return
				}
				done.Add(1)
			}
		})
	}
	clients.Wait()
	rate := float64(done.Load()) / time.Since(start).Seconds()
	select {
	case err := <-failed:
		return 0, fmt.Errorf("running TPC-B: %w", err)
	default:
		return rate, nil
	}
}

func (t *TPCB) transact(ctx context.Context) error {
	aid, bid, tid := 1+mrand.IntN(100_000*t.config.Scale), 1+mrand.IntN(t.config.Scale), 1+mrand.IntN(10*t.config.Scale)
	delta := mrand.IntN(10_001) - 5_000
	tx, err := t.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for i, args := range [][]any{{delta, aid}, {aid}, {delta, tid}, {delta, bid}, {tid, bid, aid, delta}} {
		stmt := tx.StmtContext(ctx, t.stmts[i]) //nolint:sqlclosecheck // ends with the transaction
		if i == 1 {
			var balance int64
			err = stmt.QueryRowContext(ctx, args...).Scan(&balance)
		} else {
			_, err = stmt.ExecContext(ctx, args...)
		}
		if err != nil {
			return err
		}
	}
	return tx.Commit()
}
