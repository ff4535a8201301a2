package handler_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
)

// load makes the records of a busy day at a bank, the same ones from the same seed: transfers of every kind, ids sent
// twice, ids with other content, logins, garbage.
type load struct {
	b        *bundle
	random   *rand.Rand
	n        ids
	accounts []bank.AccountCreationConfirmed
	opened   []bank.ConfirmAccountCreation
	sent     []bank.ConfirmMoneyTransfer
}

// open opens accounts and gives them something to spend.
func (l *load) open(w *watch, count int) {
	l.b.t.Helper()
	var records []*kgo.Record
	for range count {
		c := bank.ConfirmAccountCreation{ID: l.n.next(), Type: bank.Auto}
		l.opened = append(l.opened, c)
		records = append(records, l.b.command(&c))
	}
	l.b.send(records...)
	for _, c := range l.opened[len(l.opened)-count:] {
		l.accounts = append(l.accounts, decode[bank.AccountCreationConfirmed](l.b, w.wait(creationAnswers, c.ID.String(), 1)[0]))
	}
}

func (l *load) account() bank.AccountCreationConfirmed {
	return l.accounts[l.random.IntN(len(l.accounts))]
}

// next is the next record. 5% are commands sent before, 2% can't be handled.
func (l *load) next() *kgo.Record {
	switch p := l.random.IntN(1000); {
	case p < 20:
		garbage := make([]byte, 1+l.random.IntN(60))
		for i := range garbage {
			garbage[i] = byte(1 + l.random.IntN(255)) // no magic byte: its schema is never looked up
		}
		topic := transfers
		if p < 4 {
			topic = creations
		}
		return &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "garbage-%x", garbage[:1]), Value: garbage}
	case p < 60 && len(l.sent) > 0:
		c := l.sent[l.random.IntN(len(l.sent))]
		return l.b.command(&c)
	case p < 70:
		c := l.opened[l.random.IntN(len(l.opened))]
		return l.b.command(&c)
	case p < 75 && len(l.sent) > 0:
		c := l.sent[l.random.IntN(len(l.sent))]
		c.Amount++
		return l.b.command(&c)
	case p < 85:
		c := bank.ConfirmAccountCreation{ID: l.n.next(), Type: bank.Manual}
		l.opened = append(l.opened, c)
		return l.b.command(&c)
	}
	c := l.transfer()
	l.sent = append(l.sent, c)
	return l.b.command(&c)
}

func (l *load) transfer() bank.ConfirmMoneyTransfer {
	from, to := l.account(), l.account()
	c := bank.ConfirmMoneyTransfer{
		ID: l.n.next(), Token: from.Token, Amount: 1 + l.random.Int64N(20000), From: from.IBAN, To: to.IBAN,
		Description: fmt.Sprint("number ", len(l.sent)),
	}
	switch l.random.IntN(20) {
	case 0, 1, 2:
		c.From, c.Token, c.Amount = bank.CompanyIBAN, bank.CompanyToken, 100000
	case 3, 4:
		c.From, c.Token = bank.Cash, ""
	case 5, 6, 7:
		c.To = "Albert Heijn BV"
	case 8:
		c.Token = "00000000000000000001"
	case 9:
		c.Amount = -c.Amount
	case 10:
		c.Amount = 1 << 40
	}
	return c
}

// fleet is a number of handlers that share the work.
type fleet struct {
	b        *bundle
	env      []string
	handlers []*handler
}

func (b *bundle) fleet(size int, env ...string) *fleet {
	f := &fleet{b: b, env: env}
	for range size {
		f.handlers = append(f.handlers, b.start(env...))
	}
	return f
}

func (f *fleet) stop() {
	for _, h := range f.handlers {
		f.b.stop(h)
	}
}

// disturb replaces one handler: by an orderly stop, by a kill, or so that old and new overlap.
func (f *fleet) disturb(how string, which int) {
	f.b.t.Helper()
	old := f.handlers[which]
	switch how {
	case "SIGTERM":
		f.b.stop(old)
		f.handlers[which] = f.b.start(f.env...)
	case "SIGKILL":
		old.Kill()
		f.handlers[which] = f.b.start(f.env...)
	case "overlap":
		f.handlers[which] = f.b.start(f.env...)
		f.b.eventually("the new handler has joined", reasonableTimeout, f.handlers[which].says("partitions assigned"))
		f.b.stop(old)
	}
}

