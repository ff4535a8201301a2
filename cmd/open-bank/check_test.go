package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/audit"
	"openbank/bank"
	"openbank/connect"
	"openbank/embedded/embeddedtest"
)

// joined is a bank that runs, as a client of it.
type joined struct {
	t           *testing.T
	dir         string
	environment []string // what leads the commands there, if dir does not
	variables   map[string]string
	connection
	*reach
	db *sql.DB
}

// join opens a bank and joins it.
func join(t *testing.T, args ...string) *joined {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // Postgres' user has to pass it
		t.Fatal(err)
	}
	variables, environment := surround(t, dir, args)
	j := &joined{t: t, dir: dir, environment: environment, variables: variables}
	if _, err := (connect.Program{Name: "test"}).Parse(&j.connection, nil, func(name string) string { return variables[name] }, nil, nil); err != nil {
		t.Fatal(err)
	}
	var err error
	if j.reach, err = reachBank(j.Kafka, j.Registry, slog.New(slog.DiscardHandler), kgo.RecordPartitioner(kgo.ManualPartitioner())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.close)
	j.db = embeddedtest.Database(t, j.Database.URL())
	return j
}

func (j *joined) do(args ...string) outcome {
	j.t.Helper()
	return execute(j.t, j.dir, j.environment, args...)
}

// done is do, and wants exit status 0.
func (j *joined) done(args ...string) map[string]string {
	j.t.Helper()
	got := j.do(args...)
	if got.code != 0 {
		j.t.Fatalf("%q: %+v", args, got)
	}
	return values(got.stdout)
}

// checkDatabase is check with the database's address given in another way.
func (j *joined) checkDatabase(address *url.URL) outcome {
	j.t.Helper()
	var environment []string
	for name, value := range j.variables {
		environment = append(environment, name+"="+value)
	}
	return execute(j.t, j.dir, append(environment, "DATABASE_URL="+address.String()), "check") // the last one counts
}

func (j *joined) sql(statement string, args ...any) {
	j.t.Helper()
	result, err := j.db.ExecContext(j.t.Context(), statement, args...)
	if err != nil {
		j.t.Fatal(err)
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		j.t.Fatalf("%s: %d rows (%v)", statement, n, err)
	}
}

// produce writes a record as it stands, and returns it with its offset.
func (j *joined) produce(record *kgo.Record) *kgo.Record {
	j.t.Helper()
	written, err := j.kafka.ProduceSync(j.t.Context(), record).First()
	if err != nil {
		j.t.Fatal(err)
	}
	return written
}

// forge writes a message as the handler would.
func (j *joined) forge(topic, key string, message any, headers ...kgo.RecordHeader) {
	j.t.Helper()
	value, err := j.codec.Encode(j.t.Context(), topic, message)
	if err != nil {
		j.t.Fatal(err)
	}
	j.produce(&kgo.Record{Topic: topic, Key: []byte(key), Value: value, Headers: headers})
}

// finds wants a violation of the rule, about the command, with what its history must tell.
func (j *joined) finds(rule audit.Rule, command string, history ...string) {
	j.t.Helper()
	got := j.do("check", "--wait=0s", "--json", "--show=100")
	var report struct {
		OK         bool
		Violations []audit.Violation
	}
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || got.code != 1 || report.OK || !strings.Contains(got.stderr, "the bank contradicts itself") {
		j.t.Fatalf("%v: %+v", err, got)
	}
	found := slices.IndexFunc(report.Violations, func(v audit.Violation) bool { return v.Rule == rule && v.Command == command })
	if found < 0 {
		j.t.Fatalf("no violation of %q by %s in %s", rule, command, got.stdout)
	}
	for _, want := range history {
		if !slices.ContainsFunc(report.Violations[found].History, func(e audit.Entry) bool { return strings.Contains(e.Where+": "+e.Says, want) }) {
			j.t.Errorf("%q is not in the history of %+v", want, report.Violations[found])
		}
	}
	if text := j.do("check", "--wait=0s", "--show=100"); text.code != 1 || !strings.Contains(text.stdout, string(rule)) || !strings.Contains(text.stdout, command) {
		j.t.Errorf("as text: %+v", text)
	}
}

