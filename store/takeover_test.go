package store

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"openbank/bank"
	"openbank/embedded/embeddedtest"
	"openbank/predecessor"
)

// old is a bank as a predecessor left it, and the predecessor's own connection.
type old struct {
	predecessor.Layout
	url string // the predecessor's user's
	db  *sql.DB

	rich, poor     bank.Account // with and without money
	creation       Command      // of poor
	failedCreation Command
	done, failed   Command // transfers
}

// predecessorsBank makes the tables of layouts in one database, with accounts and handled commands in each.
func predecessorsBank(t testing.TB, layouts ...predecessor.Layout) []*old {
	t.Helper()
	url := database(t)
	superuser := embeddedtest.Database(t, url)
	var all []*old
	for _, l := range layouts {
		if err := l.Create(t.Context(), superuser); err != nil {
			t.Fatal(err)
		}
		o := &old{Layout: l}
		var err error
		if o.url, err = l.URL(url); err != nil {
			t.Fatal(err)
		}
		o.db = embeddedtest.Database(t, o.url)
		o.fill(t)
		all = append(all, o)
	}
	return all
}

func (o *old) fill(t testing.TB) {
	o.rich = bank.Account{IBAN: iban(1), Token: strings.Repeat("1", 20), Type: bank.Manual}
	o.poor = bank.Account{IBAN: iban(2), Token: strings.Repeat("2", 20), Type: bank.Auto}
	o.creation, o.failedCreation = create(bank.Auto), create(bank.Auto)
	o.done, o.failed = move(5, "cash", "", o.rich.IBAN), move(7, o.poor.IBAN, o.poor.Token, o.rich.IBAN)
	for _, a := range []bank.Account{o.rich, o.poor} {
		o.must(t, o.InsertAccount(), a.IBAN, a.Token, a.Type)
	}
	o.must(t, o.InsertCreation(), o.creation.Creation.ID.String(), o.poor.IBAN, o.poor.Token, o.poor.Type, nil)
	var drawn, secret any // of an account that could not be opened: a handler may have kept what it drew
	if o.Layout == predecessor.Rust {
		drawn, secret = o.rich.IBAN, "33333333333333333333"
	}
	o.must(t, o.InsertCreation(), o.failedCreation.Creation.ID.String(), drawn, secret, nil, "generated iban already exists, try again")
	o.must(t, o.InsertTransfer(), o.done.Transfer.ID.String(), nil)
	o.must(t, o.InsertTransfer(), o.failed.Transfer.ID.String(), "insufficient funds")
	o.must(t, o.UpdateAmount(), 123_456, 1)
}

// iban is the open-bank IBAN with account number n.
func iban(n int) string {
	for check := range 100 {
		if text := fmt.Sprintf("NL%02dOPEN0%09d", check, n); bank.ValidIBAN(text) {
			return text
		}
	}
	panic("no check digits fit")
}

