package audit

import (
	"fmt"

	"openbank/bank"
)

// checkReplay runs the commands through the bank's rules, one after the other in the order of execution that the database
// gives, from the openings on, and compares what comes of them with the rows and with what was published. A confirmed command whose
// record is deleted is replayed as its row has it.
func (c *checker) checkReplay() {
	accounts := c.openings()
	var last int64
	for i := range c.evidence.Outcomes {
		outcome := &c.evidence.Outcomes[i]
		if outcome.Seq == 0 {
			continue // from before
		}
		if outcome.Seq == last {
			c.report.violate(ReplayAgrees, about{key: outcome.Command}, "its place in the order of execution, %d, is taken", last)
		}
		last = outcome.Seq
		var executed *Delivery // when it was sent matters, and what type of account it asks for: another one of the id may ask for another
		var command *bank.ConfirmMoneyTransfer
		if h := c.histories[outcome.Command]; h != nil && len(h.deliveries) > 0 {
			executed, command = h.executed(), h.deliveries[0].Transfer // all have the same content
		}
		if outcome.Command.Kind == Creation {
			c.replayCreation(accounts, executed, outcome)
		} else {
			c.replayTransfer(accounts, command, executed, outcome)
		}
	}
	for iban, account := range accounts {
		row, ok := c.accounts[iban]
		switch {
		case !ok:
			c.report.violate(ReplayAgrees, about{iban: iban}, "it was opened and has no row")
		case row.Balance != account.Balance || row.Version != account.Version || row.Token != account.Token || row.Type != account.Type || row.Limit != account.Limit:
			c.report.violate(ReplayAgrees, about{iban: iban, version: account.Version}, "replayed it has %d at version %d, its row has %d at version %d (or another token, type or limit)",
				account.Balance, account.Version, row.Balance, row.Version)
		}
	}
}

// replayTransfer carries a transfer out again. command is nil when all its records are deleted, sent when the one is that was executed.
func (c *checker) replayTransfer(accounts bank.Accounts, command *bank.ConfirmMoneyTransfer, sent *Delivery, outcome *Outcome) {
	subject := about{key: outcome.Command}
	switch {
	case command != nil:
		c.checkRow(subject, command, outcome)
	case outcome.Reason == "" && outcome.HasContent:
		command = &bank.ConfirmMoneyTransfer{
			ID: outcome.Command.ID, Amount: outcome.Amount, From: outcome.Debtor, To: outcome.Creditor, Description: outcome.Text,
		}
		if account := accounts[command.From]; account != nil {
			command.Token = account.Token // which the row doesn't keep
		}
	default:
		c.checkRefused(accounts, outcome)
		return // what was decided depends on what is gone
	}
	result := c.decide(accounts, command, sent, outcome)
	if command.TextReason() != "" {
		result.From, result.To = bank.Side{}, bank.Side{} // its row has neither the parties nor their accounts
	}
	if result.Reason != outcome.Reason {
		c.report.violate(ReplayAgrees, subject, "replayed: %s; recorded: %s", verdict(result.Reason), verdict(outcome.Reason))
	} else {
		c.checkSides(subject, result.From, result.To, outcome)
	}
	if result.Reason != "" {
		return
	}
	c.flow(command.Amount, result)
	c.explain(command.AppendEvents(nil, result.From, result.To), outcome, sent)
}

// checkSides sees to it that a row has the parties' accounts as they were after the command, which a rejected one has left as they were.
func (c *checker) checkSides(subject about, from, to bank.Side, o *Outcome) {
	if from != o.From || to != o.To {
		c.report.violate(ReplayAgrees, subject, "replayed, it leaves its debtor %s and its creditor %s; recorded: %s and %s",
			sideText(from), sideText(to), sideText(o.From), sideText(o.To))
	}
}

// checkRefused checks of a rejected transfer whose record is deleted what its row alone tells: who the parties were, and their accounts.
func (c *checker) checkRefused(accounts bank.Accounts, o *Outcome) {
	if o.Reason == "" {
		return // a confirmed one that has lost what it asked for
	}
	var seen bank.TransferOutcome
	if o.HasContent {
		command := &bank.ConfirmMoneyTransfer{From: o.Debtor, To: o.Creditor} // of no amount: it changes nothing
		seen = c.decide(accounts, command, nil, o)
	}
	c.checkSides(about{key: o.Command}, seen.From, seen.To, o)
}

