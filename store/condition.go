package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/lib/pq"
)

// condition is what a database has of what this handler needs.
type condition struct {
	user      string // of the session
	superuser bool
	schema    string // of the tables; of new ones where there are none; "" if there is none for them
	mayCreate bool   // in that schema
	mayUse    bool   // that schema

	tables   map[string]map[string]string // the types of the columns, by table and column
	owners   map[string]string            // of the tables
	owned    map[string]bool              // by the user, or a role that it is in
	sequence bool
	index    indexState
	touching []touching // triggers that are not yet as we want them
	guards   int        // triggers
	earlier  bool       // an earlier version of this handler has been in charge, which kept no tenures
	tenure   tenure
	lacks    []grant // privileges that whoever executes does not have
}

type indexState int

const (
	noIndex indexState = iota
	invalidIndex
	validIndex
)

// touching is a trigger that moves updated_at.
type touching struct{ name, function string }

// tenure is the latest row of the table of that name.
type tenure struct {
	there, ready, handedBack bool
	since                    int64
}

// look reads the condition that the database is in.
func (m *migration) look(ctx context.Context) error {
	m.has = condition{tables: map[string]map[string]string{}, owners: map[string]string{}, owned: map[string]bool{}}
	for _, read := range []func(context.Context) error{m.lookAtUser, m.lookAtColumns, m.lookAtIndex, m.lookAtTriggers, m.lookAtPrivileges, m.lookAtTenure} {
		if err := read(ctx); err != nil {
			return fmt.Errorf("looking at the database: %w", err)
		}
	}
	return nil
}

func (m *migration) lookAtUser(ctx context.Context) error {
	var schema sql.NullString
	if err := m.conn.QueryRowContext(ctx, m.sql(`
		SELECT current_user, r.rolsuper, n.nspname, coalesce(has_schema_privilege(n.oid, 'CREATE'), false), coalesce(has_schema_privilege(n.oid, 'USAGE'), false)
		FROM pg_roles r LEFT JOIN pg_namespace n
			ON n.oid = coalesce((SELECT relnamespace FROM pg_class WHERE oid = to_regclass('{balance}')), to_regnamespace(quote_ident(current_schema())))
		WHERE r.rolname = current_user`)).Scan(&m.has.user, &m.has.superuser, &schema, &m.has.mayCreate, &m.has.mayUse); err != nil {
		return err
	}
	m.has.schema = schema.String
	if m.has.schema == "" {
		return nil
	}
	// What is new belongs where the rest is.
	_, err := m.conn.ExecContext(ctx, `SET search_path TO `+pq.QuoteIdentifier(m.has.schema))
	return err
}

func (m *migration) lookAtColumns(ctx context.Context) error {
	if err := query(ctx, m.conn, func(scan func(...any) error) error {
		var table, owner, name, kind string
		var owned bool
		if err := scan(&table, &owner, &owned, &name, &kind); err != nil {
			return err
		}
		if m.has.tables[table] == nil {
			m.has.tables[table] = map[string]string{}
		}
		m.has.tables[table][name] = kind
		m.has.owners[table], m.has.owned[table] = owner, owned
		return nil
	}, m.sql(`
		SELECT c.relname, pg_get_userbyid(c.relowner), pg_has_role(c.relowner, 'USAGE'), a.attname, format_type(a.atttypid, a.atttypmod)
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
		WHERE c.oid IN (to_regclass('{balance}'), to_regclass('{cac}'), to_regclass('{cmt}'),
				to_regclass('{command_topic}'), to_regclass('{progress}'), to_regclass('{tenure}'))
			AND a.attnum > 0 AND NOT a.attisdropped`)); err != nil {
		return err
	}
	return m.conn.QueryRowContext(ctx, m.sql(`SELECT to_regclass('{command_seq}') IS NOT NULL`)).Scan(&m.has.sequence)
}

func (m *migration) lookAtIndex(ctx context.Context) error {
	var valid bool
	err := m.conn.QueryRowContext(ctx, m.sql(`SELECT indisvalid AND indisunique FROM pg_index WHERE indexrelid = to_regclass('{balance}_iban_key')`)).Scan(&valid)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return err
	case valid:
		m.has.index = validIndex
	default:
		m.has.index = invalidIndex
	}
	return nil
}

func (m *migration) lookAtTriggers(ctx context.Context) error {
	if err := m.conn.QueryRowContext(ctx, m.sql(`
		SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgenabled = 'O' AND (tgrelid, tgname) IN
			((to_regclass('{balance}'), '{balance}_guard'), (to_regclass('{cac}'), '{cac}_guard'), (to_regclass('{cmt}'), '{cmt}_guard'))`)).
		Scan(&m.has.guards); err != nil {
		return err
	}
	return query(ctx, m.conn, func(scan func(...any) error) error {
		var t touching
		if err := scan(&t.name, &t.function); err != nil {
			return err
		}
		m.has.touching = append(m.has.touching, t)
		return nil
	}, m.sql(`
		SELECT t.tgname, CAST(CAST(t.tgfoid AS regproc) AS text) FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
		WHERE t.tgrelid = to_regclass('{balance}') AND p.proname = '{maintain_updated_at}' AND CAST(t.tgattr AS text) = '' AND NOT t.tgisinternal`))
}

func (m *migration) lookAtTenure(ctx context.Context) error {
	if m.lacksSelect() {
		return nil // it is going to be told
	}
	var kept bool
	if err := m.conn.QueryRowContext(ctx, m.sql(`SELECT to_regclass('{migration}') IS NOT NULL`)).Scan(&kept); err != nil {
		return err
	}
	if kept {
		if err := m.conn.QueryRowContext(ctx, m.sql(`SELECT count(*) > 0 FROM {migration} WHERE version_id = 2 AND is_applied`)).Scan(&m.has.earlier); err != nil {
			return err
		}
	}
	if m.has.tables[m.layout.tenure] == nil {
		return nil
	}
	var err error
	m.has.tenure, err = readTenure(m.conn.QueryRowContext(ctx, m.sql(tenureSQL)))
	return err
}

// tenureSQL reads the latest tenure.
const tenureSQL = `SELECT since_seq, ready_at IS NOT NULL, handed_back_at IS NOT NULL FROM {tenure} ORDER BY id DESC LIMIT 1`

func readTenure(row interface{ Scan(into ...any) error }) (tenure, error) {
	t := tenure{there: true}
	err := row.Scan(&t.since, &t.ready, &t.handedBack)
	if errors.Is(err, sql.ErrNoRows) {
		return tenure{}, nil
	}
	return t, err
}