func TestCheckTellsWhatSomebodyChangedInARealBank(t *testing.T) {
	t.Parallel()
	j := join(t)
	a, b := j.done("account"), j.done("account")
	deposit := j.done("transfer", "--from=cash", "--to="+a["iban"], "--amount=5000", "--description=first")["id"]
	paid := j.done("transfer", "--from="+a["iban"], "--token="+a["token"], "--to="+b["iban"], "--amount=1200", "--description=second")["id"]
	j.done("transfer", "--from=cash", "--to="+a["iban"], "--amount=5000", "--description=first", "--id="+deposit)
	j.produce(&kgo.Record{Topic: transfers, Key: []byte("garbage"), Value: []byte("no Avro"), Headers: []kgo.RecordHeader{{Key: "theirs", Value: []byte("x")}}})

	got := j.do("check")
	if got.code != 0 || !strings.Contains(got.stdout, "everything that can be checked holds") ||
		!strings.Contains(got.stdout, "4 in 6 records; 4 confirmed, 0 rejected") || !strings.Contains(got.stdout, "dead letters 1, ") {
		t.Fatalf("%+v", got)
	}
	if strings.Contains(got.stdout, "not checked") {
		t.Errorf("nothing is deleted or under way: %s", got.stdout)
	}
	address, err := url.Parse(j.Database.URL())
	if err != nil {
		t.Fatal(err)
	}
	address.RawQuery = "" // nothing about TLS, which the server has not
	if got := j.checkDatabase(address); got.code != 0 {
		t.Errorf("without sslmode: %+v", got)
	}
	password, _ := address.User.Password()
	for form, text := range map[string]string{
		"pairs":               fmt.Sprintf("host=%s port=%s user=%s password=%s dbname=balancedb", address.Hostname(), address.Port(), address.User.Username(), password),
		"a host in the query": fmt.Sprintf("postgres:///balancedb?host=%s&port=%s&user=%s&password=%s", address.Hostname(), address.Port(), address.User.Username(), password),
	} {
		if got := j.do("verify", "--database-url="+text); got.code != 0 || !strings.HasSuffix(got.stdout, "the books add up\n") {
			t.Errorf("%s: %+v", form, got)
		}
	}
	address.User = url.UserPassword(address.User.Username(), "wrong")
	if got := j.checkDatabase(address); got.code != 1 || !strings.Contains(got.stderr, "DATABASE_URL") ||
		!strings.Contains(got.stderr, "correct the user or the password") || strings.Contains(got.stderr, "reading the topics") {
		t.Errorf("with a wrong password: %+v", got)
	}

	// Rows, each put right again.
	row := "row of the database: yes (debtor 3800 cents at version 2, creditor 1200 cents at version 1)"
	j.sql(`UPDATE balance SET amount = amount + 1 WHERE iban = $1`, b["iban"])
	j.finds(audit.Chained, paid, row, "row of the account "+b["iban"]+": 1201 cents at version 1", "balance_changed ", `command to move 1200 cents from "`+a["iban"], "answer yes")
	j.sql(`UPDATE balance SET amount = amount - 1 WHERE iban = $1`, b["iban"])
	j.sql(`UPDATE cmt SET to_balance = to_balance + 1 WHERE uuid = $1`, paid)
	j.finds(audit.ReplayAgrees, paid, "creditor 1201 cents")
	j.sql(`UPDATE cmt SET to_balance = to_balance - 1 WHERE uuid = $1`, paid)
	j.sql(`UPDATE cmt SET reason = 'insufficient funds' WHERE uuid = $1`, paid)
	j.finds(audit.OneOutcome, paid, "no (insufficient funds)", "answer yes")
	j.sql(`UPDATE cmt SET reason = NULL WHERE uuid = $1`, paid)
	if got := j.do("check"); got.code != 0 {
		t.Fatalf("put right again: %+v", got)
	}

	// Records, which stay.
	version := func(n string) kgo.RecordHeader { return kgo.RecordHeader{Key: "account-version", Value: []byte(n)} }
	j.forge(balanceChanges, b["iban"], &bank.BalanceChanged{IBAN: b["iban"], NewBalance: 1200, ChangedBy: 1200, FromTo: a["iban"], Description: "second"}, version("1"))
	j.finds(audit.EventsOnce, paid, "row of the database")
	if got := j.do("check", "--allow-repeats"); got.code != 0 || !strings.Contains(got.stdout, "repeats      1, each equal") {
		t.Errorf("a repeat that is allowed: %+v", got)
	}
	j.forge(balanceChanges, b["iban"], &bank.BalanceChanged{IBAN: b["iban"], NewBalance: 9999, ChangedBy: 9999, FromTo: "nobody", Description: "forged"}, version("1"))
	j.finds(audit.Chained, paid, "9999 cents")
	paidID, err := bank.ParseID(paid)
	if err != nil {
		t.Fatal(err)
	}
	j.forge(transferAnswers, paid, &bank.MoneyTransferFailed{ID: paidID, Reason: "forged"})
	j.finds(audit.SameAnswer, paid, "answer no (forged)", "answer yes")
	nobody := newID()
	j.forge(transferAnswers, nobody.String(), &bank.MoneyTransferConfirmed{ID: nobody})
	j.finds(audit.Asked, nobody.String(), "answer yes")
	j.produce(&kgo.Record{Topic: audit.DeadLetter(transfers), Value: []byte("x"), Headers: []kgo.RecordHeader{{Key: "dead-letter-reason", Value: []byte("forged")}}})
	j.finds(audit.DeadLettered, "", "dead letter of")
	if got := j.do("check", "--wait=0s"); !strings.Contains(got.stdout, "violations:\n") {
		t.Errorf("%s", got.stdout)
	}
	for _, secret := range []string{a["token"], b["token"]} {
		if got := j.do("check", "--wait=0s", "--json"); strings.Contains(got.stdout, secret) {
			t.Error("a token is in the report")
		}
	}
}

func TestCheckNeedsAHandlerToHaveAnswered(t *testing.T) {
	t.Parallel()
	j := join(t, "--only=surroundings")
	if got := j.do("check", "--wait=0s"); got.code != 1 || !strings.Contains(got.stderr, "the database has no tables") {
		t.Errorf("%+v", got)
	}
	for fault, flag := range map[string]string{"--show must be at least 1": "--show=0", "--wait and --timeout": "--wait=-1s"} {
		if got := j.do("check", flag); got.code != 1 || !strings.Contains(got.stderr, fault) {
			t.Errorf("%s: %+v", flag, got)
		}
	}
}
