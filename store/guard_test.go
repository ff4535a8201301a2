package store

import (
	"errors"
	"strings"
	"testing"

	"openbank/bank"
	"openbank/predecessor"
)

func TestAStoreWithoutAGuardLetsOthersWriteAndOneWithItPutsItBack(t *testing.T) {
	t.Parallel()
	o := predecessorsBank(t, predecessor.Clojure)[0]
	takeOver(t, o)
	o.refused(t)
	without, err := Open(t.Context(), Config{URL: o.url, Unguarded: true, Logger: new(journal).logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = without.Close() })
	if err := without.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for statement, args := range o.writes(1) {
		o.must(t, statement, args...)
	}
	if r, err := without.Verify(t.Context()); err != nil || r.OK() {
		t.Errorf("the books add up though a balance was written over: %+v, %v", r, err)
	}
	takeOver(t, o)
	o.refused(t)
}

func TestAGuardThatSomebodySwitchedOffIsPutBack(t *testing.T) {
	t.Parallel()
	o := predecessorsBank(t, predecessor.Clojure)[0]
	takeOver(t, o)
	o.must(t, `ALTER TABLE cmt DISABLE TRIGGER ALL`)
	takeOver(t, o)
	o.refused(t)
}

// As behind a pooler that hands out another session for every transaction.
func TestASessionThatLostItsSettingsIsRefusedAndSaysWhy(t *testing.T) {
	t.Parallel()
	url := database(t)
	s, err := Open(t.Context(), Config{URL: url, Sessions: 1, Logger: new(journal).logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.executing.ExecContext(t.Context(), `SET open_bank.handler = 'off'`); err != nil {
		t.Fatal(err)
	}
	var stop *FatalError
	if _, err := s.Execute(t.Context(), Batch{Commands: []Command{move(1, "cash", "", bank.CompanyIBAN)}}); !errors.As(err, &stop) || !strings.Contains(err.Error(), "pooler in transaction mode") {
		t.Error(err)
	}
}

func TestAHandlerWhoseSessionsBrokeFindsThatTheDatabaseWasHandedBack(t *testing.T) {
	t.Parallel()
	o := predecessorsBank(t, predecessor.Rust)[0]
	p := newProxy(t, o.url, nil)
	s := open(t, p.url)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	execute(t, s, move(1, "cash", "", o.poor.IBAN))
	p.cut()
	back := open(t, o.url)
	await(t, "the server to notice", func() bool { return back.HandBack(t.Context()) == nil })
	var stop *FatalError
	if _, err := s.Execute(t.Context(), Batch{Commands: []Command{move(1, "cash", "", o.poor.IBAN)}}); !errors.As(err, &stop) || !strings.Contains(err.Error(), "was handed back while this handler was running") {
		t.Error(err)
	}
	for statement, args := range o.writes(1) {
		o.must(t, statement, args...)
	}
}

func TestAHandBackAfterACrashWarnsOfEventsThatMayBeMissing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		published int64
		warnings  int
	}{"stopped in order": {7, 0}, "killed": {5, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := predecessorsBank(t, predecessor.Clojure)[0]
			s := takeOver(t, o)
			if err := s.SaveProgress(t.Context(), []Progress{{Topic: "t", ExecutedTo: 7, PublishedTo: c.published}, {Topic: "t", Partition: 1, ExecutedTo: 3, PublishedTo: 3}}); err != nil {
				t.Fatal(err)
			}
			closed(t, s)
			log := new(journal)
			s, err := Open(t.Context(), Config{URL: o.url, Logger: log.logger()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			if err := s.HandBack(t.Context()); err != nil {
				t.Fatal(err)
			}
			if text := log.String(); strings.Count(text, "was not stopped in order") != c.warnings {
				t.Error(text)
			}
			var left int
			if err := s.reading.GetContext(t.Context(), &left, `SELECT count(*) FROM progress`); err != nil || left != 0 {
				t.Errorf("%d rows, %v", left, err)
			}
		})
	}
}

func TestADatabaseThatWasNeverTakenOverCannotBeHandedBack(t *testing.T) {
	t.Parallel()
	o := predecessorsBank(t, predecessor.Clojure)[0]
	var stop *FatalError
	if err := open(t, o.url).HandBack(t.Context()); !errors.As(err, &stop) || !strings.Contains(err.Error(), "nothing to hand back") {
		t.Error(err)
	}
}

func TestAccountsThatMakeNoSenseAreTakenOverAsTheyAre(t *testing.T) {
	t.Parallel()
	o := predecessorsBank(t, predecessor.Clojure)[0]
	odd, login := "not an iban", create(bank.Manual)
	o.must(t, `INSERT INTO balance (iban, token, amount, type, lmt) VALUES
		('not an iban', '', -9223372036854775808, 'purple', 5), ('', 'x', 9223372036854775807, '', 9223372036854775807), ($1, 'y', -70000, 'AUTO', -50000)`, iban(77))
	o.must(t, o.InsertCreation(), login.Creation.ID.String(), odd, "", "purple", nil)
	o.must(t, o.InsertCreation(), newID().String(), "an account that was lost", "", "AUTO", nil)
	s := takeOver(t, o)
	sound(t, s)
	outs := execute(t, s,
		login,
		move(1, "cash", "", odd), // to a party like any other
		move(1, odd, "", "cash"),
		move(1, iban(77), "y", "cash"),
		move(100, "cash", "", iban(77)),
	)
	for i, want := range []string{"", "", "from is invalid", "insufficient funds", ""} {
		if outs[i].Reason != want {
			t.Errorf("%d: %+v", i, outs[i])
		}
	}
	if out := outs[0]; out.IBAN != odd || out.Type != bank.Manual { // a type that has an answer
		t.Errorf("%+v", out)
	}
	sound(t, s)
}

func TestWhatCannotBeTakenOverIsASentence(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		alter, want, mend string
	}{
		"accounts of one IBAN": {
			`INSERT INTO balance (iban, token, type) SELECT iban, token, type FROM balance WHERE balance_id > 0 ORDER BY balance_id; INSERT INTO balance (iban, token, type) SELECT iban, token, type FROM balance WHERE balance_id = 2`,
			"several accounts have the same IBAN: " + iban(2) + " (balance_id 2, 4, 5), " + iban(1) + " (balance_id 1, 3); nobody can tell",
			`DELETE FROM balance WHERE balance_id > 2`,
		},
		"another program's table": {`CREATE TABLE progress (percent int)`, "table progress has no column topic; ", `DROP TABLE progress`},
		"a column of another type": {
			`ALTER TABLE balance ALTER COLUMN amount TYPE text`, "column amount of table balance is of type text, not bigint",
			`ALTER TABLE balance ALTER COLUMN amount DROP DEFAULT, ALTER COLUMN amount TYPE bigint USING CAST(amount AS bigint), ALTER COLUMN amount SET DEFAULT 0`,
		},
		"a column that nobody fills": {
			`ALTER TABLE cmt ADD COLUMN branch text NOT NULL DEFAULT ''; ALTER TABLE cmt ALTER COLUMN branch DROP DEFAULT`,
			"column branch of table cmt must have a value that the handler does not know", `ALTER TABLE cmt ALTER COLUMN branch DROP NOT NULL`,
		},
		"ids that may be there twice": {`ALTER TABLE cac DROP CONSTRAINT cac_pkey`, "the column uuid of table cac is not unique: ALTER TABLE cac ADD PRIMARY KEY (uuid)", `ALTER TABLE cac ADD PRIMARY KEY (uuid)`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := predecessorsBank(t, predecessor.Clojure)[0]
			o.must(t, c.alter)
			s := open(t, o.url)
			var stop *FatalError
			if err := s.Migrate(t.Context()); !errors.As(err, &stop) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, want %s", err, c.want)
			}
			for statement, args := range map[string][]any{o.InsertTransfer(): {newID().String(), nil}, o.UpdateAmount(): {123_456, 1}} {
				if name != "a column that nobody fills" {
					o.must(t, statement, args...) // its handler can go on
				}
			}
			o.must(t, c.mend)
			if err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			sound(t, s)
		})
	}
}

// An operator who has to change a balance can, and verify tells of it.
func TestWhatAnOperatorChangesIsSeenByVerify(t *testing.T) {
	t.Parallel()
	o := predecessorsBank(t, predecessor.Clojure)[0]
	s := takeOver(t, o)
	o.refused(t)
	sound(t, s)
	o.must(t, `SET open_bank.handler = 'on'; UPDATE balance SET amount = amount + 1 WHERE iban = '`+o.poor.IBAN+`'`)
	if r, err := s.Verify(t.Context()); err != nil || r.OK() {
		t.Errorf("the books add up though a balance was changed: %+v, %v", r, err)
	}
}
