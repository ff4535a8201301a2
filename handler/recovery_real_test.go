//go:build realkafka

package handler_test

import (
	"context"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
)

// steady sends transfers at a rate until it is stopped, each to the partition whose turn it is, and knows when each was sent.
type steady struct {
	b    *bundle
	sent sync.Map // of id to time
	stop context.CancelFunc
	done chan int
}

func (l *load) steady(perSecond int) *steady {
	ctx, stop := context.WithCancel(l.b.t.Context())
	s := &steady{b: l.b, stop: stop, done: make(chan int, 1)}
	client := l.b.manual()
	failed := make(chan error, 1)
	go func() {
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		n := 0
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-tick.C:
				c := l.transfer()
				r := l.b.command(&c)
				r.Partition = int32(n % 9)
				s.sent.Store(string(r.Key), place{time.Now(), r.Partition})
				n++
				client.Produce(context.WithoutCancel(ctx), r, func(_ *kgo.Record, err error) {
					if err != nil {
						select {
						case failed <- err:
						default:
						}
					}
				})
			}
		}
		if err := client.Flush(l.b.t.Context()); err != nil {
			l.b.t.Error(err)
		}
		select {
		case err := <-failed:
			l.b.t.Error(err)
		default:
		}
		s.done <- n
	}()
	return s
}

func (s *steady) end() int {
	s.stop()
	return <-s.done
}

// place is when a command was sent, and to which partition.
type place struct {
	at        time.Time
	partition int32
}

// arrivals notes when each answer could first be read, as a reader of committed records.
type arrivals struct {
	mu    sync.Mutex
	first map[string]time.Time
}

func (b *bundle) arrivals() *arrivals {
	b.t.Helper()
	client, err := b.kafka.Client("arrivals", kgo.ConsumeTopics(transferAnswers), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()), kgo.FetchMaxWait(50*time.Millisecond))
	if err != nil {
		b.t.Fatal(err)
	}
	a := &arrivals{first: map[string]time.Time{}}
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			fetched := client.PollFetches(ctx)
			now := time.Now()
			a.mu.Lock()
			fetched.EachRecord(func(r *kgo.Record) {
				if _, ok := a.first[string(r.Key)]; !ok {
					a.first[string(r.Key)] = now
				}
			})
			a.mu.Unlock()
		}
	}()
	b.t.Cleanup(func() {
		cancel()
		<-ended
		client.Close()
	})
	return a
}

// slowest is the longest that a command waited for its answer, of those that were sent in a time, by partition.
func (a *arrivals) slowest(s *steady, from, to time.Time) [9]time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	var longest [9]time.Duration
	s.sent.Range(func(key, value any) bool {
		sent := value.(place)
		if sent.at.Before(from) || sent.at.After(to) {
			return true
		}
		if at, ok := a.first[key.(string)]; ok {
			longest[sent.partition] = max(longest[sent.partition], at.Sub(sent.at))
		}
		return true
	})
	return longest
}

// How long the bank stands still when a handler, a broker or Postgres dies under load. What is asserted is that it recovers and that nothing is
// lost or doubled; the times are printed.
func TestTimesToRecover(t *testing.T) {
	const perSecond = 1000
	b := setup(t)
	b.synchronize()
	f := b.fleet(3, "DELIVERY=exactly-once", "LOG_LEVEL=info")
	w := b.watch(creationAnswers)
	l := &load{b: b, random: rand.New(rand.NewPCG(11, 11))}
	l.open(w, 100)
	for _, h := range f.handlers {
		b.eventually("it has partitions", reasonableTimeout, h.says("partitions assigned"))
	}
	a := b.arrivals()
	s := l.steady(perSecond)
	account := bank.ConfirmAccountCreation{ID: l.n.next(), Type: bank.Auto}
	b.send(b.command(&account))

	phase := func(what string, disturb func()) {
		t.Helper()
		begin := time.Now()
		disturb()
		mark := time.Now()
		probe := l.n.next()
		b.open(w, probe) // the other lane works too
		b.eventually(what+": all that was sent until now is answered", 2*reasonableTimeout, func() error { return s.answeredUntil(a, mark) })
		longest := a.slowest(s, begin.Add(-time.Second), mark)
		t.Logf("%s: the slowest answer by partition: %v", what, longest)
	}
	phase("undisturbed", func() { b.pass(3 * time.Second) })
	phase("a handler killed and started again", func() {
		f.handlers[0].Kill()
		f.handlers[0] = b.start(f.env...)
		b.pass(8 * time.Second)
	})
	phase("Postgres stopped at once and started again", func() {
		b.bank.Postgres.Kill()
		if err := b.bank.Postgres.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.pass(3 * time.Second)
	})
	if os.Getenv("OPENBANK_TEST_BROKERS") == "3" {
		phase("one of three brokers killed, and back after 10 s", func() {
			b.bank.Kafka.Kill(1)
			b.pass(10 * time.Second)
			if err := b.bank.Kafka.Restart(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			b.pass(3 * time.Second)
		})
	}
	phase("a handler killed and not replaced", func() {
		f.handlers[1].Kill()
		b.pass(15 * time.Second)
	})
	sent := s.end()
	report := b.answered(3*time.Minute, false)
	if report.Repeats != 0 || report.DeadLetters != 0 {
		t.Errorf("%d repeats, %d dead letters", report.Repeats, report.DeadLetters)
	}
	t.Logf("%d transfers sent, %d records handled, %d answers, %d events (%d out of order)", sent, report.Deliveries, report.Answers, report.Events, report.OutOfOrder)
	b.stop(f.handlers[0])
	b.stop(f.handlers[2])
}

// pass lets the load run on for a while.
func (b *bundle) pass(d time.Duration) {
	select {
	case <-time.After(d):
	case <-b.t.Context().Done():
	}
}

// answeredUntil says which command, sent before a moment, has no answer.
func (s *steady) answeredUntil(a *arrivals, mark time.Time) (err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.sent.Range(func(key, value any) bool {
		if sent := value.(place); sent.at.Before(mark) {
			if _, ok := a.first[key.(string)]; !ok {
				err = unanswered{key.(string), sent}
			}
		}
		return err == nil
	})
	return err
}

type unanswered struct {
	id   string
	sent place
}

func (u unanswered) Error() string {
	return u.id + ", sent at " + u.sent.at.Format(time.TimeOnly) + ", is not answered"
}