// checkRow sees to it that a row repeats its command.
func (c *checker) checkRow(subject about, command *bank.ConfirmMoneyTransfer, o *Outcome) {
	if !o.HasContent && o.Seq > 0 && command.TextReason() == "" {
		c.report.violate(OneOutcome, subject, "its row has lost what it asked for")
	}
	if o.HasContent && (o.Debtor != command.From || o.Creditor != command.To || o.Text != command.Description || o.Amount != command.Amount) {
		c.report.violate(OneOutcome, subject, "it asked for %d cents from %q to %q for %q, and its row has %d cents from %q to %q for %q",
			command.Amount, command.From, command.To, command.Description, o.Amount, o.Debtor, o.Creditor, o.Text)
	}
}

// flow counts money that came in from outside the bank, or went out.
func (c *checker) flow(amount int64, result bank.TransferOutcome) {
	if !result.From.Known {
		c.report.Flows += amount
	}
	if !result.To.Known {
		c.report.Flows -= amount
	}
}

// openings is every account that no replayed creation opens, as it was when the handler took over. It must have been there then.
func (c *checker) openings() bank.Accounts {
	created := map[string]bool{}
	for i := range c.evidence.Outcomes {
		outcome := &c.evidence.Outcomes[i]
		if outcome.Seq > 0 && outcome.Opened != nil && outcome.Reason == "" {
			created[outcome.Opened.IBAN] = true
		}
	}
	accounts := bank.Accounts{}
	for _, row := range c.evidence.Accounts {
		if created[row.IBAN] {
			continue
		}
		if !row.Before {
			c.report.violate(Made, about{iban: row.IBAN, version: row.Version}, "it has a row and an opening of %d, and neither did a command make it nor was it there before", row.Opening)
		}
		account := row.Account
		account.Balance, account.Version = row.Opening, row.OpeningVersion
		accounts[row.IBAN] = &account
	}
	return accounts
}

func (c *checker) replayCreation(accounts bank.Accounts, sent *Delivery, outcome *Outcome) {
	if outcome.Reason != "" {
		return // no free IBAN was drawn: chance, which is not replayed
	}
	opened := outcome.Opened.value()
	command := &bank.ConfirmAccountCreation{ID: outcome.Command.ID, Type: opened.Type}
	if sent != nil {
		command = sent.Creation
	}
	if result := accounts.Create(command, []string{opened.IBAN}, opened.Token); result.Reason != "" {
		c.report.violate(ReplayAgrees, about{key: outcome.Command}, "it opened %s, which was an account already", opened.IBAN)
	}
}

// decide carries a transfer out. An account that was being opened at the time, by another handler, is left out when the record of
// the transfer doesn't know it: such a look takes no lock, so the order of execution says nothing about the two. The sender can't
// have known the account either, or its answer would be older than the transfer.
func (c *checker) decide(accounts bank.Accounts, command *bank.ConfirmMoneyTransfer, sent *Delivery, recorded *Outcome) bank.TransferOutcome {
	for _, party := range []struct {
		iban  string
		known bool
	}{{command.From, recorded.From.Known}, {command.To, recorded.To.Known}} {
		account, ok := accounts[party.iban]
		if ok && !party.known && account.Version == 0 && (sent == nil || sent.Time < c.opened[party.iban]) {
			delete(accounts, party.iban)
			defer func() { accounts[party.iban] = account }()
		}
	}
	return accounts.Transfer(command)
}

// findOpened finds when each account was first told of. An answer is no younger than those that follow it in its partition, whatever the clock said
// of the handler that wrote it.
func (c *checker) findOpened() {
	least := map[Partition]Time{}
	for i := range c.evidence.Answers {
		answer := &c.evidence.Answers[len(c.evidence.Answers)-1-i]
		if answer.Command.Kind != Creation {
			continue
		}
		p := answer.Place.partition()
		if next, ok := least[p]; !ok || answer.Time < next {
			least[p] = answer.Time
		}
		if answer.Opened == nil {
			continue
		}
		if first, ok := c.opened[answer.Opened.IBAN]; !ok || least[p] < first {
			c.opened[answer.Opened.IBAN] = least[p]
		}
	}
}

func verdict(reason string) string {
	if reason == "" {
		return "confirmed"
	}
	return "rejected (" + reason + ")"
}

func sideText(side bank.Side) string {
	if !side.Known {
		return "without an account"
	}
	return fmt.Sprintf("%d cents at version %d", side.Balance, side.Version)
}

func eventText(event bank.BalanceChanged) string {
	return fmt.Sprintf("%d cents by %d, with %q for %q", event.NewBalance, event.ChangedBy, event.FromTo, event.Description)
}