func (o *old) must(t testing.TB, statement string, args ...any) {
	t.Helper()
	if _, err := o.db.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// writes are the predecessor's own, which must not conflict with rows that are there.
func (o *old) writes(n int) map[string][]any {
	return map[string][]any{
		o.InsertAccount():  {iban(1000 + n), "t", "AUTO"},
		o.UpdateAmount():   {int64(n), 2},
		o.InsertCreation(): {newID().String(), iban(1000 + n), "t", "AUTO", nil},
		o.InsertTransfer(): {newID().String(), nil},
	}
}

// refused fails the test unless each of the predecessor's writes is refused with a sentence that says what to do.
func (o *old) refused(t testing.TB) {
	t.Helper()
	statements := o.writes(1)
	for _, text := range []string{`DELETE FROM {cmt}`, `TRUNCATE {cmt}`, `UPDATE {balance} SET lmt = 0 WHERE false`} {
		statements[strings.NewReplacer("{cmt}", o.Transfers, "{balance}", o.Balance).Replace(text)] = nil
	}
	for statement, args := range statements {
		if _, err := o.db.ExecContext(t.Context(), statement, args...); err == nil || !strings.Contains(err.Error(), "command-handler hand-back") {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

func takeOver(t testing.TB, o *old) *Store {
	t.Helper()
	s := open(t, o.url)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.layout.name != o.Name {
		t.Fatalf("it works on the %s layout", s.layout.name)
	}
	return s
}

// closed closes a store before its test ends.
func closed(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestABankOfEitherPredecessorIsTakenOverHandedBackAndTakenOverAgain(t *testing.T) {
	t.Parallel()
	for _, l := range predecessor.Layouts() {
		t.Run(l.Name, func(t *testing.T) {
			t.Parallel()
			o := predecessorsBank(t, l)[0]
			var before, after string
			rows := `SELECT string_agg(CAST((balance_id, iban, token, amount, ` + l.AccountType + `, lmt, created_at, updated_at) AS text), ' ' ORDER BY balance_id) FROM ` + l.Balance
			if err := o.db.QueryRowContext(t.Context(), rows).Scan(&before); err != nil {
				t.Fatal(err)
			}
			s := takeOver(t, o)
			s.query(t, &after, rows)
			if before != after {
				t.Errorf("the accounts were\n%s\nand are\n%s", before, after)
			}
			o.answered(t, s)
			if r := sound(t, s); r.HandedBack || r.History != 4 || r.Openings != fmt.Sprint(bank.CompanyBalance+123_456) {
				t.Errorf("%+v", r)
			}

			// New commands, on old accounts and on new ones.
			mine := move(100, o.rich.IBAN, o.rich.Token, o.poor.IBAN)
			mine.Origin = origin1
			outs := execute(t, s, create(bank.Auto), mine)
			want := []bank.BalanceChanged{
				{IBAN: o.rich.IBAN, NewBalance: 123_356, ChangedBy: -100, FromTo: o.poor.IBAN, Description: "for a test", Version: 1},
				{IBAN: o.poor.IBAN, NewBalance: 100, ChangedBy: 100, FromTo: o.rich.IBAN, Description: "for a test", Version: 1},
			}
			if outs[0].Reason != "" || !slices.Equal(outs[1].Events, want) {
				t.Fatalf("%+v", outs)
			}
			if again := execute(t, s, mine)[0]; again.Disposition != Unfinished {
				t.Errorf("delivered again: %+v", again)
			}
			sound(t, s)
			o.refused(t)

			// Back.
			other := open(t, o.url)
			var stop *FatalError
			if err := other.HandBack(t.Context()); !errors.As(err, &stop) || !strings.Contains(err.Error(), "handlers are connected: Postgres session ") || !strings.Contains(err.Error(), "of user "+l.User+", program open-bank") {
				t.Fatal(err)
			}
			o.refused(t)
			closed(t, s)
			for range 2 { // the second time there is nothing to do
				if err := other.HandBack(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			for statement, args := range o.writes(2) {
				o.must(t, statement, args...)
			}
			if r, err := other.Verify(t.Context()); err != nil || !r.HandedBack || r.OK() {
				t.Errorf("%+v, %v", r, err)
			}
			if _, err := other.Execute(t.Context(), Batch{Commands: []Command{mine}}); !errors.As(err, &stop) || !strings.Contains(err.Error(), "was handed back") {
				t.Fatal(err)
			}
			closed(t, other)

			// And again.
			s = takeOver(t, o)
			o.answered(t, s)
			if again := execute(t, s, mine)[0]; again.Disposition != Duplicate || again.Events != nil {
				t.Errorf("from the tenure before: %+v", again)
			}
			r := sound(t, s)
			if r.History != 4+2+2 || r.Events != 0 || r.Openings != fmt.Sprint(bank.CompanyBalance+123_356+2) {
				t.Errorf("%+v", r)
			}
			if out := execute(t, s, move(3, "cash", "", o.rich.IBAN))[0]; len(out.Events) != 1 || out.Events[0].Version != 2 || out.Events[0].NewBalance != 123_359 {
				t.Errorf("%+v", out)
			}
			sound(t, s)
			o.refused(t)
		})
	}
}

// answered fails the test unless the ids that the predecessor handled get the answers that it gave.
func (o *old) answered(t testing.TB, s *Store) {
	t.Helper()
	want := []Outcome{
		{Disposition: Duplicate, IBAN: o.poor.IBAN, Token: o.poor.Token, Type: o.poor.Type},
		{Disposition: Duplicate, Reason: "generated iban already exists, try again"},
		{Disposition: Duplicate},
		{Disposition: Duplicate, Reason: "insufficient funds"},
	}
	for i, got := range execute(t, s, o.creation, o.failedCreation, o.done, o.failed) {
		if fmt.Sprint(got) != fmt.Sprint(want[i]) {
			t.Errorf("got %+v, want %+v", got, want[i])
		}
	}
}
