package store

import "openbank/bank"

// names are those of the accounts that the batch may change, for lockSQL. Names that are no account here lock nothing, and neither do
// unfit texts, which never go to Postgres: one would fail the whole batch.
func (b *batch) names() *literal {
	names := new(literal)
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
	return names
}

// lockedRow takes a row of lockSQL.
func (b *batch) lockedRow(c *cells) error {
	b.locked = append(b.locked, lockedAccount{id: int32(c.int(0)), before: c.int(5), Account: bank.Account{
		IBAN: c.text(1), Token: c.text(2), // no type: nothing is decided by it
		Balance: c.int(3), Limit: c.int(4), Version: c.int(5),
	}})
	a := &b.locked[len(b.locked)-1].Account
	b.accounts[a.IBAN] = a
	return nil
}
