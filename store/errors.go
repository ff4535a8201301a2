package store

import (
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"

	"github.com/lib/pq"
)

// FatalError is what no waiting mends: going on could do harm. Its text is a sentence for the operator and holds no
// password.
type FatalError struct {
	Sentence string
	Err      error
}

func (e *FatalError) Error() string {
	if e.Err == nil {
		return e.Sentence
	}
	return e.Sentence + " (" + e.Err.Error() + ")"
}

func (e *FatalError) Unwrap() error { return e.Err }

// errOvertaken says that another session handled the same id, or took the same IBAN, between our look-up and our
// insert: the batch is run again, and the rows decide.
var errOvertaken = errors.New("another session got there first")

// errStandby says that the server takes no writes yet.
var errStandby = errors.New("the server is a standby")

// errReadOnly says that the server, the database or the user is set to take none.
var errReadOnly = errors.New("default_transaction_read_only is on")

// class is what is to be done about an error.
type class int

const (
	again   class = iota // run again at once: two sessions met
	wait                 // the surroundings' fault: run again until it works
	refused              // one command's fault: find out whose
	fatal
)

// verdict is an error's class and, for wait, the state that the surroundings are in.
type verdict struct {
	class class
	state string
}

const (
	stateAway     = "Postgres does not answer"
	stateFull     = "Postgres is out of resources"
	stateReadOnly = "Postgres is read-only"
	stateBlocked  = "another session holds the rows"
	stateMeeting  = "other sessions keep writing the same rows"
	stateTaken    = "other handlers have this identity"
	stateFailing  = "Postgres fails"
)

// classify sorts errors as follows. SQLSTATE by code or by class, that is its first two characters:
//
//	40001 40P01                       two sessions met: again
//	55P03 57014                       locks, time-outs: wait
//	57P01 57P02 57P03 25006 08* 53*   the surroundings: wait
//	23505 in a table of ours          another session got there first: again
//	22* 23* 54*                       one command's fault
//	26000 42P05                       what was prepared is gone, or another session's: fatal
//	42* 28* 3D* OB*                   fatal; OB001 is our own guard's
//
// A standby and a connection that breaks are waited for, and so is whatever else there is: a failing disk is not the command's fault.
func (s *Store) classify(err error) verdict {
	if errors.Is(err, errOvertaken) {
		return verdict{class: again}
	}
	if errors.Is(err, errStandby) || errors.Is(err, errReadOnly) {
		return verdict{wait, stateReadOnly}
	}
	if errors.Is(err, errNoSlot) {
		return verdict{wait, stateTaken}
	}
	var stop *FatalError
	if errors.As(err, &stop) {
		return verdict{class: fatal}
	}
	var pe *pq.Error
	if !errors.As(err, &pe) {
		switch {
		case isTLSError(err):
			return verdict{class: fatal}
		case isConnectionError(err):
			return verdict{wait, stateAway}
		}
		return verdict{wait, stateFailing}
	}
	if sessionIsGone(pe) {
		return verdict{class: fatal}
	}
	switch pe.Code {
	case "40001", "40P01":
		return verdict{class: again}
	case "55P03", "57014":
		return verdict{wait, stateBlocked}
	case "57P01", "57P02", "57P03":
		return verdict{wait, stateAway}
	case "25006":
		return verdict{wait, stateReadOnly}
	case "23505":
		if pe.Table == s.layout.balance || pe.Table == s.layout.creations || pe.Table == s.layout.transfers {
			return verdict{class: again}
		}
		return verdict{class: refused}
	}
	switch pe.Code.Class() {
	case "08":
		return verdict{wait, stateAway}
	case "53":
		return verdict{wait, stateFull}
	case "22", "23", "54":
		return verdict{class: refused}
	case "42", "28", "3D":
		return verdict{class: fatal}
	}
	return verdict{wait, stateFailing}
}

// sessionIsGone says whether what a session was set to or prepared for is not there, or another one's is.
func sessionIsGone(pe *pq.Error) bool {
	return pe.Code.Class() == "OB" || pe.Code == "26000" || pe.Code == "42P05"
}

func isConnectionError(err error) bool {
	var ne net.Error
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, sql.ErrTxDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne)
}

// isTLSError tells a server or a file that does not fit what DATABASE_URL asks for.
func isTLSError(err error) bool {
	var unverified *tls.CertificateVerificationError
	var operation *net.OpError // such as dialling a socket that is not there yet
	if errors.As(err, &operation) {
		return false
	}
	return errors.Is(err, pq.ErrSSLNotSupported) || errors.Is(err, pq.ErrSSLKeyHasWorldPermissions) ||
		errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.As(err, &unverified)
}

// explain turns a fatal error of Postgres into a sentence that names the setting and what to do.
func (s *Store) explain(err error) *FatalError {
	var stop *FatalError
	if errors.As(err, &stop) {
		return stop
	}
	at := s.at()
	var pe *pq.Error
	if !errors.As(err, &pe) {
		return &FatalError{at + ": TLS with Postgres cannot be set up; correct sslmode, sslrootcert, sslcert and sslkey, or the files that they name", err}
	}
	if hasPassword(s.settings.User) || hasPassword(s.grantee) {
		err = nil // Postgres names them
	}
	switch {
	case pe.Code.Class() == "28":
		return &FatalError{at + ": Postgres does not let this user in; correct the user or the password, or pg_hba.conf on the server", err}
	case sessionIsGone(pe):
		return &FatalError{at + ": the settings of the session are gone, as with a pooler in transaction mode; connect to Postgres itself, or to a pooler in session mode", err}
	case pe.Code.Class() == "3D":
		return &FatalError{at + ": there is no such database; create it, or correct the name", err}
	case pe.Code == "42P07" || pe.Code == "42723":
		return &FatalError{at + ": the database already holds a table or function that this handler did not make; name an empty database", err}
	case pe.Code == "42501":
		return &FatalError{at + ": the user lacks a privilege; let the owner of the tables run the handler, or grant it", err}
	case pe.Code == "42P01" || pe.Code == "42703":
		return &FatalError{at + ": a table or column is missing; name the bank's own database, or run command-handler migrate on this one", err}
	}
	return &FatalError{at + ": Postgres refuses a statement; is this another program's database?", err}
}

// hasPassword says whether a user's name looks like user:password, as that of a URL whose colon was escaped too.
func hasPassword(user string) bool { return strings.Contains(user, ":") }

// named is a user's name for sentences.
func named(user string) string {
	if hasPassword(user) {
		return "***"
	}
	return user
}

// mask is a URL's target without its password.
func mask(cfg pq.Config) string {
	host := cfg.Host
	if cfg.Hostaddr.IsValid() && host == "" {
		host = cfg.Hostaddr.String()
	}
	user, name := named(cfg.User), cfg.Database
	if name == "" {
		name = user // what Postgres takes then
	}
	return fmt.Sprintf("postgres://%s:***@%s:%d/%s", user, host, cfg.Port, strings.TrimPrefix(name, "/"))
}
