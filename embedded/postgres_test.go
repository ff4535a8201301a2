package embedded_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"openbank/embedded"
	"openbank/embedded/embeddedtest"
)

// query runs a statement that yields one value.
func query(t *testing.T, p *embedded.Postgres, statement string) string {
	t.Helper()
	db, err := sql.Open("postgres", p.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var value string
	if err := db.QueryRowContext(t.Context(), statement).Scan(&value); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return value
}

func TestWhatPostgresAcknowledgedIsThereAfterStopAndAfterKill(t *testing.T) {
	t.Parallel()
	p := embeddedtest.Postgres(t, embedded.PostgresConfig{Settings: map[string]string{"work_mem": "5MB"}})
	url := p.URL("")
	query(t, p, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7) RETURNING n")
	for _, setting := range [][2]string{{"fsync", "on"}, {"synchronous_commit", "on"}, {"full_page_writes", "on"}, {"work_mem", "5MB"}} {
		if got := query(t, p, "SHOW "+setting[0]); got != setting[1] {
			t.Errorf("%s is %s, want %s", setting[0], got, setting[1])
		}
	}
	for name, end := range map[string]func() error{
		"stop": func() error { return p.Stop(t.Context()) },
		"kill": func() error { p.Kill(); return nil },
	} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := p.URL(""); got != url {
			t.Errorf("the URL after %s is %s, want %s as before", name, got, url)
		}
		if got := query(t, p, "SELECT n FROM kept"); got != "7" {
			t.Errorf("after %s it holds %s, want 7", name, got)
		}
	}
	if err := p.Start(t.Context()); err == nil {
		t.Error("a running server could be started once more")
	}
}

func TestAPostgresDirectoryIsKeptFromRunToRun(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	first, err := embedded.StartPostgres(t.Context(), embedded.PostgresConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	query(t, first, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7) RETURNING n")
	if err := first.CreateDatabase(t.Context(), "other"); err != nil {
		t.Error(err)
	}
	if err := first.CreateDatabase(t.Context(), "other"); err != nil {
		t.Errorf("a database that is there already: %v", err)
	}
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	// The pid file of a killed machine: its number is some other process's by now, here this test's.
	stale := filepath.Join(dir, "data", "postmaster.pid")
	if err := os.WriteFile(stale, []byte(strconv.Itoa(os.Getpid())+"\n"+filepath.Join(dir, "data")+"\n1\n1\n\n127.0.0.1\n1 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	second := embeddedtest.Postgres(t, embedded.PostgresConfig{Dir: dir})
	if got := query(t, second, "SELECT n FROM kept"); got != "7" {
		t.Errorf("it holds %s, want 7", got)
	}
}

func TestTwoPostgresServersRunSideBySide(t *testing.T) {
	t.Parallel()
	a, b := embeddedtest.Postgres(t, embedded.PostgresConfig{}), embeddedtest.Postgres(t, embedded.PostgresConfig{})
	if a.URL("") == b.URL("") {
		t.Errorf("both are at %s", a.URL(""))
	}
	query(t, a, "SELECT 1")
	query(t, b, "SELECT 1")
}

func TestADirectoryInUseIsRefused(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	embeddedtest.Postgres(t, embedded.PostgresConfig{Dir: dir})
	if p, err := embedded.StartPostgres(t.Context(), embedded.PostgresConfig{Dir: dir}); err == nil {
		_ = p.Close(t.Context())
		t.Error("two servers could be started on one directory")
	} else {
		t.Log(err)
	}
}

// directory is an empty one that Postgres' user can reach even when the test runs as root, in whose temporary
// directories it may not look.
func directory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "openbank-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAVersionThatIsNotInstalledIsFetchedOnce(t *testing.T) {
	t.Parallel()
	cache := directory(t)
	config := embedded.PostgresConfig{Version: "11", Cache: cache}
	var both sync.WaitGroup
	servers := make([]*embedded.Postgres, 2)
	for i := range servers {
		both.Go(func() {
			p, err := embedded.StartPostgres(t.Context(), config)
			if err != nil {
				t.Error(err)
				return
			}
			servers[i] = p
		})
	}
	both.Wait()
	for _, p := range servers {
		if p == nil {
			continue
		}
		if p.Version() != 11 || !strings.HasPrefix(p.Binaries(), cache) {
			t.Errorf("version %d runs from %s", p.Version(), p.Binaries())
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	left, err := filepath.Glob(filepath.Join(cache, "postgres", "*"))
	if err != nil || len(left) != 2 {
		t.Errorf("the cache holds %q, want one version and the lock (%v)", left, err)
	}
}
