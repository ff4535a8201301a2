package handler_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
	"openbank/certs"
	handlers "openbank/handler"
	"openbank/store"
)

// intrude joins the group in a member's place, which fences it, and is gone again once the member has it back.
func (b *bundle) intrude(instance, topic string) {
	b.t.Helper()
	place := func() (member, client string) {
		groups, err := kadm.NewClient(b.client).DescribeGroups(b.t.Context(), "command-handler")
		if err != nil {
			b.t.Fatal(err)
		}
		for _, m := range groups["command-handler"].Members {
			if m.InstanceID != nil && *m.InstanceID == instance {
				return m.MemberID, m.ClientID
			}
		}
		return "", ""
	}
	before, _ := place()
	intruder, err := b.kafka.Client("intruder", kgo.ConsumerGroup("command-handler"), kgo.InstanceID(instance), kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(), kgo.SessionTimeout(6*time.Second))
	if err != nil {
		b.t.Fatal(err)
	}
	b.eventually("somebody else has the place", reasonableTimeout, func() error {
		if now, _ := place(); now == before {
			return fmt.Errorf("%s is %s's", instance, now)
		}
		return nil
	})
	intruder.Close()
	b.eventually("the handler has its place back", reasonableTimeout, func() error {
		if now, client := place(); client == "intruder" || now == "" {
			return fmt.Errorf("%s is %s's", instance, client)
		}
		return nil
	})
}

// Brokers that come back may take a member for another one that has its place, and fence it. The slot tells that nobody has: the handler
// joins anew, and what it had read under its former membership is published once.
func TestAHandlerThatIsFencedInTheGroupWhileItsSlotIsItsOwnJoinsAnew(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	f := b.fleet(2, "DELIVERY=exactly-once", "MAX_BATCH=20")
	w := b.watch(creationAnswers, transferAnswers)
	l := &load{b: b, random: rand.New(rand.NewPCG(16, 16))}
	l.open(w, 50)
	sent := l.busy(3000)
	for range 2 {
		b.intrude("command-handler-0-cmt", transfers)
	}
	b.intrude("command-handler-1-cac", creations)
	<-sent
	b.answered(2*reasonableTimeout, false)
	for _, h := range f.handlers {
		if err := h.says("joining anew")(); err != nil {
			t.Error(err)
		}
	}
	f.stop()
}

// A handler whose slot another one took, while its session with Postgres was lost, does not go on under an identity that is not its own.
func TestAHandlerWhoseSlotAnotherTookEnds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	h := b.start()
	b.open(b.watch(creationAnswers), bank.ID{15: 1})
	b.takeSlot(0)
	b.ends("a handler without a slot", h, "has taken slot 0 of command-handler")
}

// slotSQL finds the session that has a slot, and the name's key.
const slotSQL = `SELECT CAST(classid AS bigint), l.pid FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE locktype = 'advisory' AND objsubid = 2 AND granted AND objid = $1 AND l.pid <> pg_backend_pid() AND a.datname = current_database()`

// takeSlot ends the session that has a slot, and takes it in the same moment.
func (b *bundle) takeSlot(slot int) {
	b.t.Helper()
	conn, err := b.connected(b.bank.Postgres.URL("")).Conn(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	var key int64
	var pid int
	if err := conn.QueryRowContext(b.t.Context(), slotSQL, slot).Scan(&key, &pid); err != nil {
		b.t.Fatal(err)
	}
	// It waits for the lock until the session has ended, and stands before whoever asks for it then.
	if _, err := conn.ExecContext(b.t.Context(), `SELECT pg_advisory_lock($1, $2) FROM (SELECT pg_terminate_backend($3)) ended`, int32(uint32(key)), slot, pid); err != nil {
		b.t.Fatal(err)
	}
}

// A handler that sees another one's slot free ends the transaction that may be open there. When the other one has only lost its session, it
// is fenced, and has to publish once more: nothing else.
func TestCleaningUpAfterAHandlerThatIsAliveCostsItOneTryMore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	f := b.fleet(2, "DELIVERY=exactly-once", "MAX_BATCH=20")
	w := b.watch(creationAnswers, transferAnswers)
	l := &load{b: b, random: rand.New(rand.NewPCG(18, 18))}
	l.open(w, 50)
	db := b.connected(b.bank.Postgres.URL(""))
	fenced := func() bool {
		return f.handlers[0].says("a new one goes on")() == nil || f.handlers[1].says("a new one goes on")() == nil
	}
	for try := 0; !fenced(); try++ {
		if try == 60 {
			t.Fatal("no look of the other handler fell between the loss of a session and the next one")
		}
		var key int64
		var pid int
		b.eventually("the slot is taken", reasonableTimeout, func() error { return db.QueryRowContext(t.Context(), slotSQL, 0).Scan(&key, &pid) })
		<-l.busy(200) // in which time the other handler sees it
		if _, err := db.ExecContext(t.Context(), `SELECT pg_terminate_backend($1)`, pid); err != nil {
			t.Fatal(err)
		}
	}
	b.answered(2*reasonableTimeout, false)
	f.stop()
}

// halfway starts a handler that publishes when it is told to.
func (b *bundle) halfway(cfg handlers.Config) *handlers.Halfway {
	b.t.Helper()
	files := certs.Files{CA: b.kafka.SSLCA, Cert: b.kafka.SSLCert, Key: b.kafka.SSLKey, Password: b.kafka.SSLKeyPassword}
	cfg.Kafka = handlers.Kafka{Brokers: strings.Join(b.kafka.Brokers, ","), TLS: handlers.TLS{CA: files.CA, Cert: files.Cert, Key: files.Key, KeyPassword: files.Password}}
	cfg.Logger = slog.New(slog.DiscardHandler)
	var err error
	if cfg.Kafka.Dial, err = certs.Dialer(files, 0); err != nil {
		b.t.Fatal(err)
	}
	db, err := store.Open(b.t.Context(), store.Config{URL: b.bank.Postgres.URL(""), Logger: cfg.Logger})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = db.Close() })
	h, err := handlers.StartHalfway(b.t.Context(), cfg, db, b.registry)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(h.Stop)
	return h
}

// A partition that is taken away between Postgres and Kafka is another handler's to publish, and that may be this very one, which got it
// back: membership in the group is no ownership. What was executed before is not published, what was read again is.
func TestWhatWasExecutedBeforeAPartitionWasTakenAwayIsNotPublished(t *testing.T) {
	t.Parallel()
	for _, delivery := range []handlers.Delivery{handlers.ExactlyOnce, handlers.AtLeastOnce} {
		t.Run(string(delivery), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.synchronize()
			h := b.halfway(handlers.Config{Delivery: delivery})
			ctx, cancel := context.WithTimeout(t.Context(), reasonableTimeout)
			defer cancel()
			var n ids
			b.send(b.command(&bank.ConfirmMoneyTransfer{ID: n.next(), Token: bank.CompanyToken, Amount: 100, From: bank.CompanyIBAN, To: "Albert Heijn BV"}))
			if err := h.Executed(ctx, 1); err != nil {
				t.Fatal("it is not executed:", err)
			}
			b.intrude("command-handler-0-cmt", transfers)
			if err := h.Executed(ctx, 2); err != nil {
				t.Fatal("it is not read again:", err)
			}
			if err := h.Publish(ctx); err != nil {
				t.Fatal(err)
			}
			if r := b.answered(reasonableTimeout, false); r.Answers != 1 || r.Events != 1 {
				t.Errorf("%d answers and %d events", r.Answers, r.Events)
			}
		})
	}
}