// The whole way on real servers, under duplicates, garbage and handlers that come, go, die and overlap. The audit's rules
// are the promise: one outcome for each id, equal answers, every delivery answered, a replay that agrees with every answer,
// versions without gaps, money conserved.
func TestNothingIsLostDoubledOrContradictedWhileHandlersComeAndGo(t *testing.T) {
	t.Parallel()
	for delivery, repeats := range map[string]bool{"exactly-once": false, "at-least-once": true} {
		t.Run(delivery, func(t *testing.T) {
			t.Parallel()
			comeAndGo(t, delivery, repeats)
		})
	}
}

func comeAndGo(t *testing.T, delivery string, repeats bool) {
	const commands, seed = 50_000, 20191
	b := setup(t)
	b.synchronize()
	f := b.fleet(3, "DELIVERY="+delivery, "KAFKA_MAX_POLL_INTERVAL=26s") // bounds a rebalance
	w := b.watch(creationAnswers, transferAnswers)
	l := &load{b: b, random: rand.New(rand.NewPCG(seed, 1))}
	l.open(w, 300)

	var disturbances []string
	disturbances = append(disturbances, slices.Repeat([]string{"SIGTERM", "SIGKILL"}, 10)...)
	disturbances = append(disturbances, slices.Repeat([]string{"overlap"}, 5)...)
	random := rand.New(rand.NewPCG(seed, 2))
	random.Shuffle(len(disturbances), func(i, j int) { disturbances[i], disturbances[j] = disturbances[j], disturbances[i] })

	share := commands / len(disturbances)
	for i, how := range disturbances {
		// A disturbance comes when what was sent before is well under way and this share waits.
		answered := len(w.of(creationAnswers, "")) + len(w.of(transferAnswers, ""))
		records := make([]*kgo.Record, share)
		for j := range records {
			records[j] = l.next()
		}
		b.send(records...)
		b.eventually(fmt.Sprintf("work goes on before disturbance %d, %s", i, how), 2*reasonableTimeout, func() error {
			if now := len(w.of(creationAnswers, "")) + len(w.of(transferAnswers, "")); now < answered+share/4 {
				return fmt.Errorf("%d answers", now)
			}
			return nil
		})
		f.disturb(how, random.IntN(len(f.handlers)))
	}
	report := b.answered(4*time.Minute, repeats)
	if report.Deliveries != share*len(disturbances)+300 {
		t.Errorf("%d records were read of %d sent", report.Deliveries, share*len(disturbances)+300)
	}
	t.Logf("seed %d: %d deliveries, %d commands, %d duplicates, %d answers, %d events (%d out of order), %d dead letters, %d repeats",
		seed, report.Deliveries, report.Commands, report.Duplicates, report.Answers, report.Events, report.OutOfOrder, report.DeadLetters, report.Repeats)
	f.stop()
}

// server is what can be taken away.
type server interface {
	Stop(context.Context) error
	Start(context.Context) error
}

// Each server is taken away under load and given back: nothing is lost, nothing becomes a dead letter. Exactly once, it is for longer than a
// transaction may last, and at least once for longer than a session in the group.
func TestServersThatGoAwayAreWaitedFor(t *testing.T) {
	t.Parallel()
	for name, pick := range map[string]func(*bundle) server{
		"Kafka":    func(b *bundle) server { return b.bank.Kafka },
		"registry": func(b *bundle) server { return b.bank.Registry },
		"Postgres": func(b *bundle) server { return b.bank.Postgres },
	} {
		for delivery, away := range map[string]time.Duration{"exactly-once": 30 * time.Second, "at-least-once": 10 * time.Second} {
			t.Run(name+", "+delivery, func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				b.synchronize()
				b.goesAway(pick(b), away, delivery)
			})
		}
	}
}

