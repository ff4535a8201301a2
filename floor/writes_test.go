package floor

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"openbank/embedded"
	"openbank/embedded/embeddedtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWritesWriteWhatTheyCount(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Postgres(t, embedded.PostgresConfig{})
	w, err := PrepareWrites(t.Context(), server.URL(""), 100)
	if err != nil {
		t.Fatal(err)
	}
	rate, err := w.Run(t.Context(), 300*time.Millisecond)
	if err != nil || rate <= 0 {
		t.Fatal(rate, err)
	}
	var rows, changed int64
	if err := w.db.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM latency_benchmark_transfer), (SELECT sum(version) FROM latency_benchmark_balance)`).Scan(&rows, &changed); err != nil {
		t.Fatal(err)
	}
	if rows < 100 || rows%100 != 0 || changed < 19*rows/10 || changed > 2*rows { // the few accounts that a batch has twice are written once
		t.Errorf("%d rows, %d changes of accounts", rows, changed)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestFsyncTakesTimeAndLeavesNothing(t *testing.T) {
	t.Parallel()
	took, err := Fsync(t.Context(), t.TempDir(), 100*time.Millisecond)
	if err != nil || took.TotalCount() == 0 {
		t.Fatal(took, err)
	}
	if _, err := Fsync(t.Context(), "/nowhere", time.Second); err == nil {
		t.Error("a directory that is not there was written to")
	}
}

func TestACommandThatIsCutShortIsAnError(t *testing.T) {
	t.Parallel()
	// header, id, token "t", amount 5, from "a", to "b", description "d"
	value := append(make([]byte, 5+16), 2, 't', 10, 2, 'a', 2, 'b', 2, 'd')
	got, err := parse(value)
	if err != nil || got.amount != 5 || string(got.from) != "a" || string(got.to) != "b" || string(got.description) != "d" {
		t.Fatalf("%+v, %v", got, err)
	}
	for n := range len(value) {
		if _, err := parse(value[:n]); err == nil {
			t.Errorf("%d of %d bytes are taken for a command", n, len(value))
		}
	}
}
