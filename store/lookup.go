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

// rowOf takes a row of a look-up: that of a handled command, or the one without an id, which has the number that the batch counts from.
func rowOf(handled func(*batch, bank.ID, *cells)) func(*batch, *cells) error {
	return func(b *batch, c *cells) error {
		if c.null(0) {
			b.seq = c.int(2)
			return nil
		}
		id, err := c.id(0)
		if err != nil {
			return err
		}
		handled(b, id, c)
		return nil
	}
}

// handledTransfer takes a row of lookUpTransfersSQL.
func (b *batch) handledTransfer(id bank.ID, c *cells) {
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
}

// handledCreation takes a row of lookUpCreationsSQL.
func (b *batch) handledCreation(id bank.ID, c *cells) {
	b.creations[id] = &creation{
		id: id, seq: c.int(2), origin: c.origin(3),
		outcome: bank.CreationOutcome{Reason: c.text(1), IBAN: c.text(6), Token: c.text(7)},
		kind:    bank.AccountType(c.text(8)),
	}
}
