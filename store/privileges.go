package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lib/pq"
)

// grant is a statement that gives a role what it lacks on one object.
type grant struct{ object, privileges, statement string }

// executingNeeds is what whoever executes must be allowed, by object.
const executingNeeds = `(VALUES
	('{balance}', 'SELECT', 1), ('{balance}', 'INSERT', 2), ('{balance}', 'UPDATE', 3),
	('{cac}', 'SELECT', 1), ('{cac}', 'INSERT', 2),
	('{cmt}', 'SELECT', 1), ('{cmt}', 'INSERT', 2),
	('{command_topic}', 'SELECT', 1), ('{command_topic}', 'INSERT', 2),
	('{progress}', 'SELECT', 1), ('{progress}', 'INSERT', 2), ('{progress}', 'UPDATE', 3),
	('{tenure}', 'SELECT', 1),
	('{command_seq}', 'USAGE', 1))`

// lookAtPrivileges finds what the grantee lacks, or else this user, on what is there.
func (m *migration) lookAtPrivileges(ctx context.Context) error {
	role := m.grantee
	if role == "" {
		role = m.has.user
	}
	var known bool
	if err := m.conn.QueryRowContext(ctx, `SELECT count(*) > 0 FROM pg_roles WHERE rolname = $1`, role).Scan(&known); err != nil {
		return err
	}
	if !known {
		return &FatalError{Sentence: fmt.Sprintf("%s: there is no user %s on the server, who is to execute; create it, or correct DATABASE_URL", m.at, role)}
	}
	return query(ctx, m.conn, func(scan func(...any) error) error {
		var g grant
		if err := scan(&g.object, &g.privileges); err != nil {
			return err
		}
		g.statement = fmt.Sprintf("GRANT %s ON %s TO %s", g.privileges, g.object, pq.QuoteIdentifier(role))
		m.has.lacks = append(m.has.lacks, g)
		return nil
	}, m.sql(`
		SELECT CASE WHEN c.relkind = 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || quote_ident(k.object), string_agg(k.privilege, ', ' ORDER BY k.place)
		FROM `+executingNeeds+` AS k (object, privilege, place) JOIN pg_class c ON c.oid = to_regclass(k.object)
		WHERE NOT CASE WHEN c.relkind = 'S' THEN has_sequence_privilege($1, c.oid, k.privilege) ELSE has_table_privilege($1, c.oid, k.privilege) END
		GROUP BY 1
		UNION ALL
		SELECT 'SCHEMA ' || quote_ident(nspname), 'USAGE' FROM pg_namespace WHERE nspname = $2 AND NOT has_schema_privilege($1, oid, 'USAGE')
		ORDER BY 1`), role, m.has.schema)
}

// lacksSelect tells that this very user may not read the tenures.
func (m *migration) lacksSelect() bool {
	return m.grantee == "" && slices.ContainsFunc(m.has.lacks, func(g grant) bool {
		return strings.HasSuffix(g.object, " "+m.layout.tenure) && strings.Contains(g.privileges, "SELECT")
	})
}

func (m *migration) lacksGrants() bool { return m.grantee != "" && len(m.has.lacks) > 0 }

func (m *migration) grant(ctx context.Context) error {
	statements := make([]string, len(m.has.lacks))
	for i, g := range m.has.lacks {
		statements[i] = g.statement
	}
	return m.change(ctx, statements...)
}

// checkPrivileges tells, before anything is changed, all that this user would not be allowed to do, and how to mend it.
func (m *migration) checkPrivileges(context.Context) error {
	if m.has.superuser {
		return nil
	}
	var faults []string
	user := pq.QuoteIdentifier(m.has.user)
	creates := m.fresh() || m.lacksOurs() || m.lacksGuard() && !m.unguarded
	switch {
	case !creates:
	case m.has.schema == "":
		faults = append(faults, fmt.Sprintf("user %s has no schema to make tables in (mend it with: CREATE SCHEMA AUTHORIZATION %s)", user, user))
	case !m.has.mayCreate:
		faults = append(faults, fmt.Sprintf("user %s may make nothing in schema %s (mend it with: GRANT CREATE ON SCHEMA %s TO %s)",
			user, m.has.schema, pq.QuoteIdentifier(m.has.schema), user))
	}
	if !m.fresh() {
		for _, table := range m.tablesToChange() {
			if m.has.tables[table] != nil && !m.has.owned[table] {
				faults = append(faults, fmt.Sprintf("user %s may not change table %s, which is %s's (mend it with: ALTER TABLE %s OWNER TO %s)",
					user, table, m.has.owners[table], pq.QuoteIdentifier(table), user))
			}
		}
	}
	if m.grantee == "" {
		for _, g := range m.has.lacks {
			faults = append(faults, fmt.Sprintf("user %s lacks %s on %s (mend it with: %s)", user, g.privileges, strings.ToLower(g.object), g.statement))
		}
	}
	if faults == nil {
		return nil
	}
	return &FatalError{Sentence: m.at + ": privileges are missing: " + strings.Join(faults, "; ") +
		"; or let the owner of the tables do it once: command-handler migrate, with MIGRATE_DATABASE_URL naming that user", Err: errPrivileges}
}

var errPrivileges = errors.New("nothing was changed")

// tablesToChange are those that only their owner may change as the steps have to.
func (m *migration) tablesToChange() []string {
	var tables []string
	add := func(needed bool, names ...string) {
		for _, name := range names {
			if needed && !slices.Contains(tables, name) {
				tables = append(tables, name)
			}
		}
	}
	for _, table := range []string{"{balance}", "{cac}", "{cmt}"} {
		add(m.missingColumns(table) != "", m.sql(table))
	}
	add(m.lacksIndex() || m.has.touching != nil || m.lacksOpenings(), m.layout.balance)
	add(m.has.guards != m.wantedGuards(), m.layout.balance, m.layout.creations, m.layout.transfers)
	add(m.lacksGuard() || m.lacksReadiness(), m.layout.tenure)
	if m.lacksGrants() {
		add(true, m.layout.balance, m.layout.creations, m.layout.transfers, m.layout.tenure, m.layout.progress, m.layout.topics)
	}
	return tables
}
