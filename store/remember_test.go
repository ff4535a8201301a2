package store

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"openbank/embedded"
	"openbank/embedded/embeddedtest"
)

// standBy has a server come back as a standby, and returns what has it take writes again.
func standBy(ctx context.Context, t *testing.T, p *embedded.Postgres) (promote func()) {
	t.Helper()
	superuser := embeddedtest.Database(t, p.URL(""))
	standby, promotion := `COPY (SELECT 1) TO PROGRAM 'cat > standby.signal'`, `SELECT pg_promote()`
	if p.Version() < 12 {
		standby = `COPY (VALUES ('standby_mode = on'), ('trigger_file = ''promoted''')) TO PROGRAM 'cat > recovery.conf'`
		promotion = `COPY (SELECT 1) TO PROGRAM 'cat > promoted'`
	}
	must(t, superuser, standby)
	if err := p.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		must(t, superuser, promotion)
	}
}

// A standby may be behind for as long as it is one; what it lacks when it takes writes is lost.
func TestAServerThatLacksWhatWasExecutedIsRefusedOnceItTakesWrites(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	p, s, log := ownServer(ctx, t)
	at := func(offset int64) Batch {
		return Batch{Progress: []Progress{{Topic: "t", Partition: 3, ExecutedTo: offset, PublishedTo: -1}}}
	}
	if _, err := s.Execute(ctx, at(70)); err != nil {
		t.Fatal(err)
	}

	// The same server comes back as a standby that has not replayed everything.
	must(t, embeddedtest.Database(t, p.URL("")), `UPDATE progress SET executed_to = 40`)
	promote := standBy(ctx, t, p)
	executed := make(chan error, 1)
	go func() {
		_, err := s.Execute(ctx, at(71))
		executed <- err
	}()
	await(t, "it waits for the standby", func() bool { return strings.Contains(log.String(), stateReadOnly) })
	soon, over := context.WithTimeout(ctx, 300*time.Millisecond)
	defer over()
	if got, err := s.ReadProgress(soon, "t"); soon.Err() == nil {
		t.Errorf("the progress of a standby was taken for the bank's: %v, %v", got, err)
	}
	promote()
	var stop *FatalError
	if err := <-executed; !errors.As(err, &stop) || !strings.Contains(err.Error(), "partition 3 of t was executed up to offset 70, and Postgres has executed it up to 40 only") {
		t.Errorf("%v: %s", err, log)
	}
}
