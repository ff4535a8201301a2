package store

import "openbank/bank"

// ids are those of the batch's commands, for lookUpTransfersSQL and lookUpCreationsSQL.
func (b *batch) ids() (transfers, creations *literal) {
	transfers, creations = new(literal), new(literal)
	for i := range b.commands {
		if c := b.commands[i].Transfer; c != nil {
			transfers.uuid(c.ID)
		} else {
			creations.uuid(b.commands[i].Creation.ID)
		}
	}
	return transfers, creations
}

// transferRow takes a row of lookUpTransfersSQL: a handled one, or the block of numbers.
func (b *batch) transferRow(c *cells) error {
	if b.drawn(c) {
		return nil
	}
	id, err := c.id(0)
	if err != nil {
		return err
	}
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
	return nil
}

// creationRow takes a row of lookUpCreationsSQL: a handled one, or the block of numbers.
func (b *batch) creationRow(c *cells) error {
	if b.drawn(c) {
		return nil
	}
	id, err := c.id(0)
	if err != nil {
		return err
	}
	b.creations[id] = &creation{
		id: id, seq: c.int(2), origin: c.origin(3),
		outcome: bank.CreationOutcome{Reason: c.text(1), IBAN: c.text(6), Token: c.text(7)},
		kind:    bank.AccountType(c.text(8)),
	}
	return nil
}

// drawn takes the one row of a look-up that has no id but the number that the batch counts from.
func (b *batch) drawn(c *cells) bool {
	if !c.null(0) {
		return false
	}
	b.seq = c.int(2)
	return true
}
