package handler_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"openbank/bank"
	"openbank/certs"
	handlers "openbank/handler"
	"openbank/store"
)

// intrude joins the group in a member's place, which fences it, and returns when the member has it back. A place is told by the id of its
// member, which each one that joins gets anew: Apache Kafka keeps the client's name from whoever was there first.
func (b *bundle) intrude(instance, topic string) {
	b.t.Helper()
	place := func() (member string) {
		groups, err := kadm.NewClient(b.client).DescribeGroups(b.t.Context(), "command-handler")
		if err != nil {
			b.t.Fatal(err)
		}
		for _, m := range groups["command-handler"].Members {
			if m.InstanceID != nil && *m.InstanceID == instance {
				return m.MemberID
			}
		}
		return ""
	}
	var before string
	b.eventually("the handler has its place", reasonableTimeout, func() error {
		if before = place(); before == "" {
			return fmt.Errorf("%s is nobody's", instance)
		}
		return nil
	})
	intruder := b.takePlace(instance, topic)
	b.eventually("the handler has its place back", reasonableTimeout, func() error {
		if now := place(); now == "" || now == before || now == intruder {
			return fmt.Errorf("%s is %q's, after %s and the intruder, %q", instance, now, before, intruder)
		}
		return nil
	})
}

// takePlace joins the group in a member's place for a minute, and returns as whom.
func (b *bundle) takePlace(instance, topic string) (member string) {
	b.t.Helper()
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.InstanceID, join.ProtocolType = "command-handler", &instance, "consumer"
	join.RebalanceTimeoutMillis = int32(reasonableTimeout.Milliseconds())
	join.SessionTimeoutMillis = join.RebalanceTimeoutMillis // the place does not fall free before it is taken back
	share := kgo.CooperativeStickyBalancer()
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name, protocol.Metadata = share.ProtocolName(), share.JoinGroupMetadata([]string{topic}, nil, -1)
	join.Protocols = append(join.Protocols, protocol)
	ctx, cancel := context.WithTimeout(b.t.Context(), reasonableTimeout)
	defer cancel()
	joined, err := join.RequestWith(ctx, b.client)
	if err == nil {
		err = kerr.ErrorForCode(joined.ErrorCode)
	}
	if err != nil && !errors.Is(err, kerr.FencedInstanceID) { // the handler may be back before a rebalance ends, and with it the join
		b.t.Fatal("joining in the handler's place: ", err)
	}
	return joined.MemberID
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
	for _, place := range []struct{ instance, topic string }{
		{"command-handler-0-cmt", transfers}, {"command-handler-0-cmt", transfers}, {"command-handler-1-cac", creations},
	} {
		sent := l.busy(1000)
		b.intrude(place.instance, place.topic)
		<-sent
	}
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

// serving finds the session that has a slot, once it counts among those that execute, and the lock that they share.
func (b *bundle) serving(slot int) (pid int, lock int64) {
	b.t.Helper()
	db := b.connected(b.bank.Postgres.URL(""))
	b.eventually(fmt.Sprintf("the handler in slot %d executes", slot), reasonableTimeout, func() error {
		var key int64
		if err := db.QueryRowContext(b.t.Context(), slotSQL, slot).Scan(&key, &pid); err != nil {
			return err
		}
		return db.QueryRowContext(b.t.Context(), `SELECT (CAST(classid AS bigint) << 32) | CAST(objid AS bigint) FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 1 AND mode = 'ShareLock' AND granted AND pid = $1`, pid).Scan(&lock)
	})
	return pid, lock
}

// withoutSlot ends the session that has a slot, and keeps its handler from another one until a condition holds. A session that executes
// queues behind whoever asks for the bank to itself, which nobody gets while a handler is connected; one that looks or cleans up does not.
func (b *bundle) withoutSlot(slot int, what string, until func() error) {
	b.t.Helper()
	db := b.connected(b.bank.Postgres.URL(""))
	pid, lock := b.serving(slot)
	ctx, cancel := context.WithCancel(b.t.Context())
	asked := make(chan error, 1)
	go func() {
		_, err := db.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, lock)
		asked <- err
	}()
	defer func() {
		cancel()
		if err := <-asked; err == nil {
			b.t.Error("no handler was connected")
		}
	}()
	b.eventually("somebody asks for the bank to itself", reasonableTimeout, func() error {
		return db.QueryRowContext(b.t.Context(), `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND NOT granted
AND (CAST(classid AS bigint) << 32) | CAST(objid AS bigint) = $1 AND mode = 'ExclusiveLock'`, lock).Scan(new(int))
	})
	if _, err := db.ExecContext(b.t.Context(), `SELECT pg_terminate_backend($1)`, pid); err != nil {
		b.t.Fatal(err)
	}
	b.eventually(what, reasonableTimeout, until)
}

// looked waits until the handler that has a slot has looked which ones are taken.
func (b *bundle) looked(slot int) {
	b.t.Helper()
	pid, _ := b.serving(slot) // before that it would queue too, instead of looking
	db := b.connected(b.bank.Postgres.URL(""))
	b.eventually(fmt.Sprintf("the handler in slot %d looks", slot), reasonableTimeout, func() error {
		return db.QueryRowContext(b.t.Context(), `SELECT pid FROM pg_stat_activity WHERE pid = $1 AND state = 'idle' AND query LIKE '%FROM pg_locks%'`, pid).Scan(&pid)
	})
}

// producer is what the brokers know a transactional id's producer by: another one once somebody else has initialized it.
func (b *bundle) producer(id string) string {
	b.t.Helper()
	transactions, err := kadm.NewClient(b.client).DescribeTransactions(b.t.Context(), id)
	if err == nil {
		err = transactions[id].Err
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return fmt.Sprint("producer ", transactions[id].ProducerID, ", epoch ", transactions[id].ProducerEpoch)
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
	var alive *handler
	b.eventually("a handler works in slot 0", reasonableTimeout, func() error {
		for _, h := range f.handlers {
			if h.says("delivery=exactly-once slot=0 ")() == nil {
				alive = h
				return nil
			}
		}
		return errors.New("none says so")
	})
	b.looked(1) // and the other one has seen it there
	before := b.producer("command-handler-0")
	sent := l.busy(1000)
	b.withoutSlot(0, "the other handler cleans up", func() error {
		if now := b.producer("command-handler-0"); now == before {
			return fmt.Errorf("%s is still there", now)
		}
		return nil
	})
	<-sent
	b.eventually("the one that lost its session has its slot again", reasonableTimeout, alive.says("our slot is ours again"))
	b.eventually("it is fenced", reasonableTimeout, func() error {
		b.send(l.next()) // until it has something to publish
		return alive.says("a new one goes on")()
	})
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
	db, err := store.Open(b.t.Context(), store.Config{URL: b.bank.Postgres.URL(""), Group: cmp.Or(cfg.Group, "command-handler"), Logger: cfg.Logger})
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
