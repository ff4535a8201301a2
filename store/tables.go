package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
)

// Tables is the names under which a database keeps the bank, for readers with SQL of their own. What was before the
// latest take-over is history: rows whose seq is not above since_seq of the last row of Tenure. An account's later
// events begin at its columns opening and opening_version.
type Tables struct {
	Balance, Creations, Transfers string
	AccountType                   string // the column of Balance and Creations with AUTO or MANUAL
	Tenure                        string
	Topics                        string // numbers the topics that rows name as their origin
	Progress                      string // how far each partition is executed; nothing while the database is handed back
}

// Snapshot runs read on the state that the database has at one moment, which it can't change, while commands go on being executed. Unlike
// other methods it does not wait for Postgres, and ends where a session is lost. Errors: ctx's, read's, or what Postgres says.
func (s *Store) Snapshot(ctx context.Context, read func(*sql.Tx, Tables) error) error {
	l := s.layout
	names := Tables{l.balance, l.creations, l.transfers, l.accountType, l.tenure, l.topics, l.progress}
	return s.untilDone(ctx, func() error {
		return s.snapshot(ctx, func(tx *sqlx.Tx) error { return read(tx.Tx, names) })
	})
}

// checkLayout refuses a name that is none of the layouts'.
func checkLayout(name string) error {
	if name == "" || slices.ContainsFunc(layouts, func(l layout) bool { return l.name == name }) {
		return nil
	}
	return &FatalError{Sentence: fmt.Sprintf("DATABASE_LAYOUT is %q; it must be clojure or rust, or be left out", name)}
}

// found is what a database has of a layout.
type found struct {
	layout   layout
	tables   []string // of the three that the handlers of 2019 made
	writable bool     // by this user
	ours     bool     // has been in charge of it
}

const findSQL = `
SELECT to_regclass('{balance}') IS NOT NULL, to_regclass('{cac}') IS NOT NULL, to_regclass('{cmt}') IS NOT NULL,
    coalesce(has_table_privilege(to_regclass('{balance}'), 'INSERT') AND has_table_privilege(to_regclass('{balance}'), 'UPDATE')
        AND has_table_privilege(to_regclass('{cac}'), 'INSERT') AND has_table_privilege(to_regclass('{cmt}'), 'INSERT'), false),
    to_regclass('{tenure}') IS NOT NULL OR to_regclass('{migration}') IS NOT NULL`

// find looks what a database has of a layout.
func find(ctx context.Context, db querier, l layout) (found, error) {
	f := found{layout: l}
	var balance, creations, transfers bool
	if err := db.QueryRowContext(ctx, l.sql(findSQL)).Scan(&balance, &creations, &transfers, &f.writable, &f.ours); err != nil {
		return f, fmt.Errorf("looking for the bank's tables: %w", err)
	}
	for name, there := range map[string]bool{l.balance: balance, l.creations: creations, l.transfers: transfers} {
		if there {
			f.tables = append(f.tables, name)
		}
	}
	return f, nil
}

// findLayout takes the given layout, else that whose tables are there; of two, the one whose tables this user may
// write, else the one that this handler has in charge, else the preferred one. An empty database gets clojure's names.
func findLayout(ctx context.Context, db querier, given, preferred string) (layout, error) {
	var whole []found
	var part found
	for _, l := range layouts {
		if l.name == given {
			return l, nil
		}
		f, err := find(ctx, db, l)
		if err != nil {
			return layout{}, err
		}
		switch len(f.tables) {
		case 0:
		case 3:
			whole = append(whole, f)
		default:
			part = f
		}
	}
	switch {
	case len(whole) == 0 && part.tables != nil:
		slices.Sort(part.tables)
		return layout{}, &FatalError{Sentence: fmt.Sprintf("of the tables %s, %s and %s the database holds %s alone, so it is no bank; name an empty database, or one with all three",
			part.layout.balance, part.layout.creations, part.layout.transfers, strings.Join(part.tables, " and "))}
	case len(whole) == 0:
		return clojureLayout, nil
	}
	for _, choice := range []func(found) bool{
		func(found) bool { return true },
		func(f found) bool { return f.writable },
		func(f found) bool { return f.ours }, // or two handlers of ours would keep two ledgers
		func(f found) bool { return f.layout.name == preferred },
	} {
		if chosen := slices.DeleteFunc(slices.Clone(whole), func(f found) bool { return !choice(f) }); len(chosen) == 1 {
			return chosen[0].layout, nil
		}
	}
	return layout{}, &FatalError{Sentence: "the database holds the tables of the Clojure handler (balance, cac, cmt) and of the Rust handlers " +
		"(balancer, cacr, cmtr), and this user may write both; set DATABASE_LAYOUT to clojure or rust"}
}
