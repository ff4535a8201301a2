package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// A bank is worked on by one consumer group: how far commands are published is noted for all of them together, and each group reads all
// commands, so that two would answer each and publish its events twice. So every session that executes holds a shared advisory lock whose
// first key is the bank, by its table of balances, and whose second is the group; it takes that while it holds another lock, alone, and sees
// nobody else's there. With a handler's sessions its locks are gone: nothing is left of a group that no handler is in.
//
// Handlers of earlier versions hold none, and are neither refused nor seen.

// groupName is what Config.Group adds to a session's name, by which another group's handlers tell who is in charge.
func groupName(group string) string { return " of group " + group }

// deciding is the first key of the lock of whoever looks for another group, and the bank is its second.
var deciding = key("deciding a bank's group")

const (
	bankSQL = `CAST(to_regclass('{balance}') AS oid)`
	// Both statements are one message and with that one transaction, for which the deciding lock, the first one, is held.
	joinSQL = `SELECT pg_advisory_xact_lock(%[1]d, b.key) FROM ` + bankKeySQL + `;
SELECT pg_advisory_lock_shared(b.key, %[2]d) FROM ` + bankKeySQL + ` WHERE NOT EXISTS (SELECT FROM pg_locks l WHERE %[3]s)`
	bankKeySQL = `(SELECT CAST(CAST(CAST(` + bankSQL + ` AS bigint) AS bit(32)) AS int)) b (key)` // an oid is without a sign, a key has one
)

// others are the locks, l, of other groups' sessions.
func (s *Store) others() string {
	return s.layout.sql(fmt.Sprintf(`l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = `+bankSQL+` AND l.objid <> '%d'
	AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`, uint32(key(s.group))))
}

// join puts our group in charge, or finds it there. Error: as keptOff's.
func (s *Store) join(ctx context.Context, conn driver.QueryerContext) error {
	if s.group == "" {
		return nil
	}
	for {
		joined, err := s.tryJoin(ctx, conn)
		if err != nil {
			return fmt.Errorf("joining the sessions of group %s: %w", s.group, err)
		}
		if joined {
			return nil
		}
		if err := s.keptOff(ctx, conn); err != nil {
			return err
		}
	}
}

// keptOff waits until no other group's session is there: handlers that have just ended are waited for. Error: a *FatalError, when another
// group is in charge.
func (s *Store) keptOff(ctx context.Context, conn driver.QueryerContext) error {
	if s.group == "" {
		return nil
	}
	for end := time.Now().Add(sessionsEnd); ; sleep(ctx, poll) {
		var holders []string
		rows, err := conn.QueryContext(ctx, sessionsSQL(s.others()), nil)
		if err == nil {
			err = errors.Join(drain(rows, func(row []driver.Value) { holders = append(holders, fmt.Sprint(row[0])) }), rows.Close())
		}
		switch {
		case err != nil:
			return fmt.Errorf("asking for the sessions of other groups: %w", err)
		case len(holders) == 0:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().Before(end):
			continue
		}
		return &FatalError{Sentence: fmt.Sprintf("%s: handlers of another consumer group have this database: %s; this one is of group %s, and two groups would each answer every command. "+
			"Set KAFKA_GROUP and KAFKA_CLIENT_ID to what they have. To go on in group %[3]s instead, stop them first: it begins at the offsets that it has, and where it has none, at what is not published yet",
			s.at(), strings.Join(holders, "; "), s.group)}
	}
}

// tryJoin takes our group's lock unless there is another's.
func (s *Store) tryJoin(ctx context.Context, conn driver.QueryerContext) (joined bool, err error) {
	rows, err := conn.QueryContext(ctx, fmt.Sprintf(s.layout.sql(joinSQL), deciding, key(s.group), s.others()), nil)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if err := drain(rows, func([]driver.Value) {}); err != nil {
		return false, err
	}
	if err := rows.(driver.RowsNextResultSet).NextResultSet(); err != nil {
		return false, err
	}
	err = drain(rows, func([]driver.Value) { joined = true })
	return joined, err
}

// drain reads a result to its end.
func drain(rows driver.Rows, each func([]driver.Value)) error {
	row := make([]driver.Value, len(rows.Columns()))
	for {
		err := rows.Next(row)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		each(row)
	}
}
