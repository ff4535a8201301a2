package security

import (
	"database/sql"
	"errors"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/lib/pq"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
	"openbank/embedded"
	"openbank/predecessor"
)

// roleSQL is what docs/security.md tells to put to the database. The stack's file must be that.
func roleSQL(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "```sql\n")
	block, _, _ = strings.Cut(block, "```")
	file, err := os.ReadFile("../docker-compose.sql")
	if err != nil {
		t.Fatal(err)
	}
	if block != string(file) {
		t.Errorf("docs/security.md shows other SQL than docker-compose.sql has:\n%s", block)
	}
	return block
}

// role is the URL of the world's database for one of the roles.
func (w *world) role(name, password string) string {
	w.t.Helper()
	u, err := url.Parse(w.database)
	if err != nil {
		w.t.Fatal(err)
	}
	u.User = url.UserPassword(name, password)
	return u.String()
}

func put(t *testing.T, database string, statements ...string) error {
	t.Helper()
	db, err := sql.Open("postgres", database)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			return err
		}
	}
	return nil
}

func TestTheHandlerWorksAndCanDestroyNothing(t *testing.T) {
	t.Parallel()
	for name, taken := range map[string]bool{"a fresh database": false, "the Clojure handler's database": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, around := newEmbedded(t, embedded.Config{})
			roles := roleSQL(t)
			if taken {
				superuser, err := sql.Open("postgres", w.database)
				if err == nil {
					err = errors.Join(predecessor.Clojure.Create(t.Context(), superuser), superuser.Close())
				}
				if err != nil {
					t.Fatal(err)
				}
				roles = strings.Replace(roles, "CREATE ROLE clojure_ch", "-- CREATE ROLE clojure_ch", 1) +
					"REASSIGN OWNED BY clojure_ch TO bank_owner; GRANT SELECT ON ALL TABLES IN SCHEMA public TO bank_reader;"
			}
			if err := put(t, w.database, roles); err != nil {
				t.Fatal(err)
			}
			handler := w.role("clojure_ch", "open-bank")
			env := append(slices.DeleteFunc(w.environment(around.Certificate("command-handler")), func(v string) bool { return strings.HasPrefix(v, "DATABASE_URL=") }), "DATABASE_URL="+handler)

			if said, err := w.run("command-handler", env); err == nil || !strings.Contains(said, "lacks privileges") || !strings.Contains(said, "MIGRATE_DATABASE_URL naming that user") {
				t.Errorf("before migrate: %v: %s", err, said)
			}
			for range 2 {
				if said, err := w.run("command-handler", append(env, "MIGRATE_DATABASE_URL="+w.role("bank_owner", "open-bank-owner")), "migrate"); err != nil {
					t.Fatalf("%v: %s", err, said)
				}
			}
			h := w.start("command-handler", env)
			w.everyKind()
			w.settled()
			h.stop()
			h = w.start("command-handler", env)
			w.everyKind()
			report := w.settled()
			if report.DeadLetters < 6 || report.Duplicates < 4 || report.Events < 8 {
				t.Errorf("%d dead letters, %d duplicates, %d events: that is not every kind", report.DeadLetters, report.Duplicates, report.Events)
			}
			reader := append(slices.Clone(env), "DATABASE_URL="+w.role("bank_reader", "open-bank-reader"))
			for _, command := range []string{"verify", "check"} {
				if said, err := w.run("open-bank", reader, command); err != nil {
					t.Errorf("%s as bank_reader: %v: %s", command, err, said)
				}
			}
			w.refused(handler)
			if said, err := w.run("command-handler", env, "hand-back"); err == nil {
				t.Errorf("handed back as the handler's user: %s", said)
			}
			h.stop()
		})
	}
}

// everyKind sends commands of every outcome.
func (w *world) everyKind() {
	w.t.Helper()
	transfer := func(id bank.ID, amount int64, from, token, to string) *kgo.Record {
		return w.record(transfers, id, &bank.ConfirmMoneyTransfer{ID: id, Token: token, Amount: amount, From: from, To: to, Description: "d"})
	}
	opened := w.creation()
	first := w.id()
	deposit := transfer(first, 500, bank.Cash, "", bank.CompanyIBAN)
	w.send(opened, opened, deposit, deposit, transfer(first, 501, bank.Cash, "", bank.CompanyIBAN))
	account := w.confirmed(opened)
	w.send(transfer(w.id(), 700, bank.Cash, "", account.IBAN), transfer(w.id(), 200, account.IBAN, account.Token, bank.CompanyIBAN),
		transfer(w.id(), 200, account.IBAN, "wrong", bank.CompanyIBAN), transfer(w.id(), 1<<40, account.IBAN, account.Token, "shop"),
		&kgo.Record{Topic: creations, Value: []byte("garbage")}, &kgo.Record{Topic: transfers, Value: []byte("garbage")})
}

// confirmed is the account that a creation opened.
func (w *world) confirmed(creation *kgo.Record) (account bank.AccountCreationConfirmed) {
	w.t.Helper()
	found := false
	err := w.read([]string{creationAnswers}, reasonable, func(r *kgo.Record) {
		message, err := w.codec.Decode(w.t.Context(), r.Value)
		if answer, ok := message.(*bank.AccountCreationConfirmed); ok && err == nil && string(r.Key) == string(creation.Key) {
			account, found = *answer, true
		}
	}, func() bool { return found })
	if err != nil {
		w.t.Fatal(err)
	}
	return account
}

// refused puts to the database, as the handler's user, what would destroy something.
func (w *world) refused(handler string) {
	w.t.Helper()
	statements := []string{
		"DROP SCHEMA public CASCADE", "DROP DATABASE balancedb", "CREATE TABLE mine (a int)", "CREATE TEMPORARY TABLE mine (a int)", "CREATE SCHEMA mine",
		"DROP SEQUENCE command_seq", "SELECT setval('command_seq', 1)", "DROP FUNCTION refuse_others() CASCADE",
		"UPDATE cmt SET reason = 'x'", "UPDATE cac SET reason = 'x'", "UPDATE tenure SET handed_back_at = now()", "INSERT INTO tenure DEFAULT VALUES", "UPDATE command_topic SET topic = 'x'",
	}
	for _, table := range []string{"balance", "cac", "cmt", "command_topic", "progress", "tenure"} {
		statements = append(statements, "DROP TABLE "+table+" CASCADE", "TRUNCATE "+table, "DELETE FROM "+table, "ALTER TABLE "+table+" ADD mine int",
			"ALTER TABLE "+table+" OWNER TO clojure_ch", "ALTER TABLE "+table+" DISABLE TRIGGER ALL", "CREATE INDEX mine ON "+table+" ((1))")
	}
	for _, statement := range statements {
		err := put(w.t, handler, statement)
		var said *pq.Error
		if !errors.As(err, &said) || said.Code != "42501" {
			w.t.Errorf("%s: %v", statement, err)
		}
	}
	if err := put(w.t, handler, "SELECT count(*) FROM balance"); err != nil {
		w.t.Errorf("that is not for want of a connection? %v", err)
	}
}
