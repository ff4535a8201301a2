package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// column is a column that the statements need. In a table that is there it may have any of the types.
type column struct {
	table, name string // in braces, as in SQL
	types       []string
	added       string // what ALTER TABLE adds it as; "" for those of the handlers of 2019
}

var (
	texts      = []string{"text", "character varying"}
	timestamps = []string{"timestamp"}
	integer    = []string{"integer"}
	bigints    = []string{"bigint"}
	uuids      = []string{"uuid"}
)

// columns are those of the three tables. What is added is nullable or has a constant default, so that it rewrites no
// table, and no statement of an older handler has to name it.
var columns = []column{
	{"{balance}", "balance_id", integer, ""},
	{"{balance}", "iban", texts, ""},
	{"{balance}", "token", texts, ""},
	{"{balance}", "amount", bigints, ""},
	{"{balance}", "{type}", texts, ""},
	{"{balance}", "lmt", bigints, ""},
	{"{balance}", "updated_at", timestamps, ""},
	{"{balance}", "opening", bigints, "bigint NOT NULL DEFAULT 0"},
	{"{balance}", "version", bigints, "bigint NOT NULL DEFAULT 0"},
	{"{balance}", "opening_version", bigints, "bigint NOT NULL DEFAULT 0"},

	{"{cac}", "uuid", uuids, ""},
	{"{cac}", "iban", texts, ""},
	{"{cac}", "token", texts, ""},
	{"{cac}", "{type}", texts, ""},
	{"{cac}", "reason", texts, ""},
	{"{cac}", "created_at", timestamps, ""},
	{"{cac}", "seq", bigints, "bigint"},
	{"{cac}", "origin_offset", bigints, "bigint"},
	{"{cac}", "origin_topic", integer, "int"},
	{"{cac}", "origin_partition", integer, "int"},

	{"{cmt}", "uuid", uuids, ""},
	{"{cmt}", "reason", texts, ""},
	{"{cmt}", "created_at", timestamps, ""},
	{"{cmt}", "seq", bigints, "bigint"},
	{"{cmt}", "origin_offset", bigints, "bigint"},
	{"{cmt}", "fingerprint", bigints, "bigint"},
	{"{cmt}", "amount", bigints, "bigint"},
	{"{cmt}", "from_balance", bigints, "bigint"},
	{"{cmt}", "from_version", bigints, "bigint"},
	{"{cmt}", "to_balance", bigints, "bigint"},
	{"{cmt}", "to_version", bigints, "bigint"},
	{"{cmt}", "origin_topic", integer, "int"},
	{"{cmt}", "origin_partition", integer, "int"},
	{"{cmt}", "from_party", texts, "text"},
	{"{cmt}", "to_party", texts, "text"},
	{"{cmt}", "description", texts, "text"},

	// Tables of ours, in case another program has one of that name.
	{"{command_topic}", "id", integer, ""},
	{"{command_topic}", "topic", texts, ""},
	{"{command_topic}", "topic_id", uuids, ""},
	{"{progress}", "topic", texts, ""},
	{"{progress}", "topic_id", uuids, ""},
	{"{progress}", "partition", integer, ""},
	{"{progress}", "executed_to", bigints, ""},
	{"{progress}", "published_to", bigints, ""},
	{"{tenure}", "id", integer, ""},
	{"{tenure}", "since_seq", bigints, ""},
	{"{tenure}", "opened_to", integer, ""},
	{"{tenure}", "ready_at", timestamps, ""},
	{"{tenure}", "handed_back_at", timestamps, ""},
}

// missingColumns is what has to be added to a table, for ALTER TABLE, "" if nothing.
func (m *migration) missingColumns(table string) string {
	var missing []string
	for _, c := range columns {
		if there := m.has.tables[m.sql(table)]; c.table == table && c.added != "" && (there == nil || there[m.sql(c.name)] == "") {
			missing = append(missing, "ADD COLUMN IF NOT EXISTS "+m.sql(c.name)+" "+c.added)
		}
	}
	return strings.Join(missing, ", ")
}

// checkColumns tells tables that are not the bank's, and whatever would make the handler's own statements fail later: a
// row that can't be inserted would be taken for a command's fault.
func (m *migration) checkColumns(ctx context.Context) error {
	var faults []string
	for _, c := range columns {
		table, name := m.sql(c.table), m.sql(c.name)
		there := m.has.tables[table]
		switch kind := there[name]; {
		case there == nil, kind == "" && c.added != "":
		case kind == "":
			faults = append(faults, fmt.Sprintf("table %s has no column %s", table, name))
		case !slices.ContainsFunc(c.types, func(t string) bool { return strings.HasPrefix(kind, t) }):
			faults = append(faults, fmt.Sprintf("column %s of table %s is of type %s, not %s", name, table, kind, c.types[0]))
		}
	}
	if faults != nil {
		return &FatalError{Sentence: m.at + ": this is no bank's database: " + strings.Join(faults, "; ") + "; name an empty database, or the bank's own"}
	}
	if err := query(ctx, m.conn, func(scan func(...any) error) error {
		faults = append(faults, "")
		return scan(&faults[len(faults)-1])
	}, m.sql(unusableSQL)); err != nil {
		return fmt.Errorf("looking at the columns: %w", err)
	}
	if faults != nil {
		return &FatalError{Sentence: m.at + ": the handler can't work on these tables: " + strings.Join(faults, "; ")}
	}
	return nil
}

// unusableSQL finds columns that no handler of the bank gives a value to, though they must have one, and ids that could
// be there twice.
const unusableSQL = `
SELECT 'column ' || a.attname || ' of table ' || c.relname || ' must have a value that the handler does not know: give it a default, or ALTER TABLE ' || c.relname || ' ALTER COLUMN ' || a.attname || ' DROP NOT NULL'
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.oid IN (to_regclass('{balance}'), to_regclass('{cac}'), to_regclass('{cmt}'))
    AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
    AND a.attname NOT IN ('iban', 'token', '{type}', 'uuid')
UNION ALL
SELECT 'the column ' || k.attname || ' of table ' || c.relname || ' is not unique: ALTER TABLE ' || c.relname || ' ADD PRIMARY KEY (' || k.attname || ')'
FROM (VALUES ('{balance}', 'balance_id'), ('{cac}', 'uuid'), ('{cmt}', 'uuid')) AS k (relname, attname)
JOIN pg_class c ON c.oid = to_regclass(k.relname)
WHERE NOT EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indnatts = 1 AND i.indpred IS NULL AND a.attname = k.attname)`
