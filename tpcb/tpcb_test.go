package tpcb

import (
	"strings"
	"testing"
	"time"

	"openbank/embedded"
	"openbank/embedded/embeddedtest"
)

func TestBothWaysLeaveTheSameBooksAndNothingBehind(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Postgres(t, embedded.PostgresConfig{})
	for _, ourselves := range []bool{false, true} {
		config := Config{URL: server.URL(""), Binaries: server.Binaries(), Scale: 1, Clients: 2}
		tables, err := prepare(t.Context(), config, ourselves)
		if err != nil {
			t.Fatal(err)
		}
		rate, err := tables.Run(t.Context(), time.Second)
		if err != nil || rate <= 0 {
			t.Fatalf("%s: %v/s, %v", tables.How(), rate, err)
		}
		var accounts, branches, history, rows int64
		if err := tables.db.QueryRowContext(t.Context(), `SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(bbalance) FROM pgbench_branches),
			(SELECT sum(delta) FROM pgbench_history), (SELECT count(*) FROM pgbench_accounts)`).Scan(&accounts, &branches, &history, &rows); err != nil {
			t.Fatal(err)
		}
		if accounts != branches || accounts != history || rows != 100_000 {
			t.Errorf("%s: accounts %d, branches %d, history %d, %d rows", tables.How(), accounts, branches, history, rows)
		}
		if err := tables.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	db := embeddedtest.Database(t, server.URL(""))
	var left int
	if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_namespace WHERE nspname = $1`, schema).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d schemas are left, %v", left, err)
	}
}

// What is no URL would be made one with the password in its host's name, which errors tell.
func TestADatabaseThatNoURLNamesIsRefused(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]string{"pairs": "host=127.0.0.1 password=hush", "a directory with a socket": "postgres:///d?host=/run&password=hush"} {
		if _, err := Prepare(t.Context(), Config{URL: database}); err == nil || !strings.Contains(err.Error(), "postgres://USER:PASSWORD@HOST") || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
