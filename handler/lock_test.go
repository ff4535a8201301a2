package handler_test

import (
	"database/sql"
	"errors"
)

// lock keeps handlers from an account until the transaction or the test ends.
func (b *bundle) lock(account string) *sql.Tx {
	b.t.Helper()
	tx, err := b.connected(b.bank.Postgres.URL("")).BeginTx(b.t.Context(), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = tx.Rollback() })
	if _, err := tx.ExecContext(b.t.Context(), `SELECT FROM balance WHERE iban = $1 FOR UPDATE`, account); err != nil {
		b.t.Fatal(err)
	}
	return tx
}

// awaited says whether somebody waits for a lock.
func (b *bundle) awaited(tx *sql.Tx) error {
	waiting := false
	err := tx.QueryRowContext(b.t.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype <> 'advisory')`).Scan(&waiting)
	if err == nil && !waiting {
		err = errors.New("nobody waits")
	}
	return err
}
