package store

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jmoiron/sqlx"

	"openbank/bank"
	"openbank/embedded"
	"openbank/embedded/embeddedtest"
)

// server is the one Postgres of this test binary, a local one or of the version that POSTGRES_VERSION names; every test
// has a database of its own in it.
var server *embedded.Postgres

func TestMain(m *testing.M) {
	version := os.Getenv("POSTGRES_VERSION")
	os.Exit(embeddedtest.Main(m, embedded.PostgresConfig{Settings: serverSettings, Version: version}, func(s *embedded.Postgres) error {
		if asked, _, _ := strings.Cut(version, "."); asked != "" && asked != strconv.Itoa(s.Version()) {
			return fmt.Errorf("asked for PostgreSQL %s, and got %d", asked, s.Version())
		}
		server = s
		return nil
	}))
}

// serverSettings keep checkpoints out of measurements. What makes a commit durable is left as it is.
var serverSettings = map[string]string{
	"shared_buffers": "256MB", "max_wal_size": "6GB", "checkpoint_timeout": "30min", "max_connections": "150",
}

func database(t testing.TB) string {
	t.Helper()
	var b [8]byte
	_, _ = rand.Read(b[:])
	name := "t" + hex.EncodeToString(b[:])
	if err := server.CreateDatabase(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return server.URL(name)
}

// journal is a log that tests read.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// open opens a store on a database, and closes it when the test ends.
func open(t testing.TB, url string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{URL: url, Logger: new(journal).logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// migrated opens a store on a new database.
func migrated(t testing.TB) *Store {
	t.Helper()
	s := open(t, database(t))
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *Store) query(t testing.TB, into any, sql string, args ...any) {
	t.Helper()
	if err := sqlx.GetContext(t.Context(), s.reading, into, s.layout.sql(sql), args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func (s *Store) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	if _, err := s.reading.ExecContext(t.Context(), s.layout.sql(sql), args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func execute(t testing.TB, s *Store, commands ...Command) []Outcome {
	t.Helper()
	outcomes, err := s.Execute(t.Context(), Batch{Commands: commands})
	if err != nil {
		t.Fatal(err)
	}
	if len(outcomes) != len(commands) {
		t.Fatalf("%d outcomes of %d commands", len(outcomes), len(commands))
	}
	return outcomes
}

func newID() (id bank.ID) {
	_, _ = rand.Read(id[:])
	return id
}

func create(kind bank.AccountType) Command {
	return Command{Creation: &bank.ConfirmAccountCreation{ID: newID(), Type: kind}}
}

func move(amount int64, from, token, to string) Command {
	return Command{Transfer: &bank.ConfirmMoneyTransfer{ID: newID(), Token: token, Amount: amount, From: from, To: to, Description: "for a test"}}
}

// accounts opens n accounts and puts amount cents into each.
func accounts(t testing.TB, s *Store, n int, amount int64) []Outcome {
	t.Helper()
	commands := make([]Command, n)
	for i := range commands {
		commands[i] = create(bank.Auto)
	}
	made := execute(t, s, commands...)
	if amount == 0 {
		return made
	}
	for i := range commands {
		commands[i] = move(amount, bank.Cash, "", made[i].IBAN)
	}
	for _, o := range execute(t, s, commands...) {
		if o.Reason != "" {
			t.Fatal(o.Reason)
		}
	}
	return made
}
