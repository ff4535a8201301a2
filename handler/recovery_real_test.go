//go:build realkafka

package handler_test

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"openbank/bank"
)

const (
	// restartedWithin is how soon a handler that was killed and started again must answer, read committed.
	restartedWithin = 1500 * time.Millisecond
	// survivedWithin is how soon the others must answer in the partitions of one that is not started again.
	survivedWithin = 10 * time.Second
	// heldBack is how long its open transaction may hold back readers of the others' answers.
	heldBack = 1500 * time.Millisecond
	// tooBusy is how long answers take, when nothing happens, on a machine that says nothing about the others.
	tooBusy = 400 * time.Millisecond
)

// recovery is a bank under a steady load whose parts die.
type recovery struct {
	*bundle
	w    *watch
	l    *load
	s    *steady
	a    *arrivals
	f    *fleet
	sent int // besides the steady load
	calm time.Duration
}

// disturb has something happen, and waits until all that was sent until then is answered.
func (r *recovery) disturb(what string, disturb func()) (slowest [partitions]time.Duration) {
	r.t.Helper()
	begin := time.Now()
	disturb()
	mark := time.Now()
	r.open(r.w, r.l.n.next()) // the other lane works too
	r.sent++
	r.eventually(what+": all that was sent until now is answered", 2*reasonableTimeout, func() error { return r.s.answeredUntil(r.a, mark) })
	slowest = r.a.slowest(r.s, begin.Add(-time.Second), mark)
	r.t.Logf("%s: no answer at all for %v; the slowest answer by partition: %v", what, r.a.silence(begin, time.Now()).Round(time.Millisecond), rounded(slowest))
	return slowest
}

func rounded(all [partitions]time.Duration) [partitions]time.Duration {
	for i := range all {
		all[i] = all[i].Round(time.Millisecond)
	}
	return all
}

// within holds the answers in some partitions to a limit, unless the machine is so busy that they are late when nothing happens. How
// late they are then comes on top.
func (r *recovery) within(limit time.Duration, what string, slowest [partitions]time.Duration, where map[int32]bool, there bool) {
	r.t.Helper()
	var longest time.Duration
	for p, took := range slowest {
		if where[int32(p)] == there {
			longest = max(longest, took)
		}
	}
	r.t.Logf("%s: %v", what, longest.Round(time.Millisecond))
	switch {
	case r.calm > tooBusy:
		r.t.Logf("it should be %v at most, which is not judged: on this machine an answer takes up to %v when nothing happens", limit, r.calm)
	case longest > limit+r.calm:
		r.t.Errorf("%s: %v, it should be %v at most, and %v for a machine that is as busy as this one", what, longest, limit, r.calm)
	}
}

// some are the partitions of transfers that a handler has, neither none nor all.
func (r *recovery) some(h *handler) map[int32]bool {
	r.t.Helper()
	has := r.partitionsOf(h)
	if len(has) == 0 || len(has) == partitions {
		r.t.Fatalf("%s has the partitions %v", h.log, has)
	}
	return has
}

// killHandlers kills one handler that is started again, and another one that is not.
func (r *recovery) killHandlers() {
	r.t.Helper()
	dead := r.some(r.f.handlers[0])
	slowest := r.disturb("a handler killed and started again", func() {
		r.f.handlers[0].Kill()
		r.f.handlers[0] = r.start(r.f.env...)
		r.pass(8 * time.Second)
	})
	r.within(restartedWithin, "the slowest answer in the partitions of a handler that is killed and started again", slowest, dead, true)
	r.within(heldBack, "and in the others' partitions", slowest, dead, false)
	dead = r.some(r.f.handlers[1])
	slowest = r.disturb("a handler killed and not replaced", func() {
		r.f.handlers[1].Kill()
		r.pass(15 * time.Second)
	})
	r.within(survivedWithin, "the slowest answer in the partitions of a handler that is killed and not replaced", slowest, dead, true)
	r.within(heldBack, "and in the others' partitions", slowest, dead, false)
}

// coordinator is the broker, counted from 0, that the group goes by.
func (b *bundle) coordinator() int {
	b.t.Helper()
	found := kadm.NewClient(b.client).FindGroupCoordinators(b.t.Context(), "command-handler")
	if err := found.Error(); err != nil {
		b.t.Fatal(err)
	}
	return int(found["command-handler"].NodeID) - 1
}

