package main

import (
	"bytes"
	"database/sql"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	_ "github.com/lib/pq"

	"openbank/embedded"
	"openbank/embedded/embeddedtest"
	"openbank/predecessor"
	"openbank/store"
)

func TestMigrateAndHandBackConcernTheDatabaseAlone(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Postgres(t, embedded.PostgresConfig{})
	superuser := embeddedtest.Database(t, server.URL(""))
	l := predecessor.Rust
	if err := l.Create(t.Context(), superuser); err != nil {
		t.Fatal(err)
	}
	if _, err := superuser.ExecContext(t.Context(), `CREATE USER app PASSWORD 'hush'`); err != nil {
		t.Fatal(err)
	}
	owner, err := l.URL(server.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	app, err := url.Parse(server.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	app.User = url.UserPassword("app", "hush")

	env := []string{"DATABASE_URL=" + app.String(), "KAFKA_GROUP=g"}
	command := func(name string, more ...string) (stdout string, err error) {
		var out, log bytes.Buffer
		err = run(t.Context(), []string{name, "--log-format=json"}, variables(append(env, more...)...), &out, &log)
		if err != nil && strings.Contains(err.Error()+log.String(), "hush") {
			t.Errorf("a password is told: %v\n%s", err, &log)
		}
		return out.String(), err
	}
	if out, err := command("migrate"); err == nil || out != "" || !strings.Contains(err.Error(), "MIGRATE_DATABASE_URL naming that user") {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := command("hand-back", "MIGRATE_DATABASE_URL="+owner); err == nil || out != "" || !strings.Contains(err.Error(), "MIGRATE_DATABASE_URL (postgres://rust_ch:***@") || !strings.Contains(err.Error(), "never taken over") {
		t.Errorf("%q, %v", out, err)
	}
	for range 2 {
		if out, err := command("migrate", "MIGRATE_DATABASE_URL="+owner); err != nil || !strings.Contains(out, "is ready") {
			t.Errorf("%q, %v", out, err)
		}
	}

	// What the handler does when it starts.
	handler, err := store.Open(t.Context(), store.Config{URL: app.String(), Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = handler.Migrate(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	old := func() error {
		db, err := sql.Open("postgres", owner)
		if err != nil {
			return err
		}
		defer func() { _ = db.Close() }()
		_, err = db.ExecContext(t.Context(), l.UpdateAmount(), 1, 0)
		return err
	}
	if err := old(); err == nil || !strings.Contains(err.Error(), "command-handler hand-back") {
		t.Error(err)
	}
	if out, err := command("hand-back", "MIGRATE_DATABASE_URL="+owner); err == nil || out != "" || !strings.Contains(err.Error(), "handlers are connected: Postgres session ") || !strings.Contains(err.Error(), "user app") {
		t.Errorf("%q, %v", out, err)
	}
	if err := handler.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if out, err := command("hand-back", "MIGRATE_DATABASE_URL="+owner); err != nil || !strings.Contains(out, "is handed back") {
			t.Errorf("%q, %v", out, err)
		}
	}
	if err := old(); err != nil {
		t.Error(err)
	}
}
