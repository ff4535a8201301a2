package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jmoiron/sqlx"
)

// MaxViolations is how many violations of each kind a Report lists. All are counted.
const MaxViolations = 20

// Violation is one thing in the books that does not add up.
type Violation struct {
	Rule   string `json:"rule"`           // which of the rules it breaks
	IBAN   string `json:"iban,omitempty"` // the account, if it is about one
	ID     string `json:"id,omitempty"`   // the command, if it is about one
	Detail string `json:"detail"`         // what was found
}

// Report is what Verify found. Sums are decimal text in cents: they may exceed an int64.
type Report struct {
	Accounts  int64 `json:"accounts"`
	Creations int64 `json:"creations"` // rows, rejected ones included
	Transfers int64 `json:"transfers"` // rows, rejected ones included
	Rejected  int64 `json:"rejected"`  // of both
	History   int64 `json:"history"`   // of both, those from before the database was taken over
	Events    int64 `json:"events"`    // changes of accounts since

	Openings string `json:"openings"` // what the accounts started with, or had when the database was taken over
	Inflow   string `json:"inflow"`   // what came from parties outside the bank
	Outflow  string `json:"outflow"`  // what went to parties outside the bank
	Balances string `json:"balances"` // what the accounts hold: Openings + Inflow - Outflow

	HandedBack bool `json:"handed_back"` // to an older handler: what it changed since shows as violations

	Count      int64       `json:"count"`      // how many violations there are
	Violations []Violation `json:"violations"` // at most MaxViolations of each rule
}

// OK reports whether the books add up.
func (r *Report) OK() bool { return r.Count == 0 }

// rules are the checks, each a query for what breaks it: the account, the command and what was found. They compare what
// is stored twice: balances with the events that led to them, and events with one another. Sums are numeric, so that
// no forged number overflows.
var rules = []struct{ name, sql string }{
	{"an account's events are numbered 1, 2, 3, … and each balance is the one before plus the change", `
SELECT c.iban, CAST(c.uuid AS text),
    'version ' || c.version || ' after ' || coalesce(c.version_before, b.opening_version, 0) || ', balance ' || c.balance || ' after ' || coalesce(c.balance_before, b.opening, 0) || ' and a change of ' || c.change
FROM (SELECT iban, uuid, version, balance, change, lag(version) OVER w AS version_before, lag(balance) OVER w AS balance_before
    FROM ({events}) e WINDOW w AS (PARTITION BY iban ORDER BY version, seq)) c
LEFT JOIN {balance} b ON b.iban = c.iban
WHERE c.version <> coalesce(c.version_before, b.opening_version, 0) + 1
    OR CAST(c.balance AS numeric) <> CAST(coalesce(c.balance_before, b.opening, 0) AS numeric) + c.change`},

	{"an account's balance is its opening plus its events, and its version is their number", `
SELECT coalesce(b.iban, e.iban), NULL,
    CASE WHEN b.iban IS NULL THEN 'events of an account that is not there'
    ELSE 'balance ' || b.amount || ' and version ' || b.version || ' beside an opening of ' || b.opening || CASE b.opening_version WHEN 0 THEN '' ELSE ' at version ' || b.opening_version END || ' and ' || coalesce(e.n, 0) || ' events of together ' || coalesce(e.change, 0) END
FROM {balance} b FULL JOIN (SELECT iban, count(*) AS n, sum(CAST(change AS numeric)) AS change FROM ({events}) e GROUP BY iban) e ON e.iban = b.iban
WHERE b.iban IS NULL OR b.amount <> b.opening + coalesce(e.change, 0) OR b.version <> b.opening_version + coalesce(e.n, 0)`},

	{"no account is below its limit", `
SELECT iban, NULL, 'balance ' || amount || ' below the limit ' || lmt FROM {balance} WHERE amount < least(lmt, opening)`},

	{"an iban names one account", `
SELECT iban, NULL, count(*) || ' accounts' FROM {balance} GROUP BY iban HAVING count(*) > 1`},

	{"a confirmed creation's account is there, with its token and type", `
SELECT c.iban, CAST(c.uuid AS text), CASE WHEN b.iban IS NULL THEN 'no such account' ELSE 'another token or type' END
FROM {cac} c LEFT JOIN {balance} b ON b.iban = c.iban
WHERE c.reason IS NULL AND c.seq IS NOT NULL AND (b.iban IS NULL OR b.token <> c.token OR b.{type} <> c.{type})`},

	{"a confirmed transfer has an amount, parties and an account that it changed", `
SELECT from_party, CAST(uuid AS text), 'amount ' || coalesce(CAST(amount AS text), 'unknown') FROM {cmt}
WHERE reason IS NULL AND seq IS NOT NULL AND (amount IS NULL OR amount <= 0 OR from_party IS NULL OR to_party IS NULL
    OR (from_version IS NULL AND to_version IS NULL) OR (from_version IS NULL) <> (from_balance IS NULL) OR (to_version IS NULL) <> (to_balance IS NULL))`},

	{"a seq is given once", `
SELECT NULL, min(id), 'seq ' || seq || ' on ' || count(*) || ' commands'
FROM (SELECT CAST(uuid AS text) AS id, seq FROM {cac} WHERE seq IS NOT NULL UNION ALL SELECT CAST(uuid AS text), seq FROM {cmt} WHERE seq IS NOT NULL) s
GROUP BY seq HAVING count(*) > 1`},
}

