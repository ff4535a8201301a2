package store

import (
	"fmt"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq/oid"

	"openbank/bank"
)

// lookUp reads the rows of the ids that were handled before, and draws the block of numbers. Both only mean something
// while the accounts are locked: what another session did to them is committed and visible now, and what it will do
// gets higher numbers.
func (t transaction) lookUp(b *batch) error {
	transfers, creations := newArray(oid.T_uuid, len(b.commands)), newArray(oid.T_uuid, len(b.fresh))
	for i := range b.commands {
		if c := b.commands[i].Transfer; c != nil {
			transfers.uuid(c.ID)
		} else {
			creations.uuid(b.commands[i].Creation.ID)
		}
	}
	if transfers.n > 0 {
		if err := t.lookUpTransfers(b, transfers.bytes()); err != nil {
			return fmt.Errorf("looking up the transfers: %w", err)
		}
	}
	if creations.n > 0 {
		if err := t.lookUpCreations(b, creations.bytes()); err != nil {
			return fmt.Errorf("looking up the account creations: %w", err)
		}
	}
	return nil
}

func (t transaction) lookUpTransfers(b *batch, ids []byte) error {
	return t.lookUpRows(b, t.prepared.lookUpTransfers, ids, 15, func(id bank.ID, c *cells) {
		b.transfers[id] = &transfer{
			id: id, seq: c.int(2), origin: c.origin(3),
			printed: !c.null(6), print: c.int(6),
			hasTexts: !c.null(7), from: c.text(7), to: c.text(8), text: c.text(9), amount: c.int(10),
			outcome: bank.TransferOutcome{
				Reason: c.text(1),
				From:   bank.Side{Known: !c.null(12), Balance: c.int(11), Version: c.int(12)},
				To:     bank.Side{Known: !c.null(14), Balance: c.int(13), Version: c.int(14)},
			},
		}
	})
}

func (t transaction) lookUpCreations(b *batch, ids []byte) error {
	return t.lookUpRows(b, t.prepared.lookUpCreations, ids, 9, func(id bank.ID, c *cells) {
		b.creations[id] = &creation{
			id: id, seq: c.int(2), origin: c.origin(3),
			outcome: bank.CreationOutcome{Reason: c.text(1), IBAN: c.text(6), Token: c.text(7)},
			kind:    bank.AccountType(c.text(8)),
		}
	})
}

// lookUpRows runs one of the look-ups: the row without an id has the block of numbers, the others are handled commands.
func (t transaction) lookUpRows(b *batch, stmt *sqlx.Stmt, ids []byte, columns int, handled func(bank.ID, *cells)) error {
	rows, err := t.query(stmt, ids)
	if err != nil {
		return err
	}
	var c cells
	return eachRow(rows, func() error {
		if err := c.scan(rows, columns); err != nil {
			return err
		}
		if c.null(0) {
			b.seq = c.int(2)
			return nil
		}
		id, err := c.id(0)
		if err != nil {
			return err
		}
		handled(id, &c)
		return nil
	})
}
