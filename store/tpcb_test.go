package store

import (
	"context"
	"database/sql"
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
	"testing"
	"time"

	_ "github.com/lib/pq"
)

// tpcb runs pgbench's TPC-B-like transactions in a database of its own: by pgbench where it is installed, else its
// statements by ourselves.
type tpcb struct {
	url     string
	program string // pgbench, or ""
	how     string
	db      *sql.DB
	stmts   []*sql.Stmt
}

// The transaction of pgbench's built-in script tpcb-like, and the tables that it needs.
var (
	tpcbTransaction = []string{
		`UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2`,
		`SELECT abalance FROM pgbench_accounts WHERE aid = $1`,
		`UPDATE pgbench_tellers SET tbalance = tbalance + $1 WHERE tid = $2`,
		`UPDATE pgbench_branches SET bbalance = bbalance + $1 WHERE bid = $2`,
		`INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP)`,
	}
	tpcbTables = []string{
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
		`VACUUM ANALYZE`,
	}
)

func newTPCB(b *testing.B) *tpcb {
	b.Helper()
	p := &tpcb{url: database(b)}
	p.program = filepath.Join(server.Binaries(), "pgbench")
	if _, err := os.Stat(p.program); err != nil {
		if p.program, err = exec.LookPath("pgbench"); err != nil {
			p.program = ""
		}
	}
	if p.program != "" {
		p.how = fmt.Sprintf("pgbench, scale %d, %d clients, prepared", tpcbScale, tpcbClients)
		p.pgbench(b, "-i", "-q", "-s", strconv.Itoa(tpcbScale))
		return p
	}
	p.how = fmt.Sprintf("pgbench's statements by this program, scale %d, %d clients, prepared", tpcbScale, tpcbClients)
	var err error
	if p.db, err = sql.Open("postgres", p.url); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.db.Close() })
	p.db.SetMaxOpenConns(tpcbClients)
	p.db.SetMaxIdleConns(tpcbClients)
	for _, text := range tpcbTables {
		if _, err := p.db.ExecContext(b.Context(), fmt.Sprintf(text+" -- %[1]d", tpcbScale)); err != nil {
			b.Fatal(err)
		}
	}
	for _, text := range tpcbTransaction {
		stmt, err := p.db.PrepareContext(b.Context(), text) //nolint:sqlclosecheck // kept for as long as the pool
		if err != nil {
			b.Fatal(err)
		}
		p.stmts = append(p.stmts, stmt)
	}
	return p
}

// run returns transactions a second.
func (p *tpcb) run(b *testing.B) float64 {
	b.Helper()
	if p.program == "" {
		return p.ourselves(b)
	}
	out := p.pgbench(b, "-n", "-M", "prepared", "-c", strconv.Itoa(tpcbClients), "-j", "2", "-T", strconv.Itoa(int(benchTime.Seconds())))
	m := regexp.MustCompile(`tps = ([0-9.]+) \((without initial|excluding)`).FindSubmatch(out)
	if m == nil {
		b.Fatalf("no rate in what pgbench says: %s", out)
	}
	tps, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return tps
}

func (p *tpcb) pgbench(b *testing.B, args ...string) []byte {
	b.Helper()
	u, err := url.Parse(p.url)
	if err != nil {
		b.Fatal(err)
	}
	password, _ := u.User.Password()
	cmd := exec.CommandContext(b.Context(), p.program, append(args, "-h", u.Hostname(), "-p", u.Port(), "-U", u.User.Username(), u.Path[1:])...)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+password)
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("pgbench: %v: %s", err, out)
	}
	return out
}

func (p *tpcb) ourselves(b *testing.B) float64 {
	b.Helper()
	ctx := context.WithoutCancel(b.Context())
	var done atomic.Int64
	var clients sync.WaitGroup
	start := time.Now()
	for range tpcbClients {
		clients.Go(func() {
			for time.Since(start) < benchTime {
				if err := p.transact(ctx); err != nil {
					b.Error(err)
					return
				}
				done.Add(1)
			}
		})
	}
	clients.Wait()
	return float64(done.Load()) / time.Since(start).Seconds()
}

func (p *tpcb) transact(ctx context.Context) error {
	aid, bid, tid := 1+mrand.IntN(100_000*tpcbScale), 1+mrand.IntN(tpcbScale), 1+mrand.IntN(10*tpcbScale)
	delta := mrand.IntN(10_001) - 5_000
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for i, args := range [][]any{{delta, aid}, {aid}, {delta, tid}, {delta, bid}, {tid, bid, aid, delta}} {
		stmt := tx.StmtContext(ctx, p.stmts[i]) //nolint:sqlclosecheck // ends with the transaction
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
