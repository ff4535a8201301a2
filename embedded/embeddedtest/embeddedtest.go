// Package embeddedtest starts embedded servers for a test, and stops them at its end.
package embeddedtest

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"testing"
	"time"

	_ "github.com/lib/pq" // the driver
	"go.uber.org/goleak"

	"openbank/embedded"
)

// Postgres starts a server.
func Postgres(t testing.TB, config embedded.PostgresConfig) *embedded.Postgres {
	t.Helper()
	server, err := embedded.StartPostgres(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return server
}

// Main runs a package's tests beside one server, which it hands to use first, and returns the exit status. A goroutine that is left
// over at the end is a failure.
func Main(m *testing.M, config embedded.PostgresConfig, use func(*embedded.Postgres) error) int {
	starting, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // a version of its own is fetched first
	defer cancel()
	server, err := embedded.StartPostgres(starting, config)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := 1
	if err = use(server); err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	if err := server.Close(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// Database opens one of a server's databases by its URL until the test ends.
func Database(t testing.TB, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}
