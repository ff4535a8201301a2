package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/lib/pq"
)

// The steps of Migrate, each with what tells that it is needed.

func (m *migration) fresh() bool {
	return m.has.tables[m.layout.balance] == nil && m.has.tables[m.layout.creations] == nil && m.has.tables[m.layout.transfers] == nil
}

// checkOther refuses to begin an empty ledger beside one of the other layout, as a DATABASE_LAYOUT that was set by mistake would: the
// accounts and what was handled are in the other one.
func (m *migration) checkOther(ctx context.Context) error {
	if !m.fresh() {
		return nil
	}
	for _, l := range layouts {
		if l.name == m.layout.name {
			continue
		}
		other, err := find(ctx, m.conn, l)
		if err != nil {
			return err
		}
		if len(other.tables) == 3 {
			return &FatalError{Sentence: fmt.Sprintf("%s: DATABASE_LAYOUT is %s, of whose tables (%s, %s, %s) there is none, while the bank's accounts are in those of the %s layout (%s, %s, %s): a second, empty ledger would be begun beside it. "+
				"Leave DATABASE_LAYOUT out or set it to %[6]s, or name an empty database for a new bank",
				m.at, m.layout.name, m.layout.balance, m.layout.creations, m.layout.transfers, l.name, l.balance, l.creations, l.transfers)}
		}
	}
	return nil
}

// makeTables leaves the whole of an empty bank or nothing.
func (m *migration) makeTables(ctx context.Context) error {
	statements := []string{"reference.sql"}
	for _, table := range []string{"{balance}", "{cac}", "{cmt}"} {
		statements = append(statements, m.alter(table))
	}
	statements = append(statements, m.moveUpdatedAt(touching{"balance_updated_at", m.layout.maintainUpdatedAt})...)
	// The index comes before the rows are updated: on rows that the same transaction has updated it would not be used by
	// anybody until every older transaction on the server has ended.
	statements = append(statements, "ours.sql", `CREATE UNIQUE INDEX {balance}_iban_key ON {balance} (iban COLLATE "C")`, `UPDATE {balance} SET opening = amount`)
	if !m.unguarded {
		statements = append(statements, "guard.sql")
	}
	return m.change(ctx, append(statements, `INSERT INTO {tenure} (since_seq, ready_at) VALUES (0, current_timestamp)`)...)
}

func (m *migration) lacksOurs() bool {
	return !m.has.sequence || m.has.tables[m.layout.topics] == nil || m.has.tables[m.layout.progress] == nil || m.has.tables[m.layout.tenure] == nil
}

func (m *migration) lacksColumns() bool {
	return m.lacksOurs() || m.missingColumns("{balance}")+m.missingColumns("{cac}")+m.missingColumns("{cmt}") != "" || m.has.touching != nil
}

// addColumns takes one transaction a table, so that nobody waits for one table because another one is busy.
func (m *migration) addColumns(ctx context.Context) error {
	for _, table := range []string{"{balance}", "{cac}", "{cmt}"} {
		if m.missingColumns(table) == "" {
			continue
		}
		if err := m.change(ctx, m.alter(table)); err != nil {
			return err
		}
	}
	for _, t := range m.has.touching {
		if err := m.change(ctx, m.moveUpdatedAt(t)...); err != nil {
			return err
		}
	}
	if !m.lacksOurs() {
		return nil
	}
	statements := []string{"ours.sql"}
	for _, table := range []string{"{command_topic}", "{progress}", "{tenure}", "{command_seq}"} {
		statements = append(statements, m.giveToOwner("TABLE "+table)...)
	}
	return m.change(ctx, statements...)
}

// alter adds the missing columns. A balance changes all the time, and its indexed columns never: with room left in its
// page for the new row, no index has to be touched.
func (m *migration) alter(table string) string {
	text := "ALTER TABLE " + table + " " + m.missingColumns(table)
	if table == "{balance}" {
		text += ", SET (fillfactor = 50)"
	}
	return text
}

// moveUpdatedAt replaces the trigger that moves updated_at by one that costs nothing when our own update has moved it
// already, and that leaves it alone when an opening is entered. For the old handlers' updates it is the same.
func (m *migration) moveUpdatedAt(t touching) []string {
	name := pq.QuoteIdentifier(t.name)
	return []string{
		`DROP TRIGGER ` + name + ` ON {balance}`,
		`CREATE TRIGGER ` + name + ` BEFORE UPDATE OF iban, token, amount, {type}, lmt ON {balance}
			FOR EACH ROW WHEN (OLD.updated_at IS NOT DISTINCT FROM NEW.updated_at) EXECUTE FUNCTION ` + t.function + `()`,
	}
}

// giveToOwner lets what a superuser makes belong to the owner of the rest, who may change it later.
func (m *migration) giveToOwner(object string) []string {
	owner := m.has.owners[m.layout.balance]
	if !m.has.superuser || owner == "" || owner == m.has.user {
		return nil
	}
	return []string{"ALTER " + object + " OWNER TO " + pq.QuoteIdentifier(owner)}
}

func (m *migration) lacksIndex() bool { return m.has.index != validIndex }

