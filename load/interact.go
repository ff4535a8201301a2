package load

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Interact is what a person at the bank does: a deposit on one account, or a transfer from it to the company, and a look at the
// account until its BalanceChanged is there. It returns how long that took, or false when timeout was over first. Somebody must
// Follow.
func (c *Client) Interact(ctx context.Context, book *Book, account int32, deposit bool, timeout time.Duration) (took time.Duration, seen bool, err error) {
	from, to := int32(cash), account
	if !deposit {
		from, to = account, company
	}
	event := make(chan time.Time, 1)
	book.mu.Lock()
	n := len(book.commands)
	transfer := book.note(from, to, interactAmount, false)
	book.waiting[n] = event
	book.mu.Unlock()
	defer func() {
		book.mu.Lock()
		delete(book.waiting, n)
		book.mu.Unlock()
	}()
	start := time.Now()
	r, err := c.record(ctx, transfer)
	if err != nil {
		return 0, false, err
	}
	sent := make(chan error, 1)
	c.kafka.Produce(ctx, r, func(_ *kgo.Record, err error) { sent <- err })
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		select {
		case err := <-sent:
			if err != nil {
				return 0, false, err
			}
			sent = nil
		case at := <-event:
			return at.Sub(start), true, nil
		case <-timer.C:
			return timeout, false, nil
		case <-ctx.Done():
			return 0, false, context.Cause(ctx)
		}
	}
}

// interactAmount is what goes to and fro, in cents.
const interactAmount = 1000
