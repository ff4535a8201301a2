package audit

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"openbank/bank"
	"openbank/store"
)

// ReadTables adds what the handler's database says to e: accounts, and handled commands in order of execution. It reads in one
// snapshot and changes nothing. A server that is away is waited for. Errors: ctx's, or the store's.
func ReadTables(ctx context.Context, databaseURL string, e *Evidence) (err error) {
	db, err := store.Open(ctx, store.Config{URL: databaseURL, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return (&tables{e: e, same: sameText{}}).read(ctx, db)
}

// tables is a reading of the database.
type tables struct {
	e    *Evidence
	same sameText
	at   func(read, all int64)
}

func (t *tables) read(ctx context.Context, db *store.Store) error {
	return db.Snapshot(ctx, func(tx *sql.Tx, names store.Tables) error {
		if err := readAccounts(ctx, tx, names, t.e); err != nil {
			return fmt.Errorf("reading the accounts: %w", err)
		}
		if err := t.readOutcomes(ctx, tx, names); err != nil {
			return fmt.Errorf("reading the handled commands: %w", err)
		}
		if err := t.readLate(ctx, tx, names); err != nil {
			return fmt.Errorf("reading the progress: %w", err)
		}
		return nil
	})
}

// accountsSQL tells of each account whether it was there before: at the beginning of a bank there is the company's alone, with what it starts with.
// A database that is handed back, or being taken over, has accounts that were made without us.
const accountsSQL = `
SELECT b.iban, b.token, b.{type}, b.amount, b.lmt, b.version, b.opening, b.opening_version,
    t.ready_at IS NULL OR t.handed_back_at IS NOT NULL
        OR CASE WHEN t.opened_to IS NULL THEN b.iban = $1 AND b.opening = $2 AND b.opening_version = 0 ELSE b.balance_id <= t.opened_to END
FROM {balance} b LEFT JOIN {tenure} t ON t.id = (SELECT max(id) FROM {tenure})
ORDER BY b.iban`

// in puts the names of the tables into a statement.
func in(names store.Tables, statement string) string {
	return strings.NewReplacer("{tenure}", names.Tenure, "{balance}", names.Balance, "{cac}", names.Creations, "{cmt}", names.Transfers,
		"{command_topic}", names.Topics, "{progress}", names.Progress, "{type}", names.AccountType).Replace(statement)
}

func readAccounts(ctx context.Context, tx *sql.Tx, names store.Tables, e *Evidence) error {
	rows, err := tx.QueryContext(ctx, in(names, accountsSQL), bank.CompanyIBAN, int64(bank.CompanyBalance))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // its error is rows.Err's
	for rows.Next() {
		var a Account
		if err := rows.Scan(&a.IBAN, &a.Token, &a.Type, &a.Balance, &a.Limit, &a.Version, &a.Opening, &a.OpeningVersion, &a.Before); err != nil {
			return err
		}
		e.Accounts = append(e.Accounts, a)
	}
	return rows.Err()
}

const outcomesSQL = `
SELECT r.creation, r.id, CASE WHEN r.seq > (SELECT max(since_seq) FROM {tenure}) THEN r.seq ELSE 0 END AS place, coalesce(r.reason, ''), coalesce(r.iban, ''), coalesce(r.token, ''), coalesce(r.kind, ''),
    r.from_balance, r.from_version, r.to_balance, r.to_version,
    r.from_party, r.to_party, coalesce(r.description, ''), coalesce(r.amount, 0), r.fingerprint,
    coalesce(t.topic, ''), coalesce(CAST(t.topic_id AS text), ''), coalesce(greatest(r.origin_partition, -1 - r.origin_partition), 0), coalesce(r.origin_offset, 0),
    r.seq IS NULL AND r.origin_topic IS NOT NULL
FROM (
    SELECT true AS creation, CAST(uuid AS text) AS id, seq, reason, iban, token, {type} AS kind, origin_topic, origin_partition, origin_offset,
        CAST(NULL AS bigint) AS from_balance, CAST(NULL AS bigint) AS from_version, CAST(NULL AS bigint) AS to_balance, CAST(NULL AS bigint) AS to_version,
        CAST(NULL AS text) AS from_party, CAST(NULL AS text) AS to_party, CAST(NULL AS text) AS description, CAST(NULL AS bigint) AS amount, CAST(NULL AS bigint) AS fingerprint
    FROM {cac}
    UNION ALL
    SELECT false, CAST(uuid AS text), seq, reason, NULL, NULL, NULL, origin_topic, origin_partition, origin_offset, from_balance, from_version, to_balance, to_version,
        from_party, to_party, description, amount, fingerprint
    FROM {cmt}) r
LEFT JOIN {command_topic} t ON t.id = r.origin_topic
ORDER BY place, r.id`

func (t *tables) readOutcomes(ctx context.Context, tx *sql.Tx, names store.Tables) error {
	var all int64
	if err := tx.QueryRowContext(ctx, in(names, `SELECT (SELECT count(*) FROM {cac}) + (SELECT count(*) FROM {cmt})`)).Scan(&all); err != nil {
		return err
	}
	t.e.Outcomes = make([]Outcome, 0, all)
	rows, err := tx.QueryContext(ctx, in(names, outcomesSQL))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // its error is rows.Err's
	for rows.Next() {
		o, err := t.outcome(rows)
		if err != nil {
			return err
		}
		t.e.Outcomes = append(t.e.Outcomes, o)
		if t.at != nil {
			t.at(int64(len(t.e.Outcomes)), all)
		}
	}
	return rows.Err()
}

func (t *tables) outcome(rows *sql.Rows) (o Outcome, err error) {
	var isCreation bool
	var id, iban, token, kind, topicID string
	var fromBalance, fromVersion, toBalance, toVersion, fingerprint sql.NullInt64
	var from, to sql.NullString
	if err := rows.Scan(&isCreation, &id, &o.Seq, &o.Reason, &iban, &token, &kind, &fromBalance, &fromVersion, &toBalance, &toVersion,
		&from, &to, &o.Text, &o.Amount, &fingerprint, &o.Origin.Topic, &topicID, &o.Origin.Partition, &o.Origin.Offset, &o.Unordered); err != nil {
		return o, err
	}
	for _, text := range []*string{&o.Reason, &from.String, &to.String, &o.Text, &o.Origin.Topic} {
		*text = t.same.of(*text)
	}
	o.From = bank.Side{Known: fromVersion.Valid, Balance: fromBalance.Int64, Version: fromVersion.Int64}
	o.To = bank.Side{Known: toVersion.Valid, Balance: toBalance.Int64, Version: toVersion.Int64}
	o.HasContent, o.Debtor, o.Creditor = from.Valid && to.Valid, from.String, to.String
	o.HasFingerprint = fingerprint.Valid
	binary.BigEndian.PutUint64(o.Fingerprint[:], uint64(fingerprint.Int64))
	now, compared := t.e.Scope.IDs[o.Origin.Topic]
	o.Former = compared && topicID != noTopicID && topicID != now
	if o.Former {
		if t.e.Scope.Former == nil {
			t.e.Scope.Former = map[string]bool{}
		}
		t.e.Scope.Former[o.Origin.Topic] = true
	}
	o.Command.Kind = Transfer
	if iban != "" && (o.Reason == "" || o.Seq > 0) { // in a former handler's row, beside a reason, it is one that was drawn and found taken
		o.Opened = t.same.opened(iban, token, bank.AccountType(kind))
	}
	if isCreation {
		o.Command.Kind = Creation
	}
	o.Command.ID, err = bank.ParseID(id)
	return o, err
}

// lateSQL goes by what hand-back does: it empties the progress, while nobody executes, and each batch writes it anew. When a row was written is no
// evidence: it has the local time of whatever time zone the session was in, which may have an hour twice.
const lateSQL = `
SELECT topic, partition, executed_to - 1 FROM {progress}
WHERE (SELECT handed_back_at IS NOT NULL FROM {tenure} ORDER BY id DESC LIMIT 1)
ORDER BY topic, partition`

func (t *tables) readLate(ctx context.Context, tx *sql.Tx, names store.Tables) error {
	rows, err := tx.QueryContext(ctx, in(names, lateSQL))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // its error is rows.Err's
	for rows.Next() {
		var last Place
		if err := rows.Scan(&last.Topic, &last.Partition, &last.Offset); err != nil {
			return err
		}
		t.e.Late = append(t.e.Late, last)
	}
	return rows.Err()
}

// noTopicID is the id of topics whose brokers, before Kafka 2.8, give none.
const noTopicID = "00000000-0000-0000-0000-000000000000"

// sameText keeps one copy of texts that come often: IBANs, tokens, reasons.
type sameText map[string]string

// opened is what a creation made.
func (s sameText) opened(iban, token string, kind bank.AccountType) *Opened {
	return &Opened{IBAN: s.of(iban), Token: s.of(token), Type: bank.AccountType(s.of(string(kind)))}
}

// mostKept bounds how many different texts are looked for; descriptions may all differ.
const mostKept = 1 << 20

func (s sameText) of(text string) string {
	if text == "" {
		return ""
	}
	if kept, ok := s[text]; ok {
		return kept
	}
	if len(s) < mostKept {
		s[text] = text
	}
	return text
}