// makeIndex waits for the transactions of others, but none of theirs waits for it.
func (m *migration) makeIndex(ctx context.Context) error {
	if err := m.findDuplicates(ctx); err != nil {
		return err
	}
	return m.watched(ctx, func() error {
		if m.has.index == invalidIndex { // an earlier try was cut short
			if _, err := m.conn.ExecContext(ctx, m.sql(`DROP INDEX CONCURRENTLY {balance}_iban_key`)); err != nil {
				return err
			}
		}
		// "C": compared byte by byte, in the same order on every server, at a fraction of a locale's cost.
		_, err := m.conn.ExecContext(ctx, m.sql(`CREATE UNIQUE INDEX CONCURRENTLY {balance}_iban_key ON {balance} (iban COLLATE "C")`))
		return err
	})
}

// findDuplicates refuses accounts of the same IBAN: nobody could tell which of them is meant.
func (m *migration) findDuplicates(ctx context.Context) error {
	const listed = 10
	var several []string
	count := 0
	if err := query(ctx, m.conn, func(scan func(...any) error) error {
		several = append(several, "")
		return scan(&several[len(several)-1], &count)
	}, m.sql(`
		SELECT iban || ' (balance_id ' || string_agg(CAST(balance_id AS text), ', ' ORDER BY balance_id) || ')', count(*) OVER ()
		FROM {balance} GROUP BY iban HAVING count(*) > 1 ORDER BY iban LIMIT $1`), listed); err != nil {
		return fmt.Errorf("looking for IBANs that several accounts have: %w", err)
	}
	if several == nil {
		return nil
	}
	more := ""
	if count > listed {
		more = fmt.Sprintf(" and %d more", count-listed)
	}
	return &FatalError{Sentence: fmt.Sprintf("%s: several accounts have the same IBAN: %s%s; nobody can tell which of them is meant, so leave one of each in table %s, and start again",
		m.at, strings.Join(several, ", "), more, m.layout.balance)}
}

func (m *migration) wantedGuards() int {
	if m.unguarded {
		return 0
	}
	return 3 // one a table
}

func (m *migration) lacksGuard() bool {
	return m.has.guards != m.wantedGuards() || !m.has.tenure.there || m.has.tenure.handedBack
}

// takeCharge begins a tenure with the guard, in one transaction: whatever is read from now on to be kept, openings
// above all, stays as it is read. What an earlier version of this handler did is not history: its events count on.
func (m *migration) takeCharge(ctx context.Context) error {
	var statements []string
	switch {
	case m.has.guards == m.wantedGuards():
	case m.unguarded:
		m.surroundings.log.Warn("the guard is taken away, as asked for: other programs can write to the tables")
		statements = append(statements, "unguard.sql")
	default:
		statements = append([]string{"guard.sql"}, m.giveToOwner("FUNCTION {refuse_others}()")...)
	}
	switch {
	case m.has.tenure.there && !m.has.tenure.handedBack:
	case m.has.earlier && !m.has.tenure.there:
		statements = append(statements, `INSERT INTO {tenure} (since_seq, opened_to) VALUES (0, 2147483647)`, `DROP TABLE {migration}`)
	default:
		statements = append(statements, `INSERT INTO {tenure} (since_seq) SELECT nextval('{command_seq}')`)
	}
	return m.change(ctx, statements...)
}

func (m *migration) lacksOpenings() bool { return m.has.tenure.there && !m.has.tenure.ready }

// enterOpenings makes every account's balance its opening entry, so many at a time, and notes how far it is.
func (m *migration) enterOpenings(ctx context.Context) error {
	chunk := m.sql(`
		WITH done AS (SELECT coalesce((SELECT opened_to FROM {tenure} ORDER BY id DESC LIMIT 1), -2147483649) AS balance_id),
		chunk AS (
			SELECT max(balance_id) AS last FROM (
				SELECT balance_id FROM {balance} WHERE balance_id > (SELECT balance_id FROM done) ORDER BY balance_id LIMIT $1) b),
		entered AS (
			UPDATE {balance} SET opening = amount, opening_version = version
			WHERE balance_id > (SELECT balance_id FROM done) AND balance_id <= (SELECT last FROM chunk)
				AND (opening <> amount OR opening_version <> version)),
		noted AS (
			UPDATE {tenure} SET opened_to = (SELECT last FROM chunk)
			WHERE id = (SELECT max(id) FROM {tenure}) AND (SELECT last FROM chunk) IS NOT NULL)
		SELECT last FROM chunk`)
	for more := true; more; {
		var to sql.NullInt64
		// Nobody writes any more, but somebody may hold rows.
		if err := m.watched(ctx, func() error { return m.conn.QueryRowContext(ctx, chunk, openingChunk).Scan(&to) }); err != nil {
			return fmt.Errorf("entering the openings: %w", err)
		}
		more = to.Valid
		m.reached("some openings")
	}
	return nil
}

func (m *migration) lacksReadiness() bool { return m.has.tenure.there && !m.has.tenure.ready }

func (m *migration) declareReady(ctx context.Context) error {
	return m.change(ctx, `UPDATE {tenure} SET ready_at = current_timestamp WHERE id = (SELECT max(id) FROM {tenure})`)
}
