//go:build memory

package security

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
	"openbank/certs"
	"openbank/embedded"
	"openbank/realkafka"
)

var (
	records = flag.Int("records", 1_000_000, "hostile records, and half of the commands of the backlog")
	keep    = flag.String("keep", "", "a file that gets the handler's map of memory and what it wrote")
	image   = flag.String("handler", "", "another build of the handler, such as the static one of the image")
)

// bound is how much memory a handler may have resident at any time, in bytes.
const bound = 64 << 20

// measured is a world with a real Kafka, whose handler's memory is looked at.
type measured struct {
	*world
	postgres *embedded.Postgres
	identity certs.Files
}

func newMeasured(t *testing.T) *measured {
	t.Helper()
	m := &measured{world: &world{t: t}}
	cluster, err := realkafka.Start(t.Context(), realkafka.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
	})
	schemas, err := embedded.StartRegistry(t.Context(), embedded.RegistryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = schemas.Close(context.Background()) })
	if m.postgres, err = embedded.StartPostgres(t.Context(), embedded.PostgresConfig{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.postgres.Close(context.Background()) })
	m.brokers, m.registry, m.database = cluster.Addresses(), schemas.URL(), m.postgres.URL("")
	m.identity = cluster.Certificates().Files("command-handler")
	m.reach(m.identity)
	return m
}

// handler starts one with what a user's environment may say about memory, for trials.
func (m *measured) handler() *program {
	env := m.environment(m.identity)
	for _, name := range []string{"GOMEMLIMIT", "GOGC", "GODEBUG", "MALLOC_ARENA_MAX"} {
		if value, ok := os.LookupEnv("HANDLER_" + name); ok {
			env = append(env, name+"="+value)
		}
	}
	path := filepath.Join(binaries, "command-handler")
	if *image != "" {
		path = *image
	}
	return m.start(path, env)
}

// bounded wants the handler to have kept within its memory, and tells how far it went.
func (m *measured) bounded(h *program, what string, since time.Time) {
	m.t.Helper()
	m.t.Logf("%s in %s; peak of the handler's resident memory %.1f MiB", what, time.Since(since).Round(100*time.Millisecond), float64(h.peak())/(1<<20))
	if *keep != "" {
		maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", h.PID()))
		if err == nil {
			err = os.WriteFile(*keep, append(maps, h.text()...), 0o600)
		}
		if err != nil {
			m.t.Error(err)
		}
	}
	if peak := h.peak(); peak > bound {
		m.t.Errorf("the handler had %.1f MiB, it may have %d", float64(peak)/(1<<20), bound>>20)
	}
}

func TestHostileRecordsCostBoundedMemory(t *testing.T) {
	m := newMeasured(t)
	h := m.handler()
	all := newHostile(m.world, 20_000)
	start := time.Now()
	all.send(*records)
	t.Logf("sent in %s", time.Since(start).Round(time.Second))
	all.buried(30 * time.Minute)
	m.bounded(h, fmt.Sprintf("%d hostile records are dead letters", *records), start)
	h.stop()
}

func TestABacklogCostsBoundedMemory(t *testing.T) {
	m := newMeasured(t)
	accounts := m.opened(1000)
	n := 2 * *records
	m.transfers(accounts, n)
	start := time.Now()
	h := m.handler()
	m.drained(n, 30*time.Minute)
	m.bounded(h, fmt.Sprintf("a backlog of %d commands is gone", n), start)
	h.stop()
}

func TestPostgresAwayForAMinuteCostsBoundedMemory(t *testing.T) {
	m := newMeasured(t)
	accounts := m.opened(1000)
	h := m.handler()
	const perSecond = 5000
	n := 0
	loaded := func(long time.Duration) {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(long); time.Now().Before(end); <-tick.C {
			m.transfers(accounts, perSecond/10)
			n += perSecond / 10
		}
	}
	start := time.Now()
	loaded(10 * time.Second)
	if err := m.postgres.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	loaded(time.Minute)
	if err := m.postgres.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	loaded(10 * time.Second)
	m.drained(n, 10*time.Minute)
	m.bounded(h, fmt.Sprintf("%d commands at %d/s with Postgres away for a minute are answered", n, perSecond), start)
	h.stop()
}

// opened are the IBANs of new accounts, with some money each.
func (m *measured) opened(n int) []string {
	m.t.Helper()
	h := m.handler()
	creations := make([]*kgo.Record, n)
	for i := range creations {
		creations[i] = m.creation()
	}
	m.send(creations...)
	var accounts []string
	err := m.read([]string{creationAnswers}, reasonable, func(r *kgo.Record) {
		message, err := m.codec.Decode(m.t.Context(), r.Value)
		if confirmed, ok := message.(*bank.AccountCreationConfirmed); ok && err == nil {
			accounts = append(accounts, confirmed.IBAN)
		}
	}, func() bool { return len(accounts) == n })
	if err != nil {
		m.t.Fatal(err)
	}
	h.stop()
	return accounts
}

// transfers sends n deposits to accounts in turn.
func (m *measured) transfers(accounts []string, n int) {
	m.t.Helper()
	failed := make(chan error, 1)
	for range n {
		id := m.id()
		r := m.record(transfers, id, &bank.ConfirmMoneyTransfer{ID: id, Amount: 1, From: bank.Cash, To: accounts[m.last%uint64(len(accounts))], Description: "a gift of some words"})
		m.client.Produce(m.t.Context(), r, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	if err := m.client.Flush(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
	select {
	case err := <-failed:
		m.t.Fatal(err)
	default:
	}
}

// drained waits until the group has no lag on the transfers.
func (m *measured) drained(n int, within time.Duration) {
	m.t.Helper()
	admin := kadm.NewClient(m.client)
	eventually(m.t, fmt.Sprintf("%d commands are done", n), within, func() error {
		lags, err := admin.Lag(m.t.Context(), "command-handler")
		if err != nil {
			return err
		}
		left, known := int64(0), false
		for _, l := range lags.Sorted() {
			for _, p := range l.Lag[transfers] {
				left, known = left+p.Lag, true
			}
		}
		if !known || left > 0 {
			return fmt.Errorf("%d are left", left)
		}
		return nil
	})
	count := 0
	if err := m.read([]string{transferAnswers}, within, func(*kgo.Record) { count++ }, func() bool { return count >= n }); err != nil || count != n {
		m.t.Errorf("%d of %d answers: %v", count, n, err)
	}
}
