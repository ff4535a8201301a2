package store

import (
	"slices"

	"openbank/bank"
)

// decide goes through the commands in order of arrival. A command whose id has a row, from before or from earlier in
// the batch, is answered from it; the others are decided against the accounts as the commands before them left them.
func (b *batch) decide() {
	fresh := b.fresh
	b.transferSlab = make([]transfer, 0, len(b.commands)) // never grows: rows are pointed to
	b.eventSlab = make([]bank.BalanceChanged, 0, 2*len(b.commands))
	for i := range b.commands {
		c := &b.commands[i]
		at := origin{topic: b.topics[i], partition: c.Origin.Partition, offset: c.Origin.Offset}
		seq := b.seq + int64(i)
		if c.Transfer != nil {
			b.outcomes[i] = b.transfer(c, at, b.unnamed[i], seq, b.fit[i])
			continue
		}
		b.outcomes[i] = b.create(c, at, b.unnamed[i], seq, &fresh[0])
		fresh = fresh[1:]
	}
}

func (b *batch) transfer(c *Command, at origin, unnamed int32, seq int64, fit bool) Outcome {
	cmd := c.Transfer
	print := fingerprint(cmd)
	row, handled := b.transfers[cmd.ID]
	if handled {
		if row.printed && row.print != print {
			return Outcome{Disposition: DeadLetter, Reason: ReasonIDReused}
		}
	} else {
		b.transferSlab = append(b.transferSlab, transfer{
			id: cmd.ID, seq: seq, origin: at, printed: true, print: print,
			amount: cmd.Amount, outcome: b.accounts.Transfer(cmd),
		})
		row = &b.transferSlab[len(b.transferSlab)-1]
		row.origin.late = c.Published && row.outcome.Reason == ""
		if fit {
			row.hasTexts, row.from, row.to, row.text = true, cmd.From, cmd.To, cmd.Description
		} else {
			row.outcome.From, row.outcome.To = bank.Side{}, bank.Side{} // its accounts were not read, but perhaps for another command
		}
		b.transfers[cmd.ID] = row
		b.newTransfers = append(b.newTransfers, row)
	}
	out := Outcome{Disposition: b.disposition(handled, row.seq, row.origin, at, unnamed, c.Published), Seq: row.seq, Reason: row.outcome.Reason}
	if out.Reason == "" && out.Disposition != Duplicate {
		// From the row, not from the command at hand: the row is what happened.
		happened := bank.ConfirmMoneyTransfer{From: row.from, To: row.to, Amount: row.amount, Description: row.text}
		begin := len(b.eventSlab)
		b.eventSlab = happened.AppendEvents(b.eventSlab, row.outcome.From, row.outcome.To)
		out.Events = slices.Clip(b.eventSlab[begin:])
	}
	return out
}

func (b *batch) create(c *Command, at origin, unnamed int32, seq int64, drawn *identity) Outcome {
	cmd := c.Creation
	row, handled := b.creations[cmd.ID]
	if !handled {
		row = &creation{
			id: cmd.ID, seq: seq, origin: at, kind: cmd.Type,
			outcome: b.accounts.Create(cmd, drawn.ibans[:], drawn.token),
		}
		b.creations[cmd.ID] = row
		b.newCreations = append(b.newCreations, row)
	}
	out := Outcome{Disposition: b.disposition(handled, row.seq, row.origin, at, unnamed, c.Published), Seq: row.seq, Reason: row.outcome.Reason}
	if out.Reason == "" {
		out.IBAN, out.Token, out.Type = row.outcome.IBAN, row.outcome.Token, row.kind
		if !out.Type.Valid() { // an older handler's row, which would have no answer: there is no such symbol
			out.Type = cmd.Type
		}
	}
	return out
}

// disposition tells a record that is delivered again before its events were surely published from a second record with
// the same id, which gets the answer alone. Of a row that is late nobody knows whether they were. A row of unknown origin, or from before the
// database was taken over, is always a duplicate's.
func (b *batch) disposition(handled bool, seq int64, stored, at origin, unnamed int32, published bool) Disposition {
	switch {
	case !handled:
		return Executed
	case at.topic != 0 && (stored.is(at) || unnamed != 0 && stored.is(at.in(unnamed))) && seq > b.since && (!published || stored.late):
		return Unfinished
	}
	return Duplicate
}
