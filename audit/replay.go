package audit

import (
	"fmt"

	"openbank/bank"
)

// checkReplay runs the commands through the bank's rules, one after the other in the order of execution that the database
// gives, from the openings on. events are those that were published.
func (c *checker) checkReplay(events map[eventKey]Event) {
	accounts := c.openings()
	expected := map[eventKey]bank.BalanceChanged{}
	var last int64
	for i := range c.evidence.Outcomes {
		outcome := &c.evidence.Outcomes[i]
		h := c.histories[outcome.Command]
		if outcome.Seq == 0 || h == nil || len(h.deliveries) == 0 {
			continue // from before, or reported already
		}
		if outcome.Seq == last {
			c.report.violate(ReplayAgrees, outcome.Command, "its place in the order of execution, %d, is taken", last)
		}
		last = outcome.Seq
		if command := h.deliveries[0].Creation; command != nil {
			c.replayCreation(accounts, command, outcome)
			continue
		}
		command := h.deliveries[0].Transfer
		result := c.decide(accounts, h.deliveries[0], outcome)
		if result.Reason != outcome.Reason {
			c.report.violate(ReplayAgrees, outcome.Command, "replayed: %s; recorded: %s", verdict(result.Reason), verdict(outcome.Reason))
		}
		if result.Reason != "" {
			continue
		}
		if result.From != outcome.From || result.To != outcome.To {
			c.report.violate(ReplayAgrees, outcome.Command, "replayed, it leaves its debtor %s and its creditor %s; recorded: %s and %s",
				sideText(result.From), sideText(result.To), sideText(outcome.From), sideText(outcome.To))
		}
		c.flow(command.Amount, result)
		for _, event := range command.AppendEvents(nil, result.From, result.To) {
			expected[eventKey{event.IBAN, event.Version}] = event
		}
	}
	for key, event := range expected {
		published, ok := events[key]
		switch {
		case !ok:
			c.report.violate(EventsReplayed, named(key.iban), "version %d was never published", key.version)
		case published.Event != event:
			c.report.violate(EventsReplayed, named(key.iban), "version %d was published as %s, replayed it is %s", key.version, eventText(published.Event), eventText(event))
		}
	}
	for key := range events {
		if account := c.accounts[key.iban]; account != nil && key.version <= account.OpeningVersion {
			continue // from before
		}
		if _, ok := expected[key]; !ok {
			c.report.violate(EventsReplayed, named(key.iban), "version %d was published, replayed there is none", key.version)
		}
	}
	for iban, account := range accounts {
		row, ok := c.accounts[iban]
		switch {
		case !ok:
			c.report.violate(ReplayAgrees, named(iban), "it was opened and has no row")
		case row.Balance != account.Balance || row.Version != account.Version || row.Token != account.Token:
			c.report.violate(ReplayAgrees, named(iban), "replayed it has %d at version %d, its row has %d at version %d (or another token)", account.Balance, account.Version, row.Balance, row.Version)
		}
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

// openings is every account that no replayed creation opens, as it was when the handler took over.
func (c *checker) openings() bank.Accounts {
	created := map[string]bool{}
	for _, outcome := range c.evidence.Outcomes {
		if outcome.Seq > 0 && outcome.IBAN != "" {
			created[outcome.IBAN] = true
		}
	}
	accounts := bank.Accounts{}
	for _, row := range c.evidence.Accounts {
		if created[row.IBAN] {
			continue
		}
		account := row.Account
		account.Balance, account.Version = row.Opening, row.OpeningVersion
		accounts[row.IBAN] = &account
	}
	return accounts
}

func (c *checker) replayCreation(accounts bank.Accounts, command *bank.ConfirmAccountCreation, outcome *Outcome) {
	if outcome.Reason != "" {
		return // no free IBAN was drawn: chance, which is not replayed
	}
	if result := accounts.Create(command, []string{outcome.IBAN}, outcome.Token); result.Reason != "" {
		c.report.violate(ReplayAgrees, outcome.Command, "it opened %s, which was an account already", outcome.IBAN)
	}
}

// decide carries a transfer out. An account that was being opened at the time, by another handler, is left out when the record of
// the transfer doesn't know it: such a look takes no lock, so the order of execution says nothing about the two. The sender can't
// have known the account either, or its answer would be older than the transfer.
func (c *checker) decide(accounts bank.Accounts, delivery *Delivery, recorded *Outcome) bank.TransferOutcome {
	command := delivery.Transfer
	for _, party := range []struct {
		iban  string
		known bool
	}{{command.From, recorded.From.Known}, {command.To, recorded.To.Known}} {
		account, ok := accounts[party.iban]
		if ok && !party.known && account.Version == 0 && delivery.Time.Before(c.opened[party.iban]) {
			delete(accounts, party.iban)
			defer func() { accounts[party.iban] = account }()
		}
	}
	return accounts.Transfer(command)
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
