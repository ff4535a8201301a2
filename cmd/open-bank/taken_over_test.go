package main

import (
	"log/slog"
	"strings"
	"testing"

	"openbank/bank"
	"openbank/embedded"
	"openbank/embedded/embeddedtest"
	"openbank/predecessor"
	"openbank/store"
)

func TestABankThatWasTakenOverIsReadInItsOwnLayout(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Postgres(t, embedded.PostgresConfig{})
	old := embeddedtest.Database(t, server.URL(""))
	l := predecessor.Rust
	if err := l.Create(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if _, err := old.ExecContext(t.Context(), l.InsertTransfer(), bank.ID{1}.String(), nil); err != nil {
		t.Fatal(err)
	}
	where := []string{"DATABASE_URL=" + server.URL("")}
	ask := func(args ...string) outcome { return execute(t, t.TempDir(), where, args...) }

	for _, args := range [][]string{{"verify"}, {"balance", bank.CompanyIBAN}} {
		if got := ask(args...); got.code != 1 || !strings.Contains(got.stderr, "command-handler migrate") {
			t.Errorf("before the take-over: %+v", got)
		}
	}
	s := migrated(t, server)
	if _, err := s.Execute(t.Context(), store.Batch{Commands: []store.Command{{
		Transfer: &bank.ConfirmMoneyTransfer{ID: bank.ID{2}, Amount: 1250, From: bank.Cash, To: bank.CompanyIBAN},
	}}}); err != nil {
		t.Fatal(err)
	}
	if got := ask("balance", bank.CompanyIBAN); got.code != 0 || got.stdout != "balance 1000000000000012.50 euro, limit -500.00 euro, type AUTO, changed 1 time\n" {
		t.Errorf("%+v", got)
	}
	if got := ask("balance", "NL00OPEN0000000000"); got.code != 1 || !strings.Contains(got.stderr, "is no account of this bank") {
		t.Errorf("%+v", got)
	}
	got := ask("verify")
	for _, want := range []string{"1 account, 0 creations and 2 transfers (0 of them rejected), 1 change of balances\n", "openings 1000000000000000.00 + in 12.50", "1 command from before the database was taken over", "the books add up"} {
		if got.code != 0 || !strings.Contains(got.stdout, want) {
			t.Errorf("%q is not in %+v", want, got)
		}
	}
}

// migrated is the store of a server's database, which is in charge of it.
func migrated(t *testing.T, server *embedded.Postgres) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{URL: server.URL(""), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}
