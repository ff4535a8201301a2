package load

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
)

// Open opens count accounts through the bank and gives each of them its first deposit. Somebody must Follow, and hand what comes
// to the book. A bank that answers nothing for patience is an error.
func (c *Client) Open(ctx context.Context, book *Book, count int, patience time.Duration, progress func(open int)) error {
	s := &sending{client: c.kafka}
	for range count {
		var id bank.ID
		_, _ = rand.Read(id[:]) // never fails
		value, err := c.codec.Encode(ctx, c.Schemas.Creations, &bank.ConfirmAccountCreation{ID: id, Type: bank.Auto})
		if err != nil {
			return err
		}
		book.mu.Lock()
		book.opening[id] = true
		book.mu.Unlock()
		if err := s.produce(ctx, &kgo.Record{Topic: c.Topics.Creations, Key: []byte(id.String()), Value: value}); err != nil {
			return err
		}
	}
	if err := s.land(ctx); err != nil {
		return err
	}
	if err := book.Await(ctx, patience, func(State) { progress(book.Accounts()) }); err != nil {
		return fmt.Errorf("opening accounts: %w", err)
	}
	if have := book.Accounts(); have < count {
		return fmt.Errorf("opening accounts: %d of %d were opened: %v", have, count, book.State().Faults)
	}
	for i := range count {
		book.mu.Lock()
		transfer := book.note(cash, int32(i), funds, false)
		book.mu.Unlock()
		r, err := c.record(ctx, transfer)
		if err == nil {
			err = s.produce(ctx, r)
		}
		if err != nil {
			return err
		}
	}
	if err := s.land(ctx); err != nil {
		return err
	}
	if err := book.Await(ctx, patience, func(State) {}); err != nil {
		return fmt.Errorf("making the first deposits: %w", err)
	}
	return nil
}

// Accounts is how many there are.
func (b *Book) Accounts() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.accounts)
}

// Invent gives the book of an Echo accounts that no bank knows.
func (b *Book) Invent(count int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range count {
		iban, err := bank.NewIBAN(rand.Reader)
		if err != nil {
			return err
		}
		token, err := bank.NewToken(rand.Reader)
		if err != nil {
			return err
		}
		b.accounts = append(b.accounts, account{iban: iban, token: token})
	}
	return nil
}
