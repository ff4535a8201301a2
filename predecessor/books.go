package predecessor

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"

	_ "github.com/lib/pq" // the driver

	"openbank/bank"
)

// books is the old handlers' side of the database. Nothing in it is a transaction of more than one statement, and nothing is locked
// between a look and a change: that is how they are.
type books struct {
	layout Layout
	db     *sql.DB

	selectAccount, insertAccount    *sql.Stmt
	selectCreation, insertCreation  *sql.Stmt
	selectTransfer, insertTransfer  *sql.Stmt
	updateAccount                   *sql.Stmt
	columns, amountColumn, idColumn int // of a row of the balances: how many there are, and which are which
}

// account is a row of the balances.
type account struct {
	token         string
	amount, limit int64
	values        []any // of all columns
}

func openBooks(ctx context.Context, l Layout, url string) (_ *books, err error) {
	b := &books{layout: l}
	if b.db, err = sql.Open("postgres", url); err != nil {
		return nil, errors.New("reading the database's URL: it is none") // not %w: it holds a password
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.db.Close())
		}
	}()
	columns, err := b.readColumns(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range []struct {
		into **sql.Stmt
		text string
	}{
		{&b.selectAccount, l.SelectAccount()}, {&b.insertAccount, l.InsertAccount()}, {&b.updateAccount, l.updateAccount(columns)},
		{&b.selectCreation, l.SelectCreation()}, {&b.insertCreation, l.InsertCreation()},
		{&b.selectTransfer, l.SelectTransfer()}, {&b.insertTransfer, l.InsertTransfer()},
	} {
		if *s.into, err = b.db.PrepareContext(ctx, s.text); err != nil { //nolint:sqlclosecheck // kept for as long as the pool
			return nil, fmt.Errorf("preparing %s: %w", s.text, err)
		}
	}
	return b, nil
}

func (b *books) close() error { return b.db.Close() } // and with it the statements

// readColumns asks which columns the balances have: the Clojure handler writes them all.
func (b *books) readColumns(ctx context.Context) (names []string, err error) {
	rows, err := b.db.QueryContext(ctx, b.layout.sql(`SELECT * FROM {balance} WHERE false`))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if names, err = rows.Columns(); err != nil {
		return nil, err
	}
	b.columns = len(names)
	for i, name := range names {
		switch name {
		case "amount":
			b.amountColumn = i
		case "balance_id":
			b.idColumn = i
		}
	}
	return names, rows.Err()
}

// find looks up a party's account; nil is none. Only what may be one of the bank's is looked up.
func (b *books) find(ctx context.Context, party string) (_ *account, err error) {
	if !bank.ValidIBAN(party) {
		return nil, nil
	}
	rows, err := b.selectAccount.QueryContext(ctx, party)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if !rows.Next() {
		return nil, rows.Err()
	}
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	a := &account{values: make([]any, len(names))}
	into := make([]any, len(names))
	for i := range into {
		into[i] = &a.values[i]
	}
	if err := rows.Scan(into...); err != nil {
		return nil, err
	}
	for i, name := range names {
		switch value := a.values[i].(type) {
		case string:
			if name == "token" {
				a.token = value
			}
		case int64:
			switch name {
			case "amount":
				a.amount = value
			case "lmt":
				a.limit = value
			}
		}
	}
	return a, nil
}

// add writes an account back with a new balance.
func (b *books) add(ctx context.Context, a *account, amount int64) error {
	a.amount += amount
	a.values[b.amountColumn] = a.amount
	args := []any{a.amount}
	if b.layout.wholeRow {
		args = a.values[:b.columns:b.columns]
	}
	_, err := b.updateAccount.ExecContext(ctx, append(args, a.values[b.idColumn])...)
	return err
}

// move decides a transfer and carries it out. It returns the accounts that it changed, or the reason why it changed none.
func (b *books) move(ctx context.Context, c *bank.ConfirmMoneyTransfer) (from, to *account, reason string, err error) {
	switch {
	case c.From != bank.Cash && !bank.ValidIBAN(c.From):
		return nil, nil, bank.ReasonFromInvalid, nil
	case c.From == c.To:
		return nil, nil, bank.ReasonSame, nil
	}
	if from, err = b.find(ctx, c.From); err != nil {
		return nil, nil, "", err
	}
	if to, err = b.find(ctx, c.To); err != nil {
		return nil, nil, "", err
	}
	switch {
	case from == nil && to == nil:
		return nil, nil, bank.ReasonBothUnknown, nil
	case from != nil && from.token != c.Token:
		return nil, nil, bank.ReasonInvalidToken, nil
	case from != nil && from.amount-c.Amount < from.limit:
		return nil, nil, bank.ReasonInsufficientFunds, nil
	}
	if from != nil {
		if err := b.add(ctx, from, -c.Amount); err != nil {
			return nil, nil, "", err
		}
	}
	if to != nil {
		if err := b.add(ctx, to, c.Amount); err != nil {
			return nil, nil, "", err
		}
	}
	return from, to, "", nil
}

// createAccount answers a creation by what became of it before, or opens an account.
func (b *books) createAccount(ctx context.Context, c *bank.ConfirmAccountCreation) (bank.CreationOutcome, error) {
	var iban, token, kind, reason sql.NullString
	err := b.selectCreation.QueryRowContext(ctx, c.ID.String()).Scan(&iban, &token, &kind, &reason)
	if err == nil {
		return bank.CreationOutcome{IBAN: iban.String, Token: token.String, Reason: reason.String}, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return bank.CreationOutcome{}, err
	}
	var o bank.CreationOutcome
	if o.IBAN, err = bank.NewIBAN(rand.Reader); err != nil {
		return o, err
	}
	if o.Token, err = bank.NewToken(rand.Reader); err != nil {
		return o, err
	}
	taken, err := b.find(ctx, o.IBAN)
	if err != nil {
		return o, err
	}
	if taken != nil {
		_, err = b.insertCreation.ExecContext(ctx, c.ID.String(), nil, nil, nil, bank.ReasonNoFreeIBAN)
		return bank.CreationOutcome{Reason: bank.ReasonNoFreeIBAN}, err
	}
	if _, err := b.insertCreation.ExecContext(ctx, c.ID.String(), o.IBAN, o.Token, string(c.Type), nil); err != nil {
		return o, err
	}
	_, err = b.insertAccount.ExecContext(ctx, o.IBAN, o.Token, string(c.Type))
	return o, err
}