// sinceSQL is the seq up to which commands are history: what they did is in the openings.
const sinceSQL = `(SELECT coalesce(max(since_seq), 0) FROM {tenure})`

// eventsSQL is every change of every account since its opening: the two sides of the confirmed transfers. An older
// handler's rows have no seq and no event.
const eventsSQL = `
SELECT from_party AS iban, from_version AS version, from_balance AS balance, -amount AS change, seq, uuid
FROM {cmt} WHERE reason IS NULL AND seq > ` + sinceSQL + ` AND from_version IS NOT NULL
UNION ALL
SELECT to_party, to_version, to_balance, amount, seq, uuid
FROM {cmt} WHERE reason IS NULL AND seq > ` + sinceSQL + ` AND to_version IS NOT NULL`

const totalsSQL = `
SELECT
    (SELECT count(*) FROM {balance}) AS accounts,
    (SELECT count(*) FROM {cac}) AS creations,
    t.transfers,
    (SELECT count(*) FROM {cac} WHERE reason IS NOT NULL) + t.rejected AS rejected,
    (SELECT count(*) FROM {cac} WHERE seq IS NULL OR seq <= {since}) + t.history AS history,
    t.events,
    CAST((SELECT coalesce(sum(CAST(opening AS numeric)), 0) FROM {balance}) AS text) AS openings,
    CAST(t.inflow AS text) AS inflow, CAST(t.outflow AS text) AS outflow,
    CAST((SELECT coalesce(sum(CAST(amount AS numeric)), 0) FROM {balance}) AS text) AS balances,
    (SELECT coalesce(sum(CAST(amount AS numeric)) - sum(CAST(opening AS numeric)), 0) FROM {balance}) = t.inflow - t.outflow AS conserved,
    coalesce((SELECT handed_back_at IS NOT NULL FROM {tenure} ORDER BY id DESC LIMIT 1), false) AS handed_back
FROM (SELECT count(*) AS transfers,
        count(*) FILTER (WHERE reason IS NOT NULL) AS rejected,
        count(*) FILTER (WHERE past) AS history,
        count(from_version) FILTER (WHERE happened) + count(to_version) FILTER (WHERE happened) AS events,
        coalesce(sum(CAST(amount AS numeric)) FILTER (WHERE happened AND from_version IS NULL AND to_version IS NOT NULL), 0) AS inflow,
        coalesce(sum(CAST(amount AS numeric)) FILTER (WHERE happened AND from_version IS NOT NULL AND to_version IS NULL), 0) AS outflow
    FROM (SELECT *, coalesce(reason IS NULL AND seq > {since}, false) AS happened, coalesce(seq <= {since}, true) AS past FROM {cmt}) c) t`

// Verify folds the openings and the events of every account and compares them with what is stored, as of one moment,
// while commands go on being executed. It reads every row; a million of them take some seconds.
// Errors: ctx's, or a *FatalError. Books that do not add up are no error but violations.
func (s *Store) Verify(ctx context.Context) (*Report, error) {
	var report *Report
	err := s.read(ctx, func(ctx context.Context) (err error) {
		report = new(Report)
		return s.snapshot(ctx, func(tx *sqlx.Tx) error { return s.verify(ctx, tx, report) })
	})
	if err != nil {
		return nil, err
	}
	return report, nil
}

func (s *Store) verify(ctx context.Context, tx *sqlx.Tx, r *Report) error {
	var conserved bool
	if err := tx.QueryRowxContext(ctx, s.layout.rule(totalsSQL)).Scan(&r.Accounts, &r.Creations, &r.Transfers, &r.Rejected,
		&r.History, &r.Events, &r.Openings, &r.Inflow, &r.Outflow, &r.Balances, &conserved, &r.HandedBack); err != nil {
		return fmt.Errorf("summing up the books: %w", err)
	}
	if !conserved {
		r.add(Violation{Rule: "balances are openings plus what came in less what went out",
			Detail: fmt.Sprintf("balances %s, openings %s, in %s, out %s", r.Balances, r.Openings, r.Inflow, r.Outflow)}, 1)
	}
	for _, rule := range rules {
		rows, err := tx.QueryContext(ctx, s.layout.rule(rule.sql))
		if err != nil {
			return fmt.Errorf("checking that %s: %w", rule.name, err)
		}
		n := 0
		err = eachRow(rows, func() error {
			var iban, id sql.NullString
			v := Violation{Rule: rule.name}
			if err := rows.Scan(&iban, &id, &v.Detail); err != nil {
				return err
			}
			v.IBAN, v.ID = iban.String, id.String
			n++
			r.add(v, n)
			return nil
		})
		if err != nil {
			return fmt.Errorf("checking that %s: %w", rule.name, err)
		}
	}
	return nil
}

// add counts v, the nth of its rule, and lists it unless there are many.
func (r *Report) add(v Violation, nth int) {
	r.Count++
	if nth <= MaxViolations {
		r.Violations = append(r.Violations, v)
	}
}

// snapshot runs read on the state of one moment.
func (s *Store) snapshot(ctx context.Context, read func(*sqlx.Tx) error) error {
	tx, err := s.reading.BeginTxx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return fmt.Errorf("beginning to read: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	return read(tx)
}
