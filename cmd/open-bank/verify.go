package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"openbank/connect"
	"openbank/store"
)

type verifyCommand struct {
	Database connect.Database `embed:""`
	Timeout  time.Duration    `default:"5m" help:"How long it may take, waiting for the database included."`
}

// Run prints the totals. Books that don't add up are an error, after a line for each thing that is wrong.
func (c *verifyCommand) Run(s *session) error {
	if err := c.Database.Check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, c.Timeout)
	defer cancel()
	books, err := readBooks(ctx, c.Database.URL, slog.New(slog.NewTextHandler(s.stderr, nil)))
	if err != nil {
		return err
	}
	if err := printBooks(s.stdout, books); err != nil {
		return err
	}
	if !books.OK() {
		return fmt.Errorf("the books don't add up: %d violations", books.Count)
	}
	return nil
}

func readBooks(ctx context.Context, url string, logger *slog.Logger) (_ *store.Report, err error) {
	db, err := store.Open(ctx, store.Config{URL: url, Logger: logger})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.Verify(ctx)
}

func printBooks(out io.Writer, r *store.Report) error {
	_, err := fmt.Fprintf(out, "%s accounts, %s creations, %s transfers, %s of them rejected, %s changes of balances\nopenings %s + in %s - out %s = balances %s (cents)\n",
		grouped(r.Accounts), grouped(r.Creations), grouped(r.Transfers), grouped(r.Rejected), grouped(r.Events), r.Openings, r.Inflow, r.Outflow, r.Balances)
	for _, v := range r.Violations {
		if err == nil {
			_, err = fmt.Fprintf(out, "violated: %s: %s%s: %s\n", v.Rule, v.IBAN, v.ID, v.Detail)
		}
	}
	return err
}