// settled waits until the partitions are shared out among so many handlers.
func (r *recovery) settled(handlers int) {
	r.t.Helper()
	r.eventually("the group has settled", reasonableTimeout, func() error {
		group, err := r.group(r.client)
		if err != nil {
			return err
		}
		if group.State != "Stable" || len(group.Members) != 2*handlers {
			return fmt.Errorf("it is %s with %d members", group.State, len(group.Members))
		}
		for _, m := range group.Members {
			if assigned, ok := m.Assigned.AsConsumer(); !ok || len(assigned.Topics) == 0 && m.InstanceID != nil && (*m.InstanceID)[len(*m.InstanceID)-3:] == "cmt" {
				return fmt.Errorf("%v has nothing to do", *m.InstanceID)
			}
		}
		return nil
	})
}

// How long the bank stands still when a handler, a broker or Postgres dies under load. Nothing is lost or doubled, and what a dead
// handler leaves is answered soon.
func TestTimesToRecover(t *testing.T) {
	const perSecond = 1000
	b := setup(t)
	b.synchronize()
	r := &recovery{bundle: b, f: b.fleet(3, "DELIVERY=exactly-once", "LOG_LEVEL=info"), w: b.watch(creationAnswers)}
	r.l = &load{b: b, random: rand.New(rand.NewPCG(11, 11))}
	r.l.open(r.w, 100)
	r.sent += 100
	r.settled(3)
	r.a = b.arrivals()
	began := time.Now()
	r.s = r.l.steady(perSecond)
	account := bank.ConfirmAccountCreation{ID: r.l.n.next(), Type: bank.Auto}
	b.send(b.command(&account))
	r.sent++

	r.disturb("the load begins", func() { b.pass(5 * time.Second) })
	r.disturb("undisturbed, 1,000 commands/s", func() { b.pass(5 * time.Second) })
	r.disturb("Postgres stopped at once and started again, 1,000 commands/s", func() {
		b.bank.Postgres.Kill()
		if err := b.bank.Postgres.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.pass(3 * time.Second)
	})
	if threeBrokers {
		broker := b.coordinator()
		r.disturb("one of three brokers killed, the group's coordinator, 1,000 commands/s", func() {
			b.bank.Kafka.Kill(broker)
			b.pass(10 * time.Second)
		})
		r.disturb("and back", func() {
			if err := b.bank.Kafka.Restart(t.Context(), broker); err != nil {
				t.Fatal(err)
			}
			b.pass(5 * time.Second)
		})
		r.s.rate.Store(300) // what three brokers, three handlers and their load do on two cores without a queue
		r.settled(3)
	}
	r.disturb("the load settles", func() { b.pass(2 * time.Second) })
	for _, took := range r.disturb("undisturbed", func() { b.pass(5 * time.Second) }) {
		r.calm = max(r.calm, took)
	}
	r.killHandlers()

	steady, took := r.s.end(), time.Since(began)
	report := b.answered(3*time.Minute, false)
	if report.Repeats != 0 || report.DeadLetters != 0 || report.Deliveries != steady+r.sent || report.Answers != report.Deliveries {
		t.Errorf("%d repeats, %d dead letters; %d records sent, %d there, %d answers", report.Repeats, report.DeadLetters, steady+r.sent, report.Deliveries, report.Answers)
	}
	t.Logf("%d transfers sent in %v, %d records handled, %d answers, %d events (%d out of order), none lost, %d repeated",
		steady, took.Round(time.Second), report.Deliveries, report.Answers, report.Events, report.OutOfOrder, report.Repeats)
	b.stop(r.f.handlers[0])
	b.stop(r.f.handlers[2])
}

// The broker that coordinates the group goes for good, and the handler's session with the next one ends as well: where it is to read on is
// asked of the new coordinator. The client would ask the one that it knew, for ever.
func TestRecoveryWithoutTheCoordinatorThatTheClientKnows(t *testing.T) {
	if !threeBrokers {
		t.Fatal("another broker must take its place: run it with OPENBANK_TEST_BROKERS=3")
	}
	b := setup(t)
	b.synchronize()
	h := b.start("DELIVERY=exactly-once")
	w := b.watch(creationAnswers)
	var n ids
	b.open(w, n.next())
	broker := b.coordinator()
	h.Signal(syscall.SIGSTOP)
	b.t.Cleanup(func() { h.Signal(syscall.SIGCONT) })
	b.bank.Kafka.Kill(broker)
	b.eventually("the handler's session is over", reasonableTimeout, func() error {
		client, err := b.kafka.Client("look") // one that knows no coordinator yet
		if err != nil {
			return err
		}
		defer client.Close()
		group, err := b.group(client)
		if err != nil {
			return err
		}
		if group.State != "Empty" {
			return fmt.Errorf("the group is %s", group.State)
		}
		return nil
	})
	h.Signal(syscall.SIGCONT)
	b.open(w, n.next())
	b.stop(h)
}
