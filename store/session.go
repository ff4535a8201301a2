package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
)

// session is a session that executes, and what it is prepared for. A batch is three messages to Postgres and as many answers: begin,
// lock and look up; write; commit. For the first of them, and to read rows without a detour, it speaks to lib/pq's connection itself:
// database/sql has no way to send a transaction's beginning along with its first statements.
type session struct {
	connection
	writeTransfers, writeCreations driver.StmtQueryContext
}

// connection is what lib/pq's connections can do. database/sql looks for all of it in what it is given.
type connection interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.SessionResetter
	driver.Validator
	driver.Tx // the transaction under way
}

// prepare makes a connection a session.
func (s *Store) prepare(ctx context.Context, conn connection) (*session, error) {
	for _, q := range []question{lockAccounts, lookUpTransfers, lookUpCreations} {
		if _, err := conn.ExecContext(ctx, "PREPARE "+q.name+"("+q.of+"[]) AS "+s.layout.sql(q.sql), nil); err != nil {
			return nil, fmt.Errorf("preparing %s: %w", q.name, err)
		}
	}
	t := &session{connection: conn}
	for _, w := range []struct {
		stmt *driver.StmtQueryContext
		sql  string
	}{{&t.writeTransfers, writeTransfersSQL}, {&t.writeCreations, writeCreationsSQL}} {
		stmt, err := conn.PrepareContext(ctx, s.layout.sql(w.sql)) // ends with the connection
		if err != nil {
			return nil, fmt.Errorf("preparing to write: %w", err)
		}
		*w.stmt = stmt.(driver.StmtQueryContext)
	}
	return t, nil
}

// lend lends a session. If that is broken when it comes back, the pool drops it.
func (s *Store) lend(ctx context.Context, do func(*session) error) error {
	conn, err := s.executing.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer func() { _ = conn.Close() }() // gives it back; if it is broken, Raw has done that
	return conn.Raw(func(c any) error { return do(c.(*session)) })
}

// question is one of the statements that read what a batch needs to be decided. They are sent in one message, which can have no parameters:
// they are prepared in SQL, and executed with their argument written out.
type question struct {
	name    string
	of      string // their argument is an array of this type
	sql     string
	columns int
	row     func(*batch, *cells) error
}

var (
	lockAccounts    = question{"open_bank_lock", "text", lockSQL, 6, (*batch).lockedRow}
	lookUpTransfers = question{"open_bank_transfers", "uuid", lookUpTransfersSQL, 15, rowOf((*batch).handledTransfer)}
	lookUpCreations = question{"open_bank_creations", "uuid", lookUpCreationsSQL, 9, rowOf((*batch).handledCreation)}
)

// begin begins a transaction, locks the accounts that the batch may name, reads the rows of the ids that were handled before, and draws
// the block of numbers. The look-ups and the numbers only mean something while the accounts are locked: they are statements of their own,
// so what another session did to the accounts is committed and visible by then, and what it will do gets higher numbers.
func (t *session) begin(ctx context.Context, b *batch) (err error) {
	message := new(strings.Builder)
	message.WriteString("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
	var questions []question
	ask := func(q question, argument *literal) {
		questions = append(questions, q)
		message.WriteString("; EXECUTE " + q.name + "(" + argument.sql() + ")")
	}
	if len(b.commands) > 0 {
		names := b.names()
		b.locked = make([]lockedAccount, 0, names.n) // never grows: accounts are pointed to
		ask(lockAccounts, names)
	}
	transfers, creations := b.ids()
	if transfers.n > 0 {
		ask(lookUpTransfers, transfers)
	}
	if creations.n > 0 {
		ask(lookUpCreations, creations)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("locking the accounts and looking up the commands: %w", err)
		}
	}()
	result, err := t.QueryContext(ctx, message.String(), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	var c cells
	for i, q := range questions {
		if i > 0 {
			if err := result.(driver.RowsNextResultSet).NextResultSet(); err != nil {
				return err
			}
		}
		for {
			err := c.next(result, q.columns)
			if errors.Is(err, io.EOF) {
				break
			}
			if err == nil {
				err = q.row(b, &c)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
