package load

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
	"openbank/result"
)

// record encodes a transfer.
func (c *Client) record(ctx context.Context, transfer *bank.ConfirmMoneyTransfer) (*kgo.Record, error) {
	value, err := c.codec.Encode(ctx, c.Schemas.Transfers, transfer)
	if err != nil {
		return nil, err
	}
	return &kgo.Record{Topic: c.Topics.Transfers, Key: []byte(transfer.ID.String()), Value: value}, nil
}

// sending is commands on their way into the log.
type sending struct {
	client *kgo.Client
	failed atomic.Pointer[error]
}

func (s *sending) produce(ctx context.Context, r *kgo.Record) error {
	s.client.Produce(ctx, r, func(_ *kgo.Record, err error) {
		if err != nil {
			s.failed.CompareAndSwap(nil, &err)
		}
	})
	return s.err()
}

func (s *sending) err() error {
	if err := s.failed.Load(); err != nil {
		return fmt.Errorf("sending commands: %w", *err)
	}
	return nil
}

// land waits until all of it is in the log.
func (s *sending) land(ctx context.Context) error {
	if err := s.client.Flush(ctx); err != nil {
		return fmt.Errorf("sending commands: %w", err)
	}
	return s.err()
}

// Send sends the next n transfers, the first of them due at start and then rate a second, each when it is due whether the bank
// keeps up or not; what is late goes at once. With n below 0 it sends until ctx is done, which is no error then. It returns how
// late commands were handed to the Kafka client, without the first skip of them.
func (c *Client) Send(ctx context.Context, book *Book, mix Mix, skip, n int, rate float64, start time.Time) (late *result.Latency, err error) {
	schedule := &Timed{start: start, rate: rate}
	late = result.NewLatency()
	s := &sending{client: c.kafka}
	pace := newPace()
	defer pace.stop()
	for i := 0; i != n; i++ {
		due := schedule.due(i)
		// Early enough to be encoded when it is due, and not so early that a command is noted which is never sent.
		if err := pace.until(ctx, due.Add(-ahead)); err != nil {
			if n < 0 && ctx.Err() != nil {
				err = nil
			}
			return late, errors.Join(err, s.err())
		}
		book.mu.Lock()
		transfer := book.next(mix)
		book.mu.Unlock()
		// What is noted is sent, also when ctx ends here.
		r, err := c.record(context.WithoutCancel(ctx), transfer)
		if err != nil {
			return late, err
		}
		pace.nap(due)
		if i >= skip {
			_ = late.RecordValue(min(max(int64(time.Since(due)), int64(time.Microsecond)), int64(time.Hour))) // in its range
		}
		if err := s.produce(context.WithoutCancel(ctx), r); err != nil {
			return late, err
		}
	}
	return late, s.land(ctx)
}

// ahead is how long before it is due a command is encoded.
const ahead = 100 * time.Microsecond

// Burst sends the next n transfers as fast as they go into the log.
func (c *Client) Burst(ctx context.Context, book *Book, mix Mix, n int) error {
	s := &sending{client: c.kafka}
	return c.fill(ctx, book, mix, n, s, func(int) {})
}

func (c *Client) fill(ctx context.Context, book *Book, mix Mix, n int, s *sending, progress func(sent int)) error {
	for i := range n {
		book.mu.Lock()
		transfer := book.next(mix)
		book.mu.Unlock()
		r, err := c.record(ctx, transfer)
		if err == nil {
			err = s.produce(ctx, r)
		}
		if err != nil {
			return err
		}
		if i%1000 == 999 {
			progress(i + 1)
		}
	}
	return s.land(ctx)
}

// Backlog is commands that are in the log and that readers of committed records do not see yet.
type Backlog struct {
	client *kgo.Client
	open   bool
}

// backlogTimeout is how long the brokers keep a backlog's transaction open without hearing of it; their default maximum.
const backlogTimeout = 15 * time.Minute

// Backlog writes the next n transfers into the log within a transaction, so that a handler that reads committed records sees none
// of them until all are let go.
func (c *Client) Backlog(ctx context.Context, book *Book, mix Mix, n int, progress func(sent int)) (_ *Backlog, err error) {
	client, err := c.settings.Client(clientID, append(producing(),
		kgo.TransactionalID(fmt.Sprintf("%s-%x", clientID, book.magic)), kgo.TransactionTimeout(backlogTimeout),
		kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(50_000))...)
	if err != nil {
		return nil, err
	}
	b := &Backlog{client: client}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
		}
	}()
	if err := client.BeginTransaction(); err != nil {
		return nil, fmt.Errorf("beginning the backlog's transaction: %w", err)
	}
	b.open = true
	return b, c.fill(ctx, book, mix, n, &sending{client: client}, progress)
}

// Release lets all of it go, and returns the moment before it did.
func (b *Backlog) Release(ctx context.Context) (time.Time, error) {
	at := time.Now()
	if err := b.client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return at, fmt.Errorf("letting the backlog go: %w", err)
	}
	b.open = false
	return at, nil
}

// Close takes back what was not released.
func (b *Backlog) Close() error {
	var err error
	if b.open {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(b.client.AbortBufferedRecords(ctx), b.client.EndTransaction(ctx, kgo.TryAbort))
	}
	b.client.Close()
	return err
}
