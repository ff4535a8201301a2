package store

import (
	"fmt"

	"github.com/lib/pq/oid"

	"openbank/bank"
)

// lock reads and locks the accounts that the batch may name. Names that are no account here lock nothing, and neither
// do unfit texts, which never go to Postgres: one would fail the whole batch.
func (t transaction) lock(b *batch) error {
	names := newArray(oid.T_text, 2*len(b.commands))
	seen := make(map[string]struct{}, 2*len(b.commands))
	add := func(name string) {
		if _, ok := seen[name]; !ok {
			seen[name] = struct{}{}
			names.text(name)
		}
	}
	for i := range b.commands {
		if c := b.commands[i].Transfer; c != nil && b.fit[i] {
			add(c.From)
			add(c.To)
		}
	}
	for i := range b.fresh {
		for _, iban := range b.fresh[i].ibans {
			add(iban)
		}
	}
	rows, err := t.query(t.prepared.lock, names.bytes())
	if err != nil {
		return fmt.Errorf("locking the accounts: %w", err)
	}
	b.locked = make([]lockedAccount, 0, len(seen))
	var c cells
	err = eachRow(rows, func() error {
		if err := c.scan(rows, 6); err != nil {
			return err
		}
		a := lockedAccount{id: int32(c.int(0)), before: c.int(5)}
		a.Account = bank.Account{
			IBAN: c.text(1), Token: c.text(2), // no type: nothing is decided by it
			Balance: c.int(3), Limit: c.int(4), Version: a.before,
		}
		b.locked = append(b.locked, a)
		return nil
	})
	if err != nil {
		return fmt.Errorf("locking the accounts: %w", err)
	}
	for i := range b.locked {
		b.accounts[b.locked[i].IBAN] = &b.locked[i].Account
	}
	return nil
}
