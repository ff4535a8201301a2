package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"time"

	"openbank/bank"
)

// What a database holds, as the tests read it: package audit reads the same for those who check a bank.

// handled is a handled command as it is stored. Rows from before the database was taken over, of which an older
// handler's hold no more than id, reason and the account made, have Seq 0.
type handled struct {
	Seq       int64
	ID        bank.ID
	Creation  bool // otherwise a transfer
	Origin    Origin
	Reason    string    // "" when confirmed
	CreatedAt time.Time // the transaction's, by the server's clock and time zone

	// Of a creation.
	IBAN, Token string
	Type        bank.AccountType

	// Of a transfer. HasTexts false: the texts were unfit and are not stored. The token never is.
	HasTexts              bool
	From, To, Description string
	Amount                int64     // cents
	Fingerprint           [8]byte   // zero: not known
	FromSide, ToSide      bank.Side // of a rejected one as it saw them; unknown if the texts were unfit
}

const accountsSQL = `SELECT iban, token, {type}, amount, lmt, version, opening, opening_version FROM {balance} ORDER BY iban COLLATE "C"`

const replaySQL = `
SELECT CASE WHEN r.seq > {since} THEN r.seq END AS seq, r.id, r.creation, r.origin_topic, r.origin_partition, r.origin_offset, r.reason, r.created_at,
    r.iban, r.token, r.account_type, r.from_party, r.to_party, r.description, r.amount, r.fingerprint,
    r.from_balance, r.from_version, r.to_balance, r.to_version, t.topic, CAST(t.topic_id AS text) AS topic_id FROM (
    SELECT seq, CAST(uuid AS text) AS id, true AS creation, origin_topic, origin_partition, origin_offset, reason, created_at,
        iban, token, {type} AS account_type,
        CAST(NULL AS text) AS from_party, CAST(NULL AS text) AS to_party, CAST(NULL AS text) AS description, CAST(NULL AS bigint) AS amount, CAST(NULL AS bigint) AS fingerprint,
        CAST(NULL AS bigint) AS from_balance, CAST(NULL AS bigint) AS from_version, CAST(NULL AS bigint) AS to_balance, CAST(NULL AS bigint) AS to_version
    FROM {cac}
    UNION ALL
    SELECT seq, CAST(uuid AS text), false, origin_topic, origin_partition, origin_offset, reason, created_at,
        NULL, NULL, NULL,
        from_party, to_party, description, amount, fingerprint, from_balance, from_version, to_balance, to_version
    FROM {cmt}) r
LEFT JOIN {command_topic} t ON t.id = r.origin_topic
ORDER BY 1 NULLS FIRST, r.id`

// all returns every account, by IBAN.
func (s *Store) all(ctx context.Context) ([]Account, error) {
	var accounts []Account
	err := s.read(ctx, func(ctx context.Context) error {
		accounts = nil
		rows, err := s.reading.QueryContext(ctx, s.layout.sql(accountsSQL))
		if err != nil {
			return fmt.Errorf("reading the accounts: %w", err)
		}
		return eachRow(rows, func() error {
			var a Account
			if err := scanAccount(rows, &a); err != nil {
				return fmt.Errorf("reading an account: %w", err)
			}
			accounts = append(accounts, a)
			return nil
		})
	})
	return accounts, err
}

// replay calls each with every handled command, in the order of execution, as of one moment; rows from before
// the database was taken over come first. Decided again one after the other from the accounts' openings, the commands come to the same outcomes.
func (s *Store) replay(ctx context.Context, each func(handled) error) error {
	return s.Snapshot(ctx, func(tx *sql.Tx, _ Tables) error {
		rows, err := tx.QueryContext(ctx, s.layout.rule(replaySQL))
		if err != nil {
			return fmt.Errorf("reading the commands: %w", err)
		}
		return eachRow(rows, func() error {
			row, err := scanHandled(rows)
			if err != nil {
				return fmt.Errorf("reading a command: %w", err)
			}
			return each(row)
		})
	})
}

func scanHandled(rows *sql.Rows) (handled, error) {
	var r handled
	var id string
	var seq, offset, amount, fingerprint, fromBalance, fromVersion, toBalance, toVersion sql.NullInt64
	var topicNumber, partition sql.NullInt32
	var reason, iban, token, kind, from, to, description, topic, topicID sql.NullString
	if err := rows.Scan(&seq, &id, &r.Creation, &topicNumber, &partition, &offset, &reason, &r.CreatedAt,
		&iban, &token, &kind, &from, &to, &description, &amount, &fingerprint,
		&fromBalance, &fromVersion, &toBalance, &toVersion, &topic, &topicID); err != nil {
		return r, err
	}
	var err error
	if r.ID, err = bank.ParseID(id); err != nil {
		return r, err
	}
	if topic.Valid {
		parsed, err := bank.ParseID(topicID.String)
		if err != nil {
			return r, err
		}
		r.Origin = Origin{Topic: topic.String, TopicID: parsed, Partition: originAt(0, partition.Int32, 0).partition, Offset: offset.Int64}
	}
	r.Seq, r.Reason = seq.Int64, reason.String
	r.IBAN, r.Token, r.Type = iban.String, token.String, bank.AccountType(kind.String)
	r.HasTexts, r.From, r.To, r.Description, r.Amount = from.Valid, from.String, to.String, description.String, amount.Int64
	binary.BigEndian.PutUint64(r.Fingerprint[:], uint64(fingerprint.Int64))
	r.FromSide = bank.Side{Known: fromVersion.Valid, Balance: fromBalance.Int64, Version: fromVersion.Int64}
	r.ToSide = bank.Side{Known: toVersion.Valid, Balance: toBalance.Int64, Version: toVersion.Int64}
	return r, nil
}
