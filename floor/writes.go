package floor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"

	"openbank/result"
)

// Writes is the bare UPDATE and INSERT that a batch of transfers between accounts comes down to, over one session, on tables like
// the store's: nothing is looked up, locked beforehand or decided, and the rows are made up by the server, so that not even
// parameters travel.
type Writes struct {
	db     *sql.DB
	change *sql.Stmt
	add    *sql.Stmt
	batch  int
}

const writesAccounts = 10_000

// PrepareWrites makes the tables anew. batch is how many transfers one transaction holds.
func PrepareWrites(ctx context.Context, url string, batch int) (_ *Writes, err error) {
	w := &Writes{batch: batch}
	if w.db, err = sql.Open("postgres", url); err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	w.db.SetMaxOpenConns(1)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("preparing the bare writes: %w", err), w.db.Close())
		}
	}()
	for _, text := range []string{
		dropWrites,
		`CREATE TABLE latency_benchmark_balance (balance_id int PRIMARY KEY, iban text NOT NULL UNIQUE, token text NOT NULL, amount bigint NOT NULL,
			type text NOT NULL, lmt bigint NOT NULL, created_at timestamp NOT NULL DEFAULT current_timestamp, updated_at timestamp NOT NULL DEFAULT current_timestamp,
			opening bigint NOT NULL DEFAULT 0, version bigint NOT NULL DEFAULT 0, opening_version bigint NOT NULL DEFAULT 0)`,
		fmt.Sprintf(`INSERT INTO latency_benchmark_balance (balance_id, iban, token, amount, type, lmt)
			SELECT i, 'NL00OPEN' || lpad(i::text, 10, '0'), lpad(i::text, 20, '0'), 1000000000000, 'AUTO', -50000 FROM generate_series(1, %d) i`, writesAccounts),
		`CREATE TABLE latency_benchmark_transfer (uuid uuid PRIMARY KEY, reason text, created_at timestamp NOT NULL DEFAULT current_timestamp,
			seq bigint, origin_offset bigint, fingerprint bigint, amount bigint, from_balance bigint, from_version bigint, to_balance bigint, to_version bigint,
			origin_topic int, origin_partition int, from_party text, to_party text, description text)`,
		`VACUUM ANALYZE latency_benchmark_balance`,
	} {
		if _, err := w.db.ExecContext(ctx, text); err != nil {
			return nil, err
		}
	}
	if w.change, err = w.db.PrepareContext(ctx, fmt.Sprintf(`UPDATE latency_benchmark_balance b SET amount = b.amount + 1, version = b.version + 1
		FROM (SELECT DISTINCT 1 + (random() * %d)::int AS id FROM generate_series(1, 2 * $1::int)) c WHERE b.balance_id = c.id`, writesAccounts-1)); err != nil {
		return nil, err
	}
	w.add, err = w.db.PrepareContext(ctx, `INSERT INTO latency_benchmark_transfer
			(uuid, seq, origin_offset, fingerprint, amount, from_balance, from_version, to_balance, to_version, origin_topic, origin_partition, from_party, to_party, description)
		SELECT md5(random()::text || i)::uuid, i, i, i, 1000, 1000000000000, i, 1000000000000, i, 1, i % 9, 'NL00OPEN0000000001', 'NL00OPEN0000000002', 'benchmark ' || i
		FROM generate_series(1, $1::int) i ORDER BY 1`)
	return w, err
}

const dropWrites = `DROP TABLE IF EXISTS latency_benchmark_balance, latency_benchmark_transfer`

// Run returns transfers a second.
func (w *Writes) Run(ctx context.Context, over time.Duration) (float64, error) {
	start := time.Now()
	done := 0
	for time.Since(start) < over {
		if err := w.once(ctx); err != nil {
			return 0, fmt.Errorf("writing barely: %w", err)
		}
		done += w.batch
	}
	return float64(done) / time.Since(start).Seconds(), nil
}

func (w *Writes) once(ctx context.Context) error {
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for _, stmt := range []*sql.Stmt{w.change, w.add} {
		if _, err := tx.StmtContext(ctx, stmt).ExecContext(ctx, w.batch); err != nil { //nolint:sqlclosecheck // ends with the transaction
			return err
		}
	}
	return tx.Commit()
}

// Close removes the tables.
func (w *Writes) Close(ctx context.Context) error {
	_, err := w.db.ExecContext(ctx, dropWrites)
	return errors.Join(err, w.db.Close())
}

// Fsync writes a page of 8 KiB and has the disk keep it, over and over, in a file of dir that is as large as it will get.
func Fsync(ctx context.Context, dir string, over time.Duration) (_ *result.Latency, err error) {
	f, err := os.CreateTemp(dir, "fsync-*")
	if err != nil {
		return nil, fmt.Errorf("measuring fsync: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	page := make([]byte, 8<<10)
	const pages = 128
	for i := range int64(pages) {
		if _, err := f.WriteAt(page, i*int64(len(page))); err != nil {
			return nil, fmt.Errorf("measuring fsync: %w", err)
		}
	}
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("measuring fsync: %w", err)
	}
	took := result.NewLatency()
	start := time.Now()
	for i := int64(0); time.Since(start) < over && ctx.Err() == nil; i++ {
		page[0]++
		before := time.Now()
		if _, err := f.WriteAt(page, i%pages*int64(len(page))); err != nil {
			return nil, fmt.Errorf("measuring fsync: %w", err)
		}
		if err := keep(f); err != nil {
			return nil, fmt.Errorf("measuring fsync: %w", err)
		}
		_ = took.RecordValue(max(int64(time.Since(before)), int64(time.Microsecond))) // in its range
	}
	return took, context.Cause(ctx)
}
