package audit

import "openbank/bank"

func (c *checker) checkOutcomes() {
	for i := range c.evidence.Outcomes {
		outcome := &c.evidence.Outcomes[i]
		h, ok := c.histories[outcome.Command]
		subject := about{key: outcome.Command}
		switch {
		case !ok && outcome.Seq == 0: // from before: its records may be gone
			c.history(outcome.Command).outcome = outcome
		case !ok && c.scope.without(outcome, c.topics.command(outcome.Command.Kind)):
			c.report.Unchecked.Commands++
			c.history(outcome.Command).outcome = outcome
		case !ok:
			c.report.violate(OneOutcome, subject, "the database has an outcome, and nobody sent it")
			c.history(outcome.Command).outcome = outcome
		case h.outcome != nil:
			c.report.violate(OneOutcome, subject, "the database has two outcomes")
		default:
			h.outcome = outcome
			h.unearth()
			c.checkOrigin(subject, h)
		}
	}
}

// unearth makes a command of a dead letter whose cause is mended and which was then executed where it stands, as after offsets were set back.
func (h *history) unearth() {
	if h.outcome.Former {
		return
	}
	for _, d := range h.letters.mended {
		if d.Place == h.outcome.Origin {
			h.deliveries = append(h.deliveries, d)
		}
	}
}

// checkOrigin sees to it that a row was made for one of the command's records, and names it unless it is an earlier handler's.
func (c *checker) checkOrigin(subject about, h *history) {
	origin := h.outcome.Origin
	switch ours := h.outcome.Seq > 0; {
	case h.outcome.Unordered:
		c.report.violate(OneOutcome, subject, "its row names the record that it was executed as, and has no place in the order of execution")
	case ours && origin.Topic == "":
		c.report.violate(OneOutcome, subject, "its row does not say which record it was executed as")
	case ours && h.outcome.Command.Kind == Transfer && !h.outcome.HasFingerprint:
		c.report.violate(OneOutcome, subject, "its row has no fingerprint")
	}
	if origin.Topic == "" || c.scope.without(h.outcome, "") {
		return
	}
	if h.executed() != nil {
		return
	}
	c.report.violate(OneOutcome, subject, "its row says that it was executed as read at %s, where it does not stand", origin)
}

func (c *checker) checkOutcome(subject about, h *history, answer *Answer) {
	switch o := h.outcome; {
	case o == nil && len(h.deliveries) > 0 && !c.due(h): // executed after the tables were read
	case o == nil:
		c.report.violate(OneOutcome, subject, "answered %s, and the database has no outcome", answer.text())
	case o.Reason != answer.Reason || o.Opened.value().IBAN != answer.Opened.value().IBAN || o.Opened.value().Token != answer.Opened.value().Token:
		c.report.violate(OneOutcome, subject, "answered %s, and the database has another outcome: %s", answer.text(), o.text())
	}
}

// executed is the record that the row was made for; nil when that is not known, or deleted.
func (h *history) executed() *Delivery {
	if h.outcome == nil || h.outcome.Former || h.outcome.Origin.Topic == "" {
		return nil
	}
	for _, d := range h.deliveries {
		if d.Place == h.outcome.Origin {
			return d
		}
	}
	return nil
}

// askedType is the type of account that a creation's answers must tell. An id that comes again asks for the account that it has opened,
// whatever type it names then. "" when that can't be told.
func (h *history) askedType() bank.AccountType {
	if d := h.executed(); d != nil {
		return d.Creation.Type
	}
	if h.outcome != nil && h.outcome.Opened != nil {
		if opened := h.outcome.Opened.Type; opened.Valid() {
			return opened
		}
		return "" // an earlier handler's, told as each asks
	}
	if len(h.deliveries) == 0 {
		return ""
	}
	return h.deliveries[0].Creation.Type
}
