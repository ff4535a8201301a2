package benchmark

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"openbank/progress"
)

// Grow is a drain after so many commands were handled before.
type Grow struct {
	Drain
	Handled []int64 // rising
}

// Run measures it: for each contestant one bank, which grows.
func (g Grow) Run(ctx context.Context, b *Bench) error {
	repeats := b.Rounds
	b.Rounds = 1 // of turns; the drains at each size are repeated instead, since growing takes longer than they do
	return b.rounds(ctx, b.turns(func(ctx context.Context, s *session) error {
		for _, handled := range g.Handled {
			if handled > 0 {
				if err := s.grow(ctx, handled); err != nil {
					return err
				}
			}
			for range repeats {
				b.Progress.Step(fmt.Sprintf("%s, %s handled before", s.contestant.Name, progress.Grouped(handled)))
				if err := s.drain(ctx, g.Drain, b.mix(0), handled); err != nil {
					return err
				}
				if err := s.follow(ctx); err != nil {
					return err
				}
			}
		}
		return nil
	}))
}

// grow fills the table of handled transfers up to so many rows, by SQL: the handler stops, the primary key goes, rows with random
// ids are inserted, and the key comes back with pages as full as random inserts leave them in the long run (ln 2). The rows are
// refused transfers between parties that the bank does not know, so that its books still hold; in size they are like others.
func (s *session) grow(ctx context.Context, handled int64) error {
	b := s.bench
	url := b.World.DatabaseURL()
	if b.World.Own == nil || url == "" {
		return errors.New("a bank is only filled in surroundings of ours: use --surroundings embedded or real")
	}
	b.Progress.Step(fmt.Sprintf("%s: filling the bank up to %s", s.contestant.Name, progress.Counted(handled, "handled command")))
	s.unfollow()
	s.stop()
	err := withDatabase(url, func(db *sql.DB) error { return fill(ctx, db, handled) })
	if err != nil {
		return fmt.Errorf("filling the bank: %w", err)
	}
	b.Progress.Done("done")
	if err := s.start(ctx); err != nil {
		return err
	}
	return s.follow(ctx)
}

// filled are the columns of a handled transfer that are filled, with how; a table has those that its handler knows.
var filled = []struct{ column, value string }{
	{"uuid", "md5(random()::text || i)::uuid"},
	{"reason", "'both to and from not known at this bank'"},
	{"fingerprint", "(random() * 9e18)::bigint"},
	{"amount", "1000"},
	{"from_party", "'NL00OPEN' || lpad(i::text, 10, '0')"},
	{"to_party", "'NL00OPEN' || lpad((i + 1)::text, 10, '0')"},
	{"description", "'benchmark ' || i"},
}

func fill(ctx context.Context, db *sql.DB, handled int64) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	table, key := "", ""
	if err := conn.QueryRowContext(ctx, `SELECT r.relname, c.conname FROM pg_class r JOIN pg_constraint c ON c.conrelid = r.oid
		WHERE r.relname IN ('cmt', 'cmtr') AND c.contype = 'p' AND r.relnamespace = 'public'::regnamespace`).Scan(&table, &key); err != nil {
		return fmt.Errorf("looking for the table of handled transfers (cmt or cmtr): %w", err)
	}
	var have int64
	if err := conn.QueryRowContext(ctx, `SELECT count(*) FROM `+table).Scan(&have); err != nil {
		return err
	}
	if have >= handled {
		return nil
	}
	there, err := columns(ctx, conn, table)
	if err != nil {
		return err
	}
	var names, values []string
	for _, f := range filled {
		if slices.Contains(there, f.column) {
			names, values = append(names, f.column), append(values, f.value)
		}
	}
	if slices.Contains(there, "seq") { // the numbers that commands are given
		names, values = append(names, "seq"), append(values, "nextval('"+map[string]string{"cmt": "command_seq", "cmtr": "command_seqr"}[table]+"')")
	}
	for _, text := range []string{
		`ALTER TABLE ` + table + ` DISABLE TRIGGER USER`, // the guard, which is for others' writes
		`ALTER TABLE ` + table + ` DROP CONSTRAINT ` + key,
		fmt.Sprintf(`INSERT INTO %s (%s) SELECT %s FROM generate_series(1, %d) i`, table, strings.Join(names, ", "), strings.Join(values, ", "), handled-have),
		`SET maintenance_work_mem = '256MB'`,
		`ALTER TABLE ` + table + ` ADD CONSTRAINT ` + key + ` PRIMARY KEY (uuid) WITH (fillfactor = 69)`,
		`ALTER TABLE ` + table + ` ENABLE TRIGGER USER`,
		`VACUUM ANALYZE ` + table,
	} {
		if _, err := conn.ExecContext(ctx, text); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
	}
	return nil
}

func columns(ctx context.Context, conn *sql.Conn, table string) (names []string, err error) {
	rows, err := conn.QueryContext(ctx, `SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1`, table)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		names = append(names, "")
		if err := rows.Scan(&names[len(names)-1]); err != nil {
			return nil, err
		}
	}
	return names, rows.Err()
}
