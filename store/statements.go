package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"
)

// The statements of a batch, tables in braces. Arrays are unnested in the select list and not in FROM: there each array
// is first copied into a row store of its own.
const (
	// The unique index is in "C" order, so this reads and locks in index order, without a sort.
	lockSQL = `
SELECT balance_id, iban, token, amount, lmt, version
FROM {balance} WHERE iban COLLATE "C" = ANY(CAST($1 AS text[]))
ORDER BY iban COLLATE "C" FOR UPDATE`

	// The first row of either look-up holds the number that the batch counts from, and nothing else.
	lookUpTransfersSQL = `
SELECT CAST(NULL AS uuid) AS uuid, CAST(NULL AS text) AS reason, nextval('{command_seq}') AS seq,
    CAST(NULL AS int) AS origin_topic, CAST(NULL AS int) AS origin_partition, CAST(NULL AS bigint) AS origin_offset,
    CAST(NULL AS bigint) AS fingerprint,
    CAST(NULL AS text) AS from_party, CAST(NULL AS text) AS to_party, CAST(NULL AS text) AS description,
    CAST(NULL AS bigint) AS amount, CAST(NULL AS bigint) AS from_balance, CAST(NULL AS bigint) AS from_version,
    CAST(NULL AS bigint) AS to_balance, CAST(NULL AS bigint) AS to_version
UNION ALL
SELECT uuid, reason, seq, origin_topic, origin_partition, origin_offset, fingerprint,
    from_party, to_party, description, amount, from_balance, from_version, to_balance, to_version
FROM {cmt} WHERE uuid = ANY(CAST($1 AS uuid[]))`

	lookUpCreationsSQL = `
SELECT CAST(NULL AS uuid) AS uuid, CAST(NULL AS text) AS reason, nextval('{command_seq}') AS seq,
    CAST(NULL AS int) AS origin_topic, CAST(NULL AS int) AS origin_partition, CAST(NULL AS bigint) AS origin_offset,
    CAST(NULL AS text) AS iban, CAST(NULL AS text) AS token, CAST(NULL AS text) AS account_type
UNION ALL
SELECT uuid, reason, seq, origin_topic, origin_partition, origin_offset, iban, token, {type}
FROM {cac} WHERE uuid = ANY(CAST($1 AS uuid[]))`

	// The rows are named twice, so that they are found by index alone and whatever join the planner takes costs no more
	// than the batch; by the join condition alone PostgreSQL 11, planning on a small table, read all of it for ever.
	updateBalancesSQL = `
UPDATE {balance} b SET amount = u.amount, version = u.version, updated_at = current_timestamp
FROM (SELECT unnest(CAST($1 AS int[])) AS balance_id,
    unnest(CAST($2 AS bigint[])) AS amount, unnest(CAST($3 AS bigint[])) AS version) u
WHERE b.balance_id = ANY(CAST($1 AS int[])) AND b.balance_id = u.balance_id`

	insertBalancesSQL = `
INSERT INTO {balance} (iban, token, {type}, amount, lmt, version)
SELECT unnest(CAST($1 AS text[])), unnest(CAST($2 AS text[])), unnest(CAST($3 AS text[])),
    unnest(CAST($4 AS bigint[])), unnest(CAST($5 AS bigint[])), unnest(CAST($6 AS bigint[]))`

	insertCreationsSQL = `
INSERT INTO {cac} (uuid, reason, seq, origin_topic, origin_partition, origin_offset, iban, token, {type})
SELECT unnest(CAST($1 AS uuid[])), unnest(CAST($2 AS text[])), unnest(CAST($3 AS bigint[])),
    unnest(CAST($4 AS int[])), unnest(CAST($5 AS int[])), unnest(CAST($6 AS bigint[])),
    unnest(CAST($7 AS text[])), unnest(CAST($8 AS text[])), unnest(CAST($9 AS text[]))`

	insertTransfersSQL = `
INSERT INTO {cmt} (uuid, reason, seq, origin_topic, origin_partition, origin_offset, fingerprint,
    from_party, to_party, description, amount, from_balance, from_version, to_balance, to_version)
SELECT unnest(CAST($1 AS uuid[])), unnest(CAST($2 AS text[])), unnest(CAST($3 AS bigint[])),
    unnest(CAST($4 AS int[])), unnest(CAST($5 AS int[])), unnest(CAST($6 AS bigint[])), unnest(CAST($7 AS bigint[])),
    unnest(CAST($8 AS text[])), unnest(CAST($9 AS text[])), unnest(CAST($10 AS text[])),
    unnest(CAST($11 AS bigint[])), unnest(CAST($12 AS bigint[])), unnest(CAST($13 AS bigint[])),
    unnest(CAST($14 AS bigint[])), unnest(CAST($15 AS bigint[]))`

	// -1 leaves a value as it is: greatest does just that.
	saveProgressSQL = `
INSERT INTO {progress} AS p (topic, topic_id, partition, executed_to, published_to)
SELECT unnest(CAST($1 AS text[])), unnest(CAST($2 AS uuid[])), unnest(CAST($3 AS int[])),
    unnest(CAST($4 AS bigint[])), unnest(CAST($5 AS bigint[]))
ON CONFLICT (topic, topic_id, partition) DO UPDATE SET
    executed_to = greatest(p.executed_to, excluded.executed_to),
    published_to = greatest(p.published_to, excluded.published_to)`
)

// statements are the prepared ones; database/sql prepares them again on every new session.
type statements struct {
	lock                             *sqlx.Stmt
	lookUpTransfers, lookUpCreations *sqlx.Stmt
	updateBalances, insertBalances   *sqlx.Stmt
	insertCreations, insertTransfers *sqlx.Stmt
	saveProgress                     *sqlx.Stmt
}

// statements returns the prepared statements; the first call prepares them, since the tables may not be there before.
func (s *Store) statements(ctx context.Context) (*statements, error) {
	s.preparing.Lock()
	defer s.preparing.Unlock()
	if s.prepared != nil {
		return s.prepared, nil
	}
	p := new(statements)
	var done []*sqlx.Stmt
	for _, st := range []struct {
		stmt **sqlx.Stmt
		sql  string
	}{
		{&p.lock, lockSQL},
		{&p.lookUpTransfers, lookUpTransfersSQL}, {&p.lookUpCreations, lookUpCreationsSQL},
		{&p.updateBalances, updateBalancesSQL}, {&p.insertBalances, insertBalancesSQL},
		{&p.insertCreations, insertCreationsSQL}, {&p.insertTransfers, insertTransfersSQL},
		{&p.saveProgress, saveProgressSQL},
	} {
		stmt, err := s.executing.PreparexContext(ctx, s.layout.sql(st.sql)) //nolint:sqlclosecheck // kept for as long as the pool
		if err != nil {
			err = fmt.Errorf("preparing a statement: %w", err)
			for _, stmt := range done {
				err = errors.Join(err, stmt.Close())
			}
			return nil, err
		}
		*st.stmt = stmt
		done = append(done, stmt)
	}
	s.prepared = p
	return p, nil
}