func (b *bundle) goesAway(s server, away time.Duration, delivery string) {
	b.t.Helper()
	const perSecond = 50
	// A schema that is refreshed each second makes the registry's absence felt.
	f := b.fleet(2, "REFRESH_SCHEMAS=1s", "DELIVERY="+delivery)
	w := b.watch(creationAnswers, transferAnswers)
	l := &load{b: b, random: rand.New(rand.NewPCG(7, 7))}
	l.open(w, 20)

	failed := make(chan error, 10000)
	sent := 20
	produce := func(d time.Duration) {
		tick := time.NewTicker(time.Second / perSecond)
		defer tick.Stop()
		for end := time.After(d); ; {
			select {
			case <-end:
				return
			case <-tick.C:
				c := l.transfer()
				sent++
				b.client.Produce(context.WithoutCancel(b.t.Context()), b.command(&c), func(_ *kgo.Record, err error) {
					if err != nil {
						failed <- err
					}
				})
			}
		}
	}
	produce(2 * time.Second)
	if err := s.Stop(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	produce(away)
	if err := s.Start(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	produce(2 * time.Second)
	if err := b.client.Flush(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	select {
	case err := <-failed:
		b.t.Fatal(err)
	default:
	}
	report := b.answered(2*reasonableTimeout, delivery == "at-least-once")
	if report.DeadLetters > 0 || report.Deliveries != sent {
		b.t.Errorf("%d dead letters; %d records of %d", report.DeadLetters, report.Deliveries, sent)
	}
	f.stop()
}

// Two signals to a handler under load: the first one stops it in order, what is in flight is answered.
func TestAStopUnderLoadLeavesNothingHalfDone(t *testing.T) {
	t.Parallel()
	for _, delivery := range []string{"exactly-once", "at-least-once"} {
		t.Run(delivery, func(t *testing.T) {
			t.Parallel()
			stopUnderLoad(t, delivery)
		})
	}
}

func stopUnderLoad(t *testing.T, delivery string) {
	t.Helper()
	env := []string{"DELIVERY=" + delivery, "STOP_TIMEOUT=25s"} // a machine that does other things has what is in flight finished, too
	b := setup(t)
	b.synchronize()
	h := b.start(env...)
	w := b.watch(creationAnswers, transferAnswers)
	l := &load{b: b, random: rand.New(rand.NewPCG(3, 3))}
	l.open(w, 50)
	for range 5 {
		records := make([]*kgo.Record, 2000)
		for i := range records {
			records[i] = l.next()
		}
		before := len(w.of(transferAnswers, ""))
		b.send(records...)
		b.eventually("work goes on", reasonableTimeout, func() error {
			if now := len(w.of(transferAnswers, "")); now < before+100 {
				return fmt.Errorf("%d answers", now)
			}
			return nil
		})
		h.Signal(syscall.SIGINT)
		b.stop(h)
		h = b.start(env...)
	}
	// A clean stop repeats nothing: that is what it is for.
	if report := b.answered(2*reasonableTimeout, false); report.Repeats != 0 {
		t.Errorf("%d repeats after clean stops, see %s", report.Repeats, filepath.Base(h.log))
	}
	b.stop(h)
}

// More waits than the queue may hold: the partitions are paused, and everything is answered in the end, once and, since there is
// one handler, in order.
func TestABacklogBeyondTheQueuePausesThePartitions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	h := b.start("MAX_BATCH=5")
	w := b.watch(creationAnswers, transferAnswers)
	l := &load{b: b, random: rand.New(rand.NewPCG(4, 4))}
	l.open(w, 10)
	first := make([]*kgo.Record, 20)
	for i := range first {
		first[i] = l.next()
	}
	b.send(first...)
	b.eventually("the lane of transfers has begun, for which it asks Postgres", reasonableTimeout, func() error {
		if len(w.of(transferAnswers, "")) == 0 {
			return errors.New("no answer")
		}
		return nil
	})
	if err := b.bank.Postgres.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	records := make([]*kgo.Record, 3000)
	for i := range records {
		records[i] = l.next()
	}
	b.send(records...)
	b.eventually("the lanes pause", reasonableTimeout, h.says("the queue is full"))
	if err := b.bank.Postgres.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	sent := 10 + len(first) + len(records)
	if report := b.answered(2*reasonableTimeout, false); report.Deliveries != sent || report.OutOfOrder != 0 {
		t.Errorf("%d records were handled of %d, %d events are out of order", report.Deliveries, sent, report.OutOfOrder)
	}
	b.stop(h)
}
