package handler_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// freezePostgres stops all of the server's processes until the test ends: connections stay open, and nothing is answered.
func (b *bundle) freezePostgres() (thaw func()) {
	b.t.Helper()
	rows, err := b.connected(b.bank.Postgres.URL("")).QueryContext(b.t.Context(), `SELECT pid FROM pg_stat_activity WHERE pid IS NOT NULL`)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var pids []int
	for rows.Next() {
		var pid int
		if err := rows.Scan(&pid); err != nil {
			b.t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if err := rows.Err(); err != nil {
		b.t.Fatal(err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pids[0]))
	if err != nil {
		b.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	parent, err := strconv.Atoi(strings.Fields(after)[1])
	if err != nil {
		b.t.Fatal(err)
	}
	pids = append([]int{parent}, pids...) // first, so that no process is added
	signal := func(s syscall.Signal) {
		for _, pid := range pids {
			if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
				b.t.Error(err)
			}
		}
	}
	thaw = func() { signal(syscall.SIGCONT) }
	b.t.Cleanup(thaw)
	signal(syscall.SIGSTOP)
	return thaw
}

// stallProgress has Postgres stand still where progress is written that no batch takes along, and only there, until the test ends or
// it is called off.
func (b *bundle) stallProgress() (callOff func()) {
	b.t.Helper()
	b.execute(
		`CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(600); RETURN new; END'`,
		`CREATE TRIGGER stall BEFORE UPDATE ON progress FOR EACH ROW
		WHEN (new.executed_to = old.executed_to AND new.published_to > old.published_to) EXECUTE FUNCTION stall()`)
	return func() {
		b.t.Helper()
		b.execute(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'`, `DROP FUNCTION stall CASCADE`)
	}
}

// Whoever stops a handler kills it after a while. A Postgres that stands still, with its connections open, must not keep it for longer than
// it was granted, and what it could not finish the next one does. Without work in flight it is a clean stop, also while it writes down how
// far it was published.
func TestAStopIsInTimeWhilePostgresStandsStill(t *testing.T) {
	t.Parallel()
	const timeout, moments = 4 * time.Second, time.Second
	for name, busy := range map[string]bool{"at work": true, "idle, writing its progress down": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.synchronize()
			h := b.start("STOP_TIMEOUT="+timeout.String(), "MAX_BATCH=20")
			w := b.watch(creationAnswers, transferAnswers)
			l := &load{b: b, random: rand.New(rand.NewPCG(21, 21))}
			l.open(w, 50)
			var sent <-chan struct{}
			callOff := func() {}
			if busy {
				sent = l.busy(2000)
				b.eventually("work is under way", reasonableTimeout, func() error {
					if n := len(w.of(transferAnswers, "")); n < 100 {
						return fmt.Errorf("%d answers", n)
					}
					return nil
				})
			} else {
				callOff = b.stallProgress()
				b.send(b.creations(&l.n, 1)...) // it may wait behind what the first answers left to be written
				db := b.connected(b.bank.Postgres.URL(""))
				b.eventually("progress is being written down", reasonableTimeout, func() error {
					var n int
					err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'`).Scan(&n)
					if err == nil && n == 0 {
						return errors.New("nobody sleeps")
					}
					return err
				})
			}
			thaw := b.freezePostgres()
			begin := time.Now()
			if !h.Stop(t.Context(), syscall.SIGTERM, reasonableTimeout) {
				t.Fatal("it does not stop")
			}
			if took := time.Since(begin); took > timeout+4*moments { // and a moment for a machine that does other things
				t.Errorf("a stop took %s", took)
			}
			thaw()
			callOff()
			if busy {
				<-sent
			} else if err := h.Err(); err != nil {
				t.Error(err)
			}
			h = b.start()
			b.answered(2*reasonableTimeout, false)
			b.stop(h)
		})
	}
}
