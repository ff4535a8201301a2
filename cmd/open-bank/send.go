package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// send produces records as fast as the brokers take them, or at rate a second when that isn't 0, and returns when all of them
// are in the log. At a rate every record has a time that it is due, whether the bank keeps up or not, and its latency counts from
// then; a record that is late is sent at once.
func (d *demo) send(ctx context.Context, records []sending, rate int) error {
	var mu sync.Mutex
	var failed error
	failure := func() error {
		mu.Lock()
		defer mu.Unlock()
		return failed
	}
	begin := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i, s := range records {
		if rate > 0 {
			due := begin.Add(time.Duration(i) * time.Second / time.Duration(rate))
			if wait := time.Until(due); wait > 0 {
				timer.Reset(wait)
				select {
				case <-timer.C:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			if !s.isLetter && !s.again {
				d.watch.expect(s.id, due)
			}
		}
		d.client.kafka.Produce(ctx, &kgo.Record{Topic: s.topic, Key: s.key, Value: s.value}, func(_ *kgo.Record, err error) {
			if err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
			}
		})
		if err := failure(); err != nil {
			break
		}
	}
	if err := d.client.kafka.Flush(ctx); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	if err := failure(); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	return nil
}

// count adds what was sent to what must come back.
func (d *demo) count(records []sending) {
	for _, s := range records {
		d.result.Sent++
		if s.again {
			d.result.SentAgain++
		}
		switch {
		case s.isLetter:
			d.letters++
			d.result.SentUnfit++
		default:
			d.answers++
			if !s.again {
				d.expected[s.id] = s.expected
			}
		}
	}
}
