package store

import (
	"database/sql"
	"errors"
	"strings"
	"testing"

	"openbank/embedded/embeddedtest"
	"openbank/predecessor"
)

func TestWhichLayoutADatabaseIsWorkedOnIn(t *testing.T) {
	t.Parallel()
	both := predecessorsBank(t, predecessor.Clojure, predecessor.Rust)
	one := predecessorsBank(t, predecessor.Rust)[0]
	empty, part := database(t), database(t)
	must(t, embeddedtest.Database(t, part), `CREATE TABLE cmtr (whatever text)`)
	for name, c := range map[string]struct {
		url, given, preferred string
		want                  string // or the error, of several words
	}{
		"none there":                                  {url: empty, preferred: "rust", want: "clojure"},
		"none there, one named":                       {url: empty, given: "rust", want: "rust"},
		"one there":                                   {url: one.url, preferred: "clojure", want: "rust"},
		"one there that the user may not write":       {url: strings.Replace(one.url, "rust_ch", "clojure_ch", 1), want: "rust"},
		"one there, the other named":                  {url: one.url, given: "clojure", want: "clojure"},
		"both, of which the user may write one":       {url: both[0].url, preferred: "rust", want: "clojure"},
		"both, of which the user may write the other": {url: both[1].url, want: "rust"},
		"both for a superuser":                        {url: both[0].asSuperuser(t), want: "set DATABASE_LAYOUT to clojure or rust"},
		"both for a superuser, one preferred":         {url: both[0].asSuperuser(t), preferred: "rust", want: "rust"},
		"both for a superuser, one named":             {url: both[0].asSuperuser(t), given: "clojure", preferred: "rust", want: "clojure"},
		"some of one's tables":                        {url: part, want: "of the tables balancer, cacr and cmtr the database holds cmtr alone, so it is no bank"},
		"a layout that is none":                       {url: empty, given: "kotlin", want: `DATABASE_LAYOUT is "kotlin"; it must be clojure or rust`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Open(t.Context(), Config{URL: c.url, Layout: c.given, Prefer: c.preferred, Logger: new(journal).logger()})
			if err == nil {
				defer closed(t, s)
			}
			var stop *FatalError
			switch {
			case err == nil && s.layout.name != c.want:
				t.Errorf("it is the %s layout", s.layout.name)
			case err != nil && (!errors.As(err, &stop) || !strings.Contains(err.Error(), c.want) || !strings.Contains(c.want, " ")):
				t.Error(err)
			}
		})
	}
}

func TestBothLayoutsAreTakenOverInOneDatabase(t *testing.T) {
	t.Parallel()
	both := predecessorsBank(t, predecessor.Clojure, predecessor.Rust)
	s := []*Store{takeOver(t, both[0]), takeOver(t, both[1])}
	made := accounts(t, s[1], 1, 70)[0]
	execute(t, s[0], move(100, both[0].rich.IBAN, both[0].rich.Token, both[0].poor.IBAN), move(1, made.IBAN, made.Token, "shop"))
	execute(t, s[1], move(30, made.IBAN, made.Token, both[1].poor.IBAN))
	for i, o := range both {
		o.answered(t, s[i])
		o.refused(t)
	}
	if a, b := sound(t, s[0]), sound(t, s[1]); a.Accounts != 3 || a.Events != 2 || b.Accounts != 4 || b.Events != 3 {
		t.Errorf("%+v\n%+v", a, b)
	}

	// One goes back, the other stays.
	closed(t, s[0])
	back := open(t, both[0].url)
	if err := back.HandBack(t.Context()); err != nil {
		t.Fatal(err)
	}
	for statement, args := range both[0].writes(1) {
		both[0].must(t, statement, args...)
	}
	both[1].refused(t)
	execute(t, s[1], move(30, made.IBAN, made.Token, "shop"))
	sound(t, s[1])
}

// A reader who may write both and prefers none, as one who verifies with the superuser's URL.
func TestOfBothLayoutsTheOneThatIsInChargeIsRead(t *testing.T) {
	t.Parallel()
	both := predecessorsBank(t, predecessor.Clojure, predecessor.Rust)
	takeOver(t, both[1])
	s := open(t, both[0].asSuperuser(t))
	if s.layout.name != "rust" {
		t.Errorf("it is the %s layout", s.layout.name)
	}
	if err := s.Snapshot(t.Context(), func(_ *sql.Tx, names Tables) error {
		if names != (Tables{Balance: "balancer", Creations: "cacr", Transfers: "cmtr", AccountType: "type_", Tenure: "tenurer", Topics: "command_topicr", Progress: "progressr"}) {
			t.Errorf("%+v", names)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// A DATABASE_LAYOUT that was set by mistake would have all accounts unknown, and every command that was handled executed again.
func TestNoSecondLedgerIsBegunBesideTheOneThatIsThere(t *testing.T) {
	t.Parallel()
	inCharge := migrated(t)
	var url string
	inCharge.query(t, &url, `SELECT current_database()`)
	for name, c := range map[string]struct{ url, given, there string }{
		"a predecessor's":       {predecessorsBank(t, predecessor.Rust)[0].asSuperuser(t), "clojure", "balancer"},
		"ours, that is at work": {server.URL(url), "rust", "balance"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Open(t.Context(), Config{URL: c.url, Layout: c.given, Logger: new(journal).logger()})
			if err != nil {
				t.Fatal(err)
			}
			defer closed(t, s)
			var stop *FatalError
			if err := s.Migrate(t.Context()); !errors.As(err, &stop) || !strings.Contains(err.Error(), "DATABASE_LAYOUT is "+c.given) || !strings.Contains(err.Error(), "("+c.there+", ") {
				t.Errorf("%v", err)
			}
			var there bool
			s.query(t, &there, `SELECT to_regclass('{balance}') IS NOT NULL`)
			if there {
				t.Error("an empty ledger was begun")
			}
		})
	}
}

func TestAFreshDatabaseInTheRustLayoutIsTheRustHandlers(t *testing.T) {
	t.Parallel()
	url := database(t)
	s, err := Open(t.Context(), Config{URL: url, Layout: "rust", Logger: new(journal).logger()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	a := accounts(t, s, 2, 100)
	execute(t, s, move(10, a[0].IBAN, a[0].Token, a[1].IBAN))
	sound(t, s)
	closed(t, s)
	s = open(t, url)
	if err := s.HandBack(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := &old{Layout: predecessor.Rust, db: embeddedtest.Database(t, url)}
	for statement, args := range o.writes(1) {
		o.must(t, statement, args...)
	}
}
