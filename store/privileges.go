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
		return &FatalError{Sentence: fmt.Sprintf("%s: there is no user %s on the server, who is to execute; create it, or correct DATABASE_URL", m.at, named(role))}
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
	var faults, mends []string
	fault := func(what, mend string) {
		faults, mends = append(faults, what), append(mends, mend)
	}
	user := pq.QuoteIdentifier(m.has.user)
	creates := m.fresh() || m.lacksOurs() || m.lacksGuard() && !m.unguarded
	switch {
	case !creates:
	case m.has.schema == "":
		fault("has no schema to make tables in", "CREATE SCHEMA AUTHORIZATION "+user)
	case !m.has.mayCreate:
		fault("may make nothing in schema "+m.has.schema, fmt.Sprintf("GRANT CREATE ON SCHEMA %s TO %s", pq.QuoteIdentifier(m.has.schema), user))
	}
	if !m.fresh() {
		for _, table := range m.tablesToChange() {
			if m.has.tables[table] != nil && !m.has.owned[table] {
				fault(fmt.Sprintf("may not change table %s, which is %s's", table, m.has.owners[table]), fmt.Sprintf("ALTER TABLE %s OWNER TO %s", pq.QuoteIdentifier(table), user))
			}
		}
	}
	if m.grantee == "" {
		for _, g := range m.has.lacks {
			fault(fmt.Sprintf("lacks %s on %s", g.privileges, strings.ToLower(g.object)), g.statement)
		}
	}
	if faults == nil {
		return nil
	}
	return &FatalError{Sentence: fmt.Sprintf("%s: user %s lacks privileges, and nothing was changed. It\n  %s\n"+
		"Either let the owner of the tables do it once: command-handler migrate, with MIGRATE_DATABASE_URL naming that user. Or have a superuser execute\n  %s;",
		m.at, user, strings.Join(faults, "\n  "), strings.Join(mends, ";\n  "))}
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
