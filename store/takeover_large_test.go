package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"openbank/predecessor"
)

// What the take-over of a large bank may take at most, while its old handler still reads and tries to write.
const (
	largeAccounts  = 100_000
	largeTransfers = 1_000_000

	mostTime = 30 * time.Second
	mostLock = 2 * time.Second
)

func TestALargeBankIsTakenOverQuicklyWhileOthersReadAndWrite(t *testing.T) {
	t.Parallel()
	l := predecessor.Clojure
	o := predecessorsBank(t, l)[0]
	o.must(t, fmt.Sprintf(`INSERT INTO %s (iban, token, %s, amount) SELECT 'NL00OPEN1' || lpad(CAST(i AS text), 9, '0'), lpad(CAST(i AS text), 20, '0'), 'AUTO', 1000 + i %% 1000 FROM generate_series(3, %d) i`,
		l.Balance, l.AccountType, largeAccounts-1))
	o.must(t, fmt.Sprintf(`INSERT INTO %s (uuid, reason) SELECT CAST(lpad(to_hex(i), 32, '0') AS uuid), CASE WHEN i %% 20 = 0 THEN 'insufficient funds' END FROM generate_series(1, %d) i`,
		l.Transfers, largeTransfers-2))

	ctx, stop := context.WithCancel(t.Context())
	var others sync.WaitGroup
	reader, writer := &meter{what: "reading"}, &meter{what: "writing"}
	others.Go(func() {
		reader.repeat(ctx, t, func() error {
			var id, n int
			return o.db.QueryRowContext(ctx, `SELECT balance_id, count(*) OVER () FROM `+l.Balance+` WHERE iban = $1`, o.rich.IBAN).Scan(&id, &n)
		})
	})
	amount, refused := int64(0), 0
	others.Go(func() {
		writer.repeat(ctx, t, func() error {
			_, err := o.db.ExecContext(ctx, o.UpdateAmount(), amount+1, 1)
			switch {
			case err == nil && refused > 0:
				return fmt.Errorf("a write was let through after %d were refused", refused)
			case err == nil:
				amount++
				_, err = o.db.ExecContext(ctx, o.InsertTransfer(), newID().String(), nil)
			}
			if err != nil && strings.Contains(err.Error(), "command-handler hand-back") {
				refused++
				return nil
			}
			return err
		})
	})
	locks := &lockWatch{held: map[string]time.Time{}}
	others.Go(func() { locks.watch(ctx, t, o.db, l) })
	await(t, "the other sessions at work", func() bool { return reader.count() > 10 && writer.count() > 10 && locks.count() > 0 })

	s := open(t, o.url)
	began := time.Now()
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	after := writer.count()
	await(t, "a write after it", func() bool { return writer.count() > after+1 })
	stop()
	others.Wait()

	t.Logf("taking over %d accounts and %d transfers took %v; %d reads meanwhile took at most %v, %d writes at most %v, %d looks found no lock that keeps others waiting held longer than %v",
		largeAccounts, largeTransfers, took.Round(time.Millisecond), reader.count(), reader.longest.Round(time.Millisecond),
		writer.count(), writer.longest.Round(time.Millisecond), locks.count(), locks.longest.Round(time.Millisecond))
	if took > mostTime {
		t.Errorf("it took %v", took)
	}
	for what, longest := range map[string]time.Duration{"a lock": locks.longest, "a read": reader.longest, "a write": writer.longest} {
		if longest > mostLock {
			t.Errorf("%s took %v", what, longest)
		}
	}
	if amount == 0 || refused == 0 {
		t.Errorf("%d writes before the guard, %d refused after it", amount, refused)
	}
	r := sound(t, s)
	if r.Accounts != largeAccounts || r.History < largeTransfers {
		t.Errorf("%+v", r)
	}
	account, there, err := s.Account(t.Context(), o.rich.IBAN)
	if err != nil || !there || account.Opening != amount {
		t.Errorf("the last write that was not refused left %d, and the opening is %d (%v)", amount, account.Opening, err)
	}
	o.answered(t, s)
}

// meter times what is done over and over.
type meter struct {
	what    string
	mu      sync.Mutex
	n       int
	longest time.Duration
}

func (m *meter) repeat(ctx context.Context, t *testing.T, do func() error) {
	for ctx.Err() == nil {
		began := time.Now()
		err := do()
		took := time.Since(began)
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("%s: %v", m.what, err)
			}
			return
		}
		m.mu.Lock()
		m.n++
		m.longest = max(m.longest, took)
		m.mu.Unlock()
		sleep(ctx, time.Millisecond)
	}
}

func (m *meter) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.n
}

// lockWatch looks for locks on a bank's tables that keep readers or writers waiting, and for how long each is held.
type lockWatch struct {
	meter
	held map[string]time.Time
}

func (w *lockWatch) watch(ctx context.Context, t *testing.T, db *sql.DB, l predecessor.Layout) {
	look := &meter{what: "looking at the locks"}
	look.repeat(ctx, t, func() error {
		now := time.Now()
		seen := map[string]bool{}
		if err := query(ctx, db, func(scan func(...any) error) error {
			var lock string
			if err := scan(&lock); err != nil {
				return err
			}
			seen[lock] = true
			return nil
		}, fmt.Sprintf(`SELECT virtualtransaction || ' ' || CAST(relation AS text) || ' ' || mode FROM pg_locks
			WHERE granted AND relation IN (to_regclass('%s'), to_regclass('%s'), to_regclass('%s'))
				AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')`, l.Balance, l.Creations, l.Transfers)); err != nil {
			return err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.n++
		for lock, since := range w.held {
			w.longest = max(w.longest, now.Sub(since))
			if !seen[lock] {
				delete(w.held, lock)
			}
		}
		for lock := range seen {
			if _, known := w.held[lock]; !known {
				w.held[lock] = now
			}
		}
		return nil
	})
}
