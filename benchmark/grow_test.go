package benchmark

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"openbank/embedded"
	"openbank/embedded/embeddedtest"
	"openbank/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestABankThatIsFilledKeepsItsBooks(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Postgres(t, embedded.PostgresConfig{})
	s, err := store.Open(t.Context(), store.Config{URL: server.URL(""), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	db := embeddedtest.Database(t, server.URL(""))
	for _, c := range []struct{ to, have int64 }{{3000, 3000}, {5000, 5000}, {4000, 5000}} {
		if err := fill(t.Context(), db, c.to); err != nil {
			t.Fatal(err)
		}
		report, err := s.Verify(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if report.Transfers != c.have || report.Rejected != c.have || len(report.Violations) != 0 {
			t.Errorf("filled to %d: %+v", c.to, report)
		}
	}
	// The key is a key again, and the guard is at its post.
	var keys, disabled int
	if err := db.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM pg_constraint WHERE conrelid = 'cmt'::regclass AND contype = 'p'),
		(SELECT count(*) FROM pg_trigger WHERE tgrelid = 'cmt'::regclass AND tgenabled = 'D')`).Scan(&keys, &disabled); err != nil || keys != 1 || disabled != 0 {
		t.Errorf("%d keys, %d triggers off, %v", keys, disabled, err)
	}
}

func TestATableOfNoBankIsNotFilled(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Postgres(t, embedded.PostgresConfig{})
	db := embeddedtest.Database(t, server.URL(""))
	if err := fill(t.Context(), db, 10); err == nil {
		t.Error("an empty database was filled")
	}
}
