package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lib/pq"
)

// HandBack gives the database back to the handler of 2019 that it was taken over from, or to one that has never seen it:
// the guard goes, and so does the progress, which would be wrong after another one has worked. All that was added else
// stays, and Migrate takes over again. A database that is handed back already is left as it is.
//
// Errors: ctx's, or a *FatalError: handlers are connected (it names them), the database was never taken over, or
// privileges are lacking. Nothing has changed then.
func (s *Store) HandBack(ctx context.Context) error {
	return s.migrating(ctx, func(m *migration) error {
		switch {
		case !m.has.tenure.there && !m.has.earlier:
			return &FatalError{Sentence: m.at + ": this database was never taken over, so there is nothing to hand back"}
		case m.has.tenure.handedBack:
			return nil
		case !m.has.tenure.there:
			return &FatalError{Sentence: m.at + ": an earlier version of this handler has this database; start this version once, or run command-handler migrate, and then hand it back"}
		}
		if err := m.checkHandBack(); err != nil {
			return err
		}
		if err := m.tellUnpublished(ctx); err != nil {
			return err
		}
		var pe *pq.Error
		connected := func(err error) bool { return errors.As(err, &pe) && pe.Code == handlersConnected }
		var err error
		for end := time.Now().Add(sessionsEnd); ; sleep(ctx, poll) {
			err = m.change(ctx, m.refuseConnected(), "unguard.sql", `DELETE FROM {progress}`,
				`UPDATE {tenure} SET handed_back_at = current_timestamp WHERE id = (SELECT max(id) FROM {tenure})`)
			if !connected(err) || time.Now().After(end) || ctx.Err() != nil {
				break
			}
		}
		if connected(err) {
			holders, e := sessions(ctx, m.conn, `l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
				AND (CAST(l.classid AS bigint) << 32) | CAST(l.objid AS bigint) = $1`, m.layout.serving)
			if e != nil {
				return e
			}
			return &FatalError{Sentence: fmt.Sprintf("%s: handlers are connected: %s; stop them, and hand back again", m.at, strings.Join(holders, "; "))}
		}
		if err != nil {
			return fmt.Errorf("handing the database back: %w", err)
		}
		m.surroundings.log.Info("handed the database back", "layout", m.layout.name)
		return nil
	})
}

// sessionsEnd is how long the server may take to notice that a handler that has just stopped is gone.
const sessionsEnd = time.Second

// handlersConnected is the SQLSTATE that refuseConnected ends a transaction with.
const handlersConnected = "OB002"

// refuseConnected locks out sessions that execute, for as long as the transaction lasts, or ends it if there are any.
func (m *migration) refuseConnected() string {
	return fmt.Sprintf(`DO $$ BEGIN
		IF NOT pg_try_advisory_xact_lock(%d) THEN RAISE EXCEPTION 'handlers are connected' USING ERRCODE = '%s'; END IF;
	END $$`, m.layout.serving, handlersConnected)
}

// tellUnpublished warns of what only this handler would have sent: to another one a command with a row is a duplicate,
// which gets an answer and no event. It is no reason to refuse: one may hand back because ours does not start.
func (m *migration) tellUnpublished(ctx context.Context) error {
	var partitions int
	if err := m.conn.QueryRowContext(ctx, m.sql(`SELECT count(*) FROM {progress} WHERE published_to < executed_to`)).Scan(&partitions); err != nil {
		return fmt.Errorf("reading the progress: %w", err)
	}
	if partitions > 0 {
		m.surroundings.log.Warn("a handler was not stopped in order: BalanceChanged events of its last commands may be missing; to send them, start it once more and stop it in order before handing back",
			"partitions", partitions)
	}
	return nil
}

func (m *migration) checkHandBack() error {
	var faults []string
	user := pq.QuoteIdentifier(m.has.user)
	for _, table := range []string{m.layout.balance, m.layout.creations, m.layout.transfers, m.layout.tenure, m.layout.progress} {
		if !m.has.owned[table] {
			faults = append(faults, fmt.Sprintf("table %s is %s's, not %s's", table, m.has.owners[table], user))
		}
	}
	if faults == nil {
		return nil
	}
	return &FatalError{Sentence: m.at + ": only their owner can hand the tables back: " + strings.Join(faults, "; ") + "; set MIGRATE_DATABASE_URL to name that user", Err: errPrivileges}
}
