package handler_test

import (
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"openbank/bank"
	"openbank/predecessor"
	"openbank/store"
)

// check holds the tables to the answers, the events to the tables, and the tables to themselves.
func (s *swap) check(repeats bool) {
	s.t.Helper()
	s.checkMoney()
	s.checkVersions()
	s.checkBooks()
	s.answered(reasonableTimeout, repeats)
}

// checkMoney holds every balance to what was answered: the openings, and once each the transfers that were confirmed.
func (s *swap) checkMoney() {
	s.t.Helper()
	want := map[string]int64{bank.CompanyIBAN: bank.CompanyBalance}
	for iban := range s.ibans {
		want[iban] = 0
	}
	for id, c := range s.sent {
		c, ok := c.(*bank.ConfirmMoneyTransfer)
		if !ok || !strings.HasPrefix(s.said[id], "*bank.MoneyTransferConfirmed") {
			continue
		}
		for party, amount := range map[string]int64{c.From: -c.Amount, c.To: c.Amount} {
			if _, ours := want[party]; ours {
				want[party] += amount
			}
		}
	}
	rows, err := s.db.QueryContext(s.t.Context(), `SELECT iban, amount FROM `+s.layout.Balance)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var iban string
		var amount int64
		if err := rows.Scan(&iban, &amount); err != nil {
			s.t.Fatal(err)
		}
		if expected, ok := want[iban]; !ok || expected != amount {
			s.t.Errorf("%s has %d, and by the answers %d", iban, amount, expected)
		}
		delete(want, iban)
	}
	if err := rows.Err(); err != nil {
		s.t.Fatal(err)
	}
	if len(want) > 0 {
		s.t.Errorf("%d accounts are gone", len(want))
	}
}

// checkVersions sees to it that the events with a version count each account's changes by ours without a gap, from the opening on.
func (s *swap) checkVersions() {
	s.t.Helper()
	versions := map[string][]int{}
	for _, r := range s.w.of(events, "") {
		if text := header(r, "account-version"); text != "" {
			v, err := strconv.Atoi(text)
			if err != nil {
				s.t.Fatal(err)
			}
			versions[string(r.Key)] = append(versions[string(r.Key)], v)
		}
	}
	for iban, have := range versions {
		slices.Sort(have)
		for i, v := range have {
			if v != i+1 {
				s.t.Errorf("%s: the events' versions are %v", iban, have)
				break
			}
		}
		var version int
		if err := s.db.QueryRowContext(s.t.Context(), `SELECT version FROM `+s.layout.Balance+` WHERE iban = $1`, iban).Scan(&version); err != nil {
			s.t.Fatal(err)
		}
		if version != len(have) {
			s.t.Errorf("%s: %d events with a version, and the row's is %d", iban, len(have), version)
		}
	}
	if len(versions) == 0 {
		s.t.Error("no event has a version")
	}
}

// checkBooks has the store verify itself.
func (s *swap) checkBooks() {
	s.t.Helper()
	st, err := store.Open(s.t.Context(), store.Config{URL: s.url})
	if err != nil {
		s.t.Fatal(err)
	}
	report, err := st.Verify(s.t.Context())
	if err = errors.Join(err, st.Close()); err != nil {
		s.t.Fatal(err)
	}
	if !report.OK() {
		s.t.Errorf("the books: %+v", report.Violations)
	}
}

// oldStatements puts the older handler's own statements to its tables.
func (s *swap) oldStatements(worked func(statement string, err error)) {
	s.t.Helper()
	id := s.n.next().String()
	iban, err := bank.NewIBAN(rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, statement := range []struct {
		sql  string
		args []any
	}{
		{s.layout.InsertAccount(), []any{iban, bank.CompanyToken, "AUTO"}},
		{s.layout.UpdateAmount(), []any{0, 1}},
		{s.layout.InsertCreation(), []any{id, iban, bank.CompanyToken, "AUTO", nil}},
		{s.layout.InsertTransfer(), []any{id, nil}},
	} {
		tx, err := s.db.BeginTx(s.t.Context(), nil)
		if err != nil {
			s.t.Fatal(err)
		}
		_, err = tx.ExecContext(s.t.Context(), statement.sql, statement.args...)
		if e := tx.Rollback(); e != nil {
			s.t.Fatal(e)
		}
		worked(statement.sql, err)
	}
}

// A bank that an older handler has run goes over to ours in the middle of a backlog, back, and over again. Every command is answered, all
// answers to an id are the same, whoever gave them, and every account has what the answers say.
func TestASwapInTheMiddleOfABacklogAndBack(t *testing.T) {
	t.Parallel()
	const backlog = 20_000
	for name, c := range map[string]struct {
		layout predecessor.Layout
		end    func(*swap)
		most   int // commands that are answered again because the older handler had not committed their offsets
	}{
		"Clojure, stopped in order": {predecessor.Clojure, func(s *swap) { s.finished(s.old(backlog / 2)) }, 0},
		"Rust, killed":              {predecessor.Rust, func(s *swap) { s.killed(s.old(0), backlog/2) }, 2 * predecessor.PollRecords},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSwap(t, c.layout)
			old := s.old(200)
			s.open(200)
			s.finished(old)
			s.batch(backlog)
			c.end(s)
			s.read()
			before := maps.Clone(s.said)
			if n := len(before); n < backlog/3 || n > backlog*2/3 {
				t.Fatalf("%d of %d commands were answered before", n, backlog)
			}

			ours := s.start(s.environment()...)
			repeats := s.allAnswered()
			if repeats > c.most {
				t.Errorf("%d commands were answered again that the older handler had answered", repeats)
			}
			s.oldStatements(func(statement string, err error) {
				if err == nil || !strings.Contains(err.Error(), "hand-back") {
					t.Errorf("while ours is in charge, %s: %v", statement, err)
				}
			})
			s.again(before)
			s.answeredOnce(repeats)
			s.leave(ours)
			s.check(repeats > 0)

			if output, err := s.run("hand-back"); err != nil {
				t.Fatalf("handing back: %v: %s", err, output)
			}
			s.oldStatements(func(statement string, err error) {
				if err != nil {
					t.Errorf("after the hand-back, %s: %v", statement, err)
				}
			})
			s.batch(2000)
			s.again(s.said)
			s.finished(s.old(int64(s.count + repeats - s.answers())))
			s.answeredOnce(repeats)
			s.checkMoney()

			ours = s.start(s.environment()...)
			s.batch(2000)
			s.again(s.said)
			s.answeredOnce(repeats)
			s.stop(ours)
			s.check(repeats > 0)
		})
	}
}
