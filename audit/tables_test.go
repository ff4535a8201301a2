package audit

import (
	"log/slog"
	"os"
	"testing"

	"openbank/bank"
	"openbank/embedded"
	"openbank/embedded/embeddedtest"
	"openbank/predecessor"
	"openbank/store"
)

func TestTablesAreReadInEitherLayoutWithWhatAPredecessorLeft(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Postgres(t, embedded.PostgresConfig{Version: os.Getenv("POSTGRES_VERSION")})
	for _, l := range predecessor.Layouts() {
		if err := server.CreateDatabase(t.Context(), l.Name); err != nil {
			t.Fatal(err)
		}
		url := server.URL(l.Name)
		old := embeddedtest.Database(t, url)
		if err := l.Create(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		if _, err := old.ExecContext(t.Context(), l.InsertTransfer(), bank.ID{1}.String(), "insufficient funds"); err != nil {
			t.Fatal(err)
		}
		taken := []any{bank.ID{0}.String(), bank.CompanyIBAN, bank.CompanyToken, "AUTO", bank.ReasonNoFreeIBAN}
		if _, err := old.ExecContext(t.Context(), l.InsertCreation(), taken...); err != nil {
			t.Fatal(err)
		}
		open := func() *store.Store {
			s, err := store.Open(t.Context(), store.Config{URL: url, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		deposit := func(id byte) {
			s := open()
			defer func() { _ = s.Close() }()
			if err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Execute(t.Context(), store.Batch{Commands: []store.Command{{
				Transfer: &bank.ConfirmMoneyTransfer{ID: bank.ID{id}, Amount: 10, From: bank.Cash, To: bank.CompanyIBAN},
			}}}); err != nil {
				t.Fatal(err)
			}
		}
		read := func(want []Outcome, balance, opening, version int64) {
			t.Helper()
			var e Evidence
			if err := ReadTables(t.Context(), url, &e); err != nil {
				t.Fatal(err)
			}
			if len(e.Accounts) != 1 || len(e.Outcomes) != len(want) {
				t.Fatalf("%s: %+v", l.Name, e)
			}
			if a := e.Accounts[0]; a.IBAN != bank.CompanyIBAN || a.Type != bank.Auto || a.Balance-bank.CompanyBalance != balance ||
				a.Opening-bank.CompanyBalance != opening || a.OpeningVersion != version {
				t.Errorf("%s: %+v", l.Name, a)
			}
			for i, o := range e.Outcomes {
				if want[i].Seq != 0 && o.Seq > 0 {
					want[i].Seq = o.Seq // whichever
				}
				if o.Command.Kind == Transfer && o.HasContent != (o.Reason == "") || o.HasContent && (o.Amount != 10 || o.Debtor != bank.Cash || o.Creditor != bank.CompanyIBAN || !o.HasFingerprint) {
					t.Errorf("%s: %+v", l.Name, o)
				}
				o = Outcome{Command: o.Command, Seq: o.Seq, Reason: o.Reason, Opened: o.Opened, From: o.From, To: o.To}
				if o != want[i] {
					t.Errorf("%s: got %+v, want %+v", l.Name, o, want[i])
				}
			}
		}
		outcome := func(id byte, seq, balance, version int64) Outcome {
			return Outcome{Command: Key{Transfer, bank.ID{id}}, Seq: seq, To: bank.Side{Known: true, Balance: bank.CompanyBalance + balance, Version: version}}
		}
		opensNothing := Outcome{Command: Key{Creation, bank.ID{0}}, Reason: bank.ReasonNoFreeIBAN}
		refused := Outcome{Command: Key{Transfer, bank.ID{1}}, Reason: "insufficient funds"}

		deposit(2)
		read([]Outcome{opensNothing, refused, outcome(2, 1, 10, 1)}, 10, 0, 0)
		s := open()
		if err := s.HandBack(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		deposit(3)
		read([]Outcome{opensNothing, refused, outcome(2, 0, 10, 1), outcome(3, 1, 20, 2)}, 20, 10, 1)
	}
}
