//go:build !realkafka

package handler_test

import (
	"testing"

	"openbank/bank"
)

// The next batch would cover it up: from then on Postgres has executed as much as ever, but for what it has lost.
func TestADatabaseThatIsRestoredUnderAHandlerIsNoticed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	w := b.watch(creationAnswers, transferAnswers)
	h := b.start()
	var n ids
	for range 5 {
		b.open(w, n.next())
	}
	tables := []string{"balance", "cac", "cmt", "progress"}
	b.execute(`CREATE SCHEMA backup`)
	for _, table := range tables {
		b.execute(`CREATE TABLE backup.` + table + ` AS TABLE ` + table)
	}
	lost := []bank.ID{n.next(), n.next()}
	for _, id := range lost {
		b.open(w, id)
	}
	// What it comes to for the handler: the tables have what they had, and all sessions end.
	restore := `BEGIN; SET LOCAL open_bank.handler = 'on'`
	for _, table := range tables {
		restore += `; DELETE FROM ` + table + `; INSERT INTO ` + table + ` SELECT * FROM backup.` + table
	}
	b.execute(restore + `; COMMIT`)
	b.execute(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	b.send(b.creations(&n, 1)...)
	b.ends("the handler ends", h, "it was restored to an earlier state")
	b.ends("the next one refuses", b.start(), "--rewind")
	h = b.start("REWIND=true")
	for _, id := range lost {
		w.wait(creationAnswers, id.String(), 2)
	}
	w.wait(creationAnswers, "", 10) // the last one too
	b.stop(h)
	h = b.start()
	b.open(w, n.next())
	b.stop(h)
}

func TestADatabaseThatHasLostEverythingIsMadeGood(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	w := b.watch(creationAnswers, transferAnswers)
	h := b.start()
	var n ids
	var opened []bank.ID
	for range 5 {
		opened = append(opened, n.next())
		b.open(w, opened[len(opened)-1])
	}
	b.stop(h)
	b.sql(`CREATE DATABASE fresh`)
	fresh := "DATABASE_URL=" + b.bank.Postgres.URL("fresh")
	h = b.start(fresh, "REWIND=true")
	for _, id := range opened {
		w.wait(creationAnswers, id.String(), 2)
	}
	b.stop(h)
	h = b.start(fresh)
	b.open(w, n.next())
	b.stop(h)
}
