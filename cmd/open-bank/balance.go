package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/lib/pq"

	"openbank/connect"
	"openbank/progress"
	"openbank/store"
)

type balanceCommand struct {
	Database connect.Database `embed:""`
	IBAN     string           `arg:"" name:"iban" help:"The account."`
	Timeout  time.Duration    `default:"10s" help:"How long to wait for the database."`
}

// Run prints the account; one that isn't there is an error.
func (c *balanceCommand) Run(s *session) error {
	if err := s.bank.check(databasePart); err != nil {
		return err
	}
	if err := c.Database.Check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, c.Timeout)
	defer cancel()
	account, there, err := c.look(ctx, slog.New(slog.NewTextHandler(s.stderr, nil)))
	switch {
	case err != nil && s.ctx.Err() != nil:
		return errInterrupted
	case isUndefinedTable(err):
		return errNoTables
	case err != nil:
		return fmt.Errorf("looking %s up: %w", c.IBAN, err)
	case !there:
		return fmt.Errorf("%q is no account of this bank", c.IBAN)
	}
	_, err = fmt.Fprintf(s.stdout, "balance %s euro, limit %s euro, type %s, changed %s\n", euro(account.Balance), euro(account.Limit), account.Type, progress.Counted(account.Version, "time"))
	return err
}

func (c *balanceCommand) look(ctx context.Context, logger *slog.Logger) (_ store.Account, there bool, err error) {
	db, err := openStore(ctx, c.Database, logger)
	if err != nil {
		return store.Account{}, false, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.Account(ctx, c.IBAN)
}

var errNoTables = errors.New("the database has no tables of a command handler yet (under the names that DATABASE_LAYOUT says, where it is set): one makes them, or takes over those that are there, when it starts, or by command-handler migrate")

func isUndefinedTable(err error) bool {
	var refused *pq.Error
	return errors.As(err, &refused) && refused.Code == "42P01"
}

// euro writes cents as euro: -1250 is -12.50.
func euro(cents int64) string { return euroText(strconv.FormatInt(cents, 10)) }

// euroText is euro for cents in decimal digits, any number of them.
func euroText(cents string) string {
	sign, digits := "", cents
	if rest, negative := strings.CutPrefix(cents, "-"); negative {
		sign, digits = "-", rest
	}
	digits = strings.Repeat("0", max(0, 3-len(digits))) + digits
	return sign + digits[:len(digits)-2] + "." + digits[len(digits)-2:]
}
