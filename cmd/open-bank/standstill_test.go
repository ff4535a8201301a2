package main

import (
	"database/sql"
	"strings"
	"syscall"
	"testing"
	"time"

	"openbank/embedded"
	"openbank/embedded/embeddedtest"
)

// A server that stands still takes connections, and answers neither a statement nor that it is to be given up.
func TestReadingTheDatabaseEndsInTimeWhereTheServerStandsStill(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Postgres(t, embedded.PostgresConfig{})
	migrated(t, server)
	db := embeddedtest.Database(t, server.URL(""))
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(t.Context(), `LOCK TABLE balance`); err != nil {
		t.Fatal(err)
	}
	frozen := 0
	for _, args := range [][]string{{"verify", "--timeout=4s"}, {"balance", "x", "--timeout=4s"}} {
		ended := make(chan outcome, 1)
		go func() { ended <- execute(t, t.TempDir(), []string{"DATABASE_URL=" + server.URL("")}, args...) }()
		frozen = freezeWhoWaits(t, db, frozen)
		if got := <-ended; got.code != 1 || !strings.Contains(got.stderr, "DATABASE_URL: the server did not answer in time") {
			t.Errorf("%s: %+v", args[0], got)
		}
	}
}

// freezeWhoWaits stops the process of the session, other than one, that waits for the accounts, until the test ends.
func freezeWhoWaits(t *testing.T, db *sql.DB, but int) (pid int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(20 * time.Second); ; {
		if err := db.QueryRowContext(t.Context(), `SELECT coalesce(max(pid), 0) FROM pg_locks WHERE NOT granted AND relation = CAST('balance' AS regclass) AND pid <> $1`, but).Scan(&pid); err != nil {
			t.Fatal(err)
		}
		if pid > 0 {
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
			return pid
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("nobody waits for the lock")
		}
	}
}
