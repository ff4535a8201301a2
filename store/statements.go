package store

// What a session that executes is prepared for, tables in braces. Arrays are unnested in the select list and not in FROM: there each
// array is first copied into a row store of its own.
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

	// All that a batch writes, in one round trip, and how many rows each part wrote. No part sees what another one writes. The order of
	// the counts is that of execution (Postgres promises none, 11 to 18 go by it), and so that of the locks: the same in every session.
	//
	// The rows of balance are named twice, so that they are found by index alone and whatever join the planner takes costs no more than
	// the batch; by the join condition alone PostgreSQL 11, planning on a small table, read all of it for ever.
	writeTransfersSQL = `
WITH balances AS (
    UPDATE {balance} b SET amount = u.amount, version = u.version, updated_at = current_timestamp
    FROM (SELECT unnest(CAST($6 AS int[])) AS balance_id,
        unnest(CAST($7 AS bigint[])) AS amount, unnest(CAST($8 AS bigint[])) AS version) u
    WHERE b.balance_id = ANY(CAST($6 AS int[])) AND b.balance_id = u.balance_id
    RETURNING 1
), commands AS (
    INSERT INTO {cmt} (uuid, reason, seq, origin_topic, origin_partition, origin_offset, fingerprint,
        from_party, to_party, description, amount, from_balance, from_version, to_balance, to_version)
    SELECT unnest(CAST($9 AS uuid[])), unnest(CAST($10 AS text[])), unnest(CAST($11 AS bigint[])),
        unnest(CAST($12 AS int[])), unnest(CAST($13 AS int[])), unnest(CAST($14 AS bigint[])), unnest(CAST($15 AS bigint[])),
        unnest(CAST($16 AS text[])), unnest(CAST($17 AS text[])), unnest(CAST($18 AS text[])),
        unnest(CAST($19 AS bigint[])), unnest(CAST($20 AS bigint[])), unnest(CAST($21 AS bigint[])),
        unnest(CAST($22 AS bigint[])), unnest(CAST($23 AS bigint[]))
    RETURNING 1
), ` + progressSQL

	writeCreationsSQL = `
WITH balances AS (
    INSERT INTO {balance} (iban, token, {type}, amount, lmt, version)
    SELECT unnest(CAST($6 AS text[])), unnest(CAST($7 AS text[])), unnest(CAST($8 AS text[])),
        unnest(CAST($9 AS bigint[])), unnest(CAST($10 AS bigint[])), unnest(CAST($11 AS bigint[]))
    RETURNING 1
), commands AS (
    INSERT INTO {cac} (uuid, reason, seq, origin_topic, origin_partition, origin_offset, iban, token, {type})
    SELECT unnest(CAST($12 AS uuid[])), unnest(CAST($13 AS text[])), unnest(CAST($14 AS bigint[])),
        unnest(CAST($15 AS int[])), unnest(CAST($16 AS int[])), unnest(CAST($17 AS bigint[])),
        unnest(CAST($18 AS text[])), unnest(CAST($19 AS text[])), unnest(CAST($20 AS text[]))
    RETURNING 1
), ` + progressSQL

	// -1 leaves a value as it is: greatest does just that.
	progressSQL = `progress AS (
    INSERT INTO {progress} AS p (topic, topic_id, partition, executed_to, published_to)
    SELECT unnest(CAST($1 AS text[])), unnest(CAST($2 AS uuid[])), unnest(CAST($3 AS int[])),
        unnest(CAST($4 AS bigint[])), unnest(CAST($5 AS bigint[]))
    ON CONFLICT (topic, topic_id, partition) DO UPDATE SET
        executed_to = greatest(p.executed_to, excluded.executed_to),
        published_to = greatest(p.published_to, excluded.published_to)
    RETURNING 1
)
SELECT (SELECT count(*) FROM balances), (SELECT count(*) FROM commands), (SELECT count(*) FROM progress)`
)
