//go:build realkafka

package handler_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// soon has a client ask at once who leads a partition now: what is measured is the bank, not its clients.
var soon = kgo.MetadataMinAge(100 * time.Millisecond)

// steady sends transfers at a rate until it is stopped, each to the partition whose turn it is, and knows when each was sent.
type steady struct {
	b    *bundle
	rate atomic.Int64 // commands a second
	sent sync.Map     // of id to sending
	stop context.CancelFunc
	done chan int
}

// sending is when a command was sent, and to which partition.
type sending struct {
	at        time.Time
	partition int32
}

func (l *load) steady(perSecond int64) *steady {
	ctx, stop := context.WithCancel(l.b.t.Context())
	s := &steady{b: l.b, stop: stop, done: make(chan int, 1)}
	s.rate.Store(perSecond)
	client := l.b.manual(kgo.MaxBufferedRecords(100000), soon) // what a broker that is away keeps up is still sent
	var mu sync.Mutex
	var failed error
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		n, due := 0, 0.0
		for last := time.Now(); ctx.Err() == nil; {
			now := time.Now()
			due += now.Sub(last).Seconds() * float64(s.rate.Load())
			for last = now; n < int(due); n++ {
				c := l.transfer()
				r := l.b.command(&c)
				r.Partition = int32(n % partitions)
				s.sent.Store(string(r.Key), sending{time.Now(), r.Partition})
				client.Produce(context.WithoutCancel(ctx), r, func(_ *kgo.Record, err error) {
					mu.Lock()
					defer mu.Unlock()
					failed = errors.Join(failed, err)
				})
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
		err := client.Flush(l.b.t.Context())
		mu.Lock()
		defer mu.Unlock()
		if err = errors.Join(err, failed); err != nil {
			l.b.t.Error(err)
		}
		s.done <- n
	}()
	return s
}

// end stops it and returns how many it sent.
func (s *steady) end() int {
	s.stop()
	return <-s.done
}

// answeredUntil says which command, sent before a moment, has no answer.
func (s *steady) answeredUntil(a *arrivals, mark time.Time) (err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.sent.Range(func(key, value any) bool {
		if sent := value.(sending); sent.at.Before(mark) {
			if _, ok := a.first[key.(string)]; !ok {
				err = fmt.Errorf("%s, sent to partition %d at %s, is not answered", key, sent.partition, sent.at.Format(time.TimeOnly))
			}
		}
		return err == nil
	})
	return err
}

// arrivals notes when each answer to a transfer could first be read, as a reader of committed records.
type arrivals struct {
	mu    sync.Mutex
	first map[string]time.Time
}

func (b *bundle) arrivals() *arrivals {
	b.t.Helper()
	client, err := b.kafka.Client("arrivals", kgo.ConsumeTopics(transferAnswers), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()), kgo.FetchMaxWait(50*time.Millisecond), soon)
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
func (a *arrivals) slowest(s *steady, from, to time.Time) (longest [partitions]time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.sent.Range(func(key, value any) bool {
		sent := value.(sending)
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

// silence is the longest time between two answers, whichever they were to, of a span of time.
func (a *arrivals) silence(from, to time.Time) (longest time.Duration) {
	a.mu.Lock()
	moments := []time.Time{from, to}
	for _, at := range a.first {
		if at.After(from) && at.Before(to) {
			moments = append(moments, at)
		}
	}
	a.mu.Unlock()
	slices.SortFunc(moments, time.Time.Compare)
	for i := range moments[1:] {
		longest = max(longest, moments[i+1].Sub(moments[i]))
	}
	return longest
}
