package audit

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
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

// accountsThere are the accounts that a database has, and of which it says that they were there before.
func accountsThere(t *testing.T, url string) map[string]bool {
	t.Helper()
	var e Evidence
	if err := ReadTables(t.Context(), url, &e); err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, a := range e.Accounts {
		there[a.IBAN] = a.Before
	}
	return there
}

// withStore does something with a database as a handler's store does.
func withStore(t *testing.T, url string, do func(*store.Store) error) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{URL: url, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(do(s), s.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestAnAccountThatWasThereBeforeIsToldFromOneThatCameLater(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Postgres(t, embedded.PostgresConfig{Version: os.Getenv("POSTGRES_VERSION")})
	for _, l := range append(predecessor.Layouts(), predecessor.Layout{Name: "new", Balance: "balance", AccountType: "type"}) {
		if err := server.CreateDatabase(t.Context(), l.Name); err != nil {
			t.Fatal(err)
		}
		url := server.URL(l.Name)
		db := embeddedtest.Database(t, url)
		must := func(statement string, args ...any) {
			t.Helper()
			if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
				t.Fatalf("%s: %s: %v", l.Name, statement, err)
			}
		}
		want := map[string]bool{bank.CompanyIBAN: true}
		expect := func(when string) {
			t.Helper()
			if got := accountsThere(t, url); !maps.Equal(got, want) {
				t.Errorf("%s, %s: got %v, want %v", l.Name, when, got, want)
			}
		}
		taken := l.Name != "new"
		if taken {
			if err := l.Create(t.Context(), db); err != nil {
				t.Fatal(err)
			}
			must(l.InsertAccount(), "killed", "t", "AUTO") // and its command not written down
			want["killed"] = true
		}
		expectAfter := func(when string, do func(*store.Store) error) {
			t.Helper()
			withStore(t, url, do)
			expect(when)
		}
		migrate := func(s *store.Store) error { return s.Migrate(t.Context()) }
		expectAfter("at first", migrate)
		expectAfter("with one that was opened", func(s *store.Store) error {
			opened, err := s.Execute(t.Context(), store.Batch{Commands: []store.Command{{Creation: &bank.ConfirmAccountCreation{ID: bank.ID{1}, Type: bank.Auto}}}})
			if err == nil {
				want[opened[0].IBAN] = false
			}
			return err
		})
		must(fmt.Sprintf(`SET open_bank.handler = 'on'; INSERT INTO %s (iban, token, amount, %s, opening) VALUES ('forged', 't', 5, 'AUTO', 5)`, l.Balance, l.AccountType))
		want["forged"] = false
		expect("with one that somebody forged")
		if !taken {
			must(`UPDATE balance SET amount = amount + 5, opening = opening + 5 WHERE iban = $1`, bank.CompanyIBAN)
			want[bank.CompanyIBAN] = false
			expect("with another opening")
		}
		for iban := range want {
			want[iban] = true
		}
		expectAfter("handed back", func(s *store.Store) error { return s.HandBack(t.Context()) })
		must(fmt.Sprintf(`INSERT INTO %s (iban, token, %s) VALUES ('meanwhile', 't', 'AUTO')`, l.Balance, l.AccountType))
		want["meanwhile"] = true
		expectAfter("taken over again", migrate)
	}
}

func TestWhatIsExecutedOnADatabaseThatIsHandedBackIsTold(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Postgres(t, embedded.PostgresConfig{Version: os.Getenv("POSTGRES_VERSION")})
	url, topic := server.URL(""), DefaultTopics().ConfirmMoneyTransfer
	db := embeddedtest.Database(t, url)
	expect := func(when string, want ...Place) {
		t.Helper()
		var e Evidence
		if err := ReadTables(t.Context(), url, &e); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(e.Late, want) {
			t.Errorf("%s: got %v, want %v", when, e.Late, want)
		}
	}
	work := func(s *store.Store) error {
		if err := s.Migrate(t.Context()); err != nil {
			return err
		}
		_, err := s.Execute(t.Context(), store.Batch{Progress: []store.Progress{{Topic: topic, Partition: 2, ExecutedTo: 8, PublishedTo: 8}}})
		return err
	}
	withStore(t, url, work)
	expect("in charge")
	withStore(t, url, func(s *store.Store) error { return s.HandBack(t.Context()) })
	expect("handed back")
	if _, err := db.ExecContext(t.Context(), `INSERT INTO progress VALUES ($1, $2, 2, 9, 8)`, topic, noTopicID); err != nil {
		t.Fatal(err)
	}
	expect("executed since", Place{topic, 2, 8})
	withStore(t, url, work)
	expect("taken over again")
}
