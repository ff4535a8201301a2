package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	_ "github.com/lib/pq" // the driver

	"openbank/bank"
	"openbank/store"
)

// ReadTables adds what the handler's database says to e: accounts, and handled commands in order of execution. It reads in one
// snapshot and changes nothing.
func ReadTables(ctx context.Context, databaseURL string, e *Evidence) (err error) {
	db, err := sql.Open("postgres", databaseURL)
	if err != nil {
		return errors.New("reading DATABASE_URL: it is no Postgres URL") // not %w: the URL holds a password
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // it only read
	names, err := store.FindTables(ctx, tx)
	if err != nil {
		return fmt.Errorf("finding the handler's tables: %w", err)
	}
	if err := readAccounts(ctx, tx, names, e); err != nil {
		return fmt.Errorf("reading the accounts: %w", err)
	}
	if err := readOutcomes(ctx, tx, names, e); err != nil {
		return fmt.Errorf("reading the handled commands: %w", err)
	}
	return nil
}

func readAccounts(ctx context.Context, tx *sql.Tx, names store.Tables, e *Evidence) error {
	rows, err := tx.QueryContext(ctx, fmt.Sprintf(
		`SELECT iban, token, %s, amount, lmt, version, opening, opening_version FROM %s ORDER BY iban`, names.AccountType, names.Balance))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // its error is rows.Err's
	for rows.Next() {
		var a Account
		if err := rows.Scan(&a.IBAN, &a.Token, &a.Type, &a.Balance, &a.Limit, &a.Version, &a.Opening, &a.OpeningVersion); err != nil {
			return err
		}
		e.Accounts = append(e.Accounts, a)
	}
	return rows.Err()
}

func readOutcomes(ctx context.Context, tx *sql.Tx, names store.Tables, e *Evidence) error {
	rows, err := tx.QueryContext(ctx, fmt.Sprintf(`
		SELECT creation, id, CASE WHEN seq > (SELECT max(since_seq) FROM %s) THEN seq ELSE 0 END AS place, coalesce(reason, ''), coalesce(iban, ''), coalesce(token, ''),
			from_balance, from_version, to_balance, to_version
		FROM (
			SELECT true AS creation, CAST(uuid AS text) AS id, seq, reason, iban, token,
				CAST(NULL AS bigint) AS from_balance, CAST(NULL AS bigint) AS from_version, CAST(NULL AS bigint) AS to_balance, CAST(NULL AS bigint) AS to_version FROM %s
			UNION ALL
			SELECT false, CAST(uuid AS text), seq, reason, NULL, NULL, from_balance, from_version, to_balance, to_version FROM %s) rows
		ORDER BY place, id`, names.Tenure, names.Creations, names.Transfers))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // its error is rows.Err's
	for rows.Next() {
		var o Outcome
		var isCreation bool
		var id string
		var fromBalance, fromVersion, toBalance, toVersion sql.NullInt64
		if err := rows.Scan(&isCreation, &id, &o.Seq, &o.Reason, &o.IBAN, &o.Token, &fromBalance, &fromVersion, &toBalance, &toVersion); err != nil {
			return err
		}
		o.From = bank.Side{Known: fromVersion.Valid, Balance: fromBalance.Int64, Version: fromVersion.Int64}
		o.To = bank.Side{Known: toVersion.Valid, Balance: toBalance.Int64, Version: toVersion.Int64}
		o.Command.Kind = Transfer
		if isCreation {
			o.Command.Kind = Creation
		}
		if o.Command.ID, err = bank.ParseID(id); err != nil {
			return err
		}
		e.Outcomes = append(e.Outcomes, o)
	}
	return rows.Err()
}
