package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"openbank/bank"
)

func TestVerifySeesWhateverIsAltered(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		alter string
		rules []string // each is broken, by its first words
	}{
		"a balance":                  {`UPDATE {balance} SET amount = amount + 1 WHERE balance_id = 1`, []string{"balances are openings", "an account's balance"}},
		"two balances":               {`UPDATE {balance} SET amount = amount + CASE balance_id WHEN 1 THEN 1 ELSE -1 END WHERE balance_id IN (1, 2)`, []string{"an account's balance"}},
		"a version":                  {`UPDATE {balance} SET version = version + 1 WHERE balance_id = 1`, []string{"an account's balance"}},
		"an opening":                 {`UPDATE {balance} SET opening = 1 WHERE balance_id = 1`, []string{"an account's balance", "an account's events"}},
		"an amount":                  {`UPDATE {cmt} SET amount = amount + 1 WHERE amount = 300`, []string{"an account's balance", "an account's events"}},
		"an event's balance":         {`UPDATE {cmt} SET to_balance = to_balance + 1 WHERE amount = 300`, []string{"an account's events"}},
		"an event's version":         {`UPDATE {cmt} SET to_version = 17 WHERE amount = 300`, []string{"an account's events"}},
		"a party":                    {`UPDATE {cmt} SET to_party = 'NL66OPEN0000000000' WHERE amount = 300`, []string{"an account's events", "an account's balance"}},
		"a party that is no account": {`UPDATE {cmt} SET to_party = 'nobody' WHERE amount = 300`, []string{"an account's balance"}},
		"a refusal":                  {`UPDATE {cmt} SET reason = NULL WHERE reason IS NOT NULL`, []string{"an account's events"}},
		"a confirmation":             {`UPDATE {cmt} SET reason = 'no' WHERE amount = 300`, []string{"an account's balance", "an account's events"}},
		"a side":                     {`UPDATE {cmt} SET to_version = NULL, to_balance = NULL WHERE amount = 300`, []string{"balances are openings", "an account's balance"}},
		"half a side":                {`UPDATE {cmt} SET to_balance = NULL WHERE amount = 300`, []string{"a confirmed transfer has"}},
		"a seq":                      {`UPDATE {cmt} SET seq = (SELECT max(seq) FROM {cmt}) WHERE amount = 300`, []string{"a seq"}},
		"an account that is gone":    {`DELETE FROM {balance} WHERE balance_id = 2`, []string{"balances are openings", "an account's balance", "a confirmed creation"}},
		"an account's token":         {`UPDATE {balance} SET token = 'x' WHERE balance_id = 2`, []string{"a confirmed creation"}},
		"a transfer that is gone":    {`DELETE FROM {cmt} WHERE amount = 300`, []string{"an account's balance", "an account's events"}},
		"a limit":                    {`UPDATE {balance} SET lmt = 0`, []string{"no account is below"}},
		"a number beyond all sums":   {`UPDATE {balance} SET amount = 9223372036854775807`, []string{"balances are openings", "an account's balance"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := migrated(t)
			a := accounts(t, s, 2, 1000)
			execute(t, s,
				move(300, a[0].IBAN, a[0].Token, a[1].IBAN), move(1, a[1].IBAN, a[1].Token, a[0].IBAN), move(2, a[1].IBAN, a[1].Token, a[0].IBAN),
				move(5, a[0].IBAN, "wrong", a[1].IBAN), move(4000, a[0].IBAN, a[0].Token, "shop"))
			r := sound(t, s)
			if r.Accounts != 3 || r.Creations != 2 || r.Transfers != 7 || r.Rejected != 1 || r.Events != 9 ||
				r.Inflow != "2000" || r.Outflow != "4000" || r.Openings != "100000000000000000" || r.Balances != "99999999999998000" {
				t.Fatalf("%+v", r)
			}
			s.exec(t, c.alter)
			r, err := s.Verify(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if r.OK() || int(r.Count) != len(r.Violations) {
				t.Fatalf("%+v", r)
			}
			for _, rule := range c.rules {
				found := false
				for _, v := range r.Violations {
					found = found || strings.HasPrefix(v.Rule, rule)
				}
				if !found {
					t.Errorf("%q should be broken: %+v", rule, r.Violations)
				}
			}
		})
	}
}

func TestViolationsAreAllCountedAndSomeListed(t *testing.T) {
	t.Parallel()
	s := migrated(t)
	accounts(t, s, 3*MaxViolations, 100)
	s.exec(t, `UPDATE {balance} SET version = 7`)
	r, err := s.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Count != 3*MaxViolations+1 || len(r.Violations) != MaxViolations {
		t.Fatalf("%d counted, %d listed", r.Count, len(r.Violations))
	}
}

func TestAccountsAndRowsCanBeRead(t *testing.T) {
	t.Parallel()
	s := migrated(t)
	c := create(bank.Manual)
	c.Origin = Origin{Topic: "confirm_account_creation", TopicID: [16]byte{9}, Offset: 4}
	made := execute(t, s, c)[0]
	paid := move(300, bank.CompanyIBAN, bank.CompanyToken, made.IBAN)
	paid.Origin = origin1
	out := execute(t, s, paid)[0]
	s.exec(t, `INSERT INTO {cmt} (uuid) VALUES ($1)`, newID().String())

	all, err := s.all(t.Context())
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	want := Account{Account: bank.Account{IBAN: made.IBAN, Token: made.Token, Type: bank.Manual, Balance: 300, Limit: bank.DefaultLimit, Version: 1}}
	if all[0] != want && all[1] != want {
		t.Fatalf("%+v", all)
	}
	var rows []handled
	if err := s.replay(t.Context(), func(r handled) error { rows = append(rows, r); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 3 || rows[0].Seq != 0 || rows[1].Seq != made.Seq || rows[2].Seq != out.Seq {
		t.Fatalf("%+v", rows)
	}
	if r := rows[1]; !r.Creation || r.ID != c.Creation.ID || r.Origin != c.Origin || r.IBAN != made.IBAN || r.Token != made.Token || r.Type != bank.Manual {
		t.Fatalf("%+v", r)
	}
	if r := rows[2]; r.Creation || r.ID != paid.Transfer.ID || r.Origin != origin1 || !r.HasTexts || r.From != bank.CompanyIBAN || r.To != made.IBAN ||
		r.Amount != 300 || r.Fingerprint != paid.Transfer.Fingerprint() || r.CreatedAt.IsZero() ||
		r.FromSide != (bank.Side{Known: true, Balance: bank.CompanyBalance - 300, Version: 1}) || r.ToSide != (bank.Side{Known: true, Balance: 300, Version: 1}) {
		t.Fatalf("%+v", r)
	}
}

// What a reader finds wrong is no fault of the surroundings: it would be read for ever.
func TestASnapshotEndsWithItsReadersError(t *testing.T) {
	t.Parallel()
	wrong := errors.New("a row that can't be read")
	calls := 0
	err := migrated(t).Snapshot(t.Context(), func(*sql.Tx, Tables) error {
		calls++
		return wrong
	})
	if !errors.Is(err, wrong) || calls != 1 {
		t.Errorf("after %d calls: %v", calls, err)
	}
}

func TestASnapshotEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := migrated(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Snapshot(ctx, func(tx *sql.Tx, _ Tables) error {
		cancel()
		_, err := tx.ExecContext(t.Context(), `SELECT pg_sleep(60)`) // which no context ends
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
