package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"openbank/connect"
	"openbank/progress"
	"openbank/store"
)

type verifyCommand struct {
	Database connect.Database `embed:""`
	Timeout  time.Duration    `default:"5m" help:"How long it may take, waiting for the database included."`
}

// Run prints the totals. Books that don't add up are an error, after a line for each thing that is wrong.
func (c *verifyCommand) Run(s *session) error {
	if err := s.bank.check(databasePart); err != nil {
		return err
	}
	if err := c.Database.Check(); err != nil {
		return err
	}
	if c.Timeout <= 0 {
		return errors.New("--timeout is a duration such as 30s")
	}
	ctx, cancel := context.WithTimeout(s.ctx, c.Timeout)
	defer cancel()
	books, err := readBooks(ctx, c.Database, slog.New(slog.NewTextHandler(s.stderr, nil)))
	switch {
	case err != nil && s.ctx.Err() != nil:
		return errInterrupted
	case isUndefinedTable(err):
		return errNoTables
	case err != nil:
		return err
	}
	if err := printBooks(s.stdout, books); err != nil {
		return err
	}
	if !books.OK() {
		return fmt.Errorf("the books don't add up: %s", progress.Counted(books.Count, "violation"))
	}
	_, err = fmt.Fprintln(s.stdout, "the books add up")
	return err
}

func readBooks(ctx context.Context, database connect.Database, logger *slog.Logger) (_ *store.Report, err error) {
	db, err := openStore(ctx, database, logger)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.Verify(ctx)
}

func openStore(ctx context.Context, database connect.Database, logger *slog.Logger) (*store.Store, error) {
	return store.Open(ctx, store.Config{URL: database.URL(), Setting: database.Setting(), Layout: database.Layout, Logger: logger})
}

func printBooks(out io.Writer, r *store.Report) error {
	_, err := fmt.Fprintf(out, "%s, %s and %s (%s of them rejected), %s of balances\nopenings %s + in %s - out %s = balances %s euro\n",
		progress.Counted(r.Accounts, "account"), progress.Counted(r.Creations, "creation"), progress.Counted(r.Transfers, "transfer"), progress.Grouped(r.Rejected), progress.Counted(r.Events, "change"),
		euroText(r.Openings), euroText(r.Inflow), euroText(r.Outflow), euroText(r.Balances))
	if r.History > 0 && err == nil {
		_, err = fmt.Fprintf(out, "%s from before the database was taken over; what they did is in the openings\n", progress.Counted(r.History, "command"))
	}
	if r.HandedBack && err == nil {
		_, err = fmt.Fprintln(out, "the database is handed back to an older handler: what that one changed since then is in no event, and counts as violated")
	}
	for _, v := range r.Violations {
		if err == nil {
			_, err = fmt.Fprintf(out, "violated: %s: %s\n", v.Rule, found(v))
		}
	}
	return err
}

// found is a violation without its rule: IBAN id: detail.
func found(v store.Violation) string {
	about := strings.TrimSpace(v.IBAN + " " + v.ID)
	if about == "" {
		return v.Detail
	}
	return about + ": " + v.Detail
}
