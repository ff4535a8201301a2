package store

import (
	"context"
	"database/sql"
	"errors"

	"openbank/bank"
)

// Account is an account as it is stored.
type Account struct {
	bank.Account
	Opening        int64 // cents; the balance at OpeningVersion
	OpeningVersion int64 // 0, unless the account was there when the database was taken over again after a hand-back
}

const accountSQL = `SELECT iban, token, {type}, amount, lmt, version, opening, opening_version FROM {balance} WHERE iban = $1`

// Account returns the account with an IBAN, and whether there is one. It waits like Execute. Errors: ctx's, or a
// *FatalError.
func (s *Store) Account(ctx context.Context, iban string) (a Account, there bool, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		err := scanAccount(s.reading.QueryRowContext(ctx, s.layout.sql(accountSQL), iban), &a)
		if there = err == nil; errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return a, there, err
}

func scanAccount(row interface{ Scan(into ...any) error }, a *Account) error {
	return row.Scan(&a.IBAN, &a.Token, &a.Type, &a.Balance, &a.Limit, &a.Version, &a.Opening, &a.OpeningVersion)
}
