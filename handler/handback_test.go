package handler_test

import (
	"fmt"
	"strings"
	"testing"

	"openbank/bank"
	"openbank/store"
)

// A database is not handed back from under a handler; and one that loses its connections at that moment, so that nothing tells of it,
// ends with a sentence instead of working beside the older handler.
func TestAHandlerDoesNotWorkOnADatabaseThatWasHandedBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	h := b.start()
	answers := b.watch(creationAnswers)
	b.open(answers, bank.ID{15: 1})

	db := b.connected(b.bank.Postgres.URL(""))
	back, err := store.Open(t.Context(), store.Config{URL: b.bank.Postgres.URL("")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = back.Close() })
	if err := back.HandBack(t.Context()); err == nil || !strings.Contains(err.Error(), "handlers are connected: Postgres session ") {
		t.Fatalf("handed back from under a handler: %v", err)
	}
	b.eventually("it is handed back in a moment without a connection", reasonableTimeout, func() error {
		if _, err := db.ExecContext(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'`); err != nil {
			return fmt.Errorf("ending the handler's sessions: %w", err)
		}
		return back.HandBack(t.Context())
	})
	// It ends by itself, before there is anything to do.
	b.ends("a database that was handed back", h, "this database was handed back while this handler was running")
	b.send(b.command(&bank.ConfirmAccountCreation{ID: bank.ID{15: 2}, Type: bank.Auto}))

	// One that is started now takes it over again.
	h = b.start()
	b.open(answers, bank.ID{15: 3})
	answers.wait(creationAnswers, bank.ID{15: 2}.String(), 1)
	b.stop(h)
	var unpublished int
	if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM progress WHERE published_to < executed_to`).Scan(&unpublished); err != nil || unpublished != 0 {
		t.Errorf("a handler that was stopped in order left %d partitions that it may not have published (%v)", unpublished, err)
	}
}

// A restart of Postgres ends all sessions, and a handler that has nothing to do opens none to execute. Hand-back sees it all the same.
func TestHandBackSeesAnIdleHandlerAfterARestartOfPostgres(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	h := b.start()
	b.open(b.watch(creationAnswers), bank.ID{15: 1})
	if err := b.bank.Postgres.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.bank.Postgres.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.eventually("it has its slot again", reasonableTimeout, h.says("our slot is ours again"))
	back, err := store.Open(t.Context(), store.Config{URL: b.bank.Postgres.URL("")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = back.Close() })
	if err := back.HandBack(t.Context()); err == nil || !strings.Contains(err.Error(), "handlers are connected: Postgres session ") {
		t.Errorf("handed back from under an idle handler: %v", err)
	}
	b.stop(h)
	if err := back.HandBack(t.Context()); err != nil {
		t.Errorf("after it was stopped: %v", err)
	}
}
