package audit

import (
	"fmt"

	"openbank/bank"
)

// Options say what Check lets pass.
type Options struct {
	// AllowRepeats counts answers, events and dead letters that come more often than needed, but equal, and doesn't mind
	// them: at-least-once delivery may repeat them when a handler was killed.
	AllowRepeats bool
}

// Check compares what was read and reports every contradiction, with the history of the command that it is about. It changes
// nothing in e but the order of slices.
func Check(e *Evidence, options Options) *Report {
	c := &checker{
		evidence: e, options: options, scope: &e.Scope, topics: e.Scope.Topics,
		report: &Report{
			Deliveries: len(e.Deliveries), Answers: len(e.Answers), Accounts: len(e.Accounts), Violations: []Violation{}, Found: map[Rule]int{},
		},
		histories: make(map[Key]*history, len(e.Outcomes)),
		order:     make([]Key, 0, len(e.Outcomes)),
		accounts:  map[string]*Account{},
		opened:    map[string]Time{},
	}
	if c.topics == (Topics{}) {
		c.topics = DefaultTopics()
	}
	c.keys = newKeys(e, c.topics)
	for i := range e.Accounts {
		c.accounts[e.Accounts[i].IBAN] = &e.Accounts[i]
	}
	for _, place := range e.Foreign {
		c.report.violate(Belongs, about{place: place}, "it can't be read or is of another type")
	}
	for _, place := range e.Late {
		c.report.violate(InCharge, about{place: place}, "what stands there, and perhaps more before it, was handled after the database was handed back")
	}
	c.findOwn()
	c.checkLetters()
	c.checkOutcomes()
	c.findLast()
	c.checkAnswers()
	for _, key := range c.order {
		c.checkHistory(key, c.histories[key])
	}
	c.indexEvents()
	c.checkReplay()
	c.checkChains()
	c.checkBalances()
	c.trace()
	return c.report
}

type checker struct {
	evidence  *Evidence
	options   Options
	scope     *Scope
	topics    Topics
	keys      *keys
	report    *Report
	histories map[Key]*history
	fresh     []history // not used yet
	order     []Key     // of the histories, as first seen
	accounts  map[string]*Account
	opened    map[string]Time     // when an account's IBAN was first told to anybody
	own       map[Partition]int64 // the first record of a partition that this handler handled; nil: all of them
	last      map[Partition]int64 // the last record of a partition that an earlier handler has a row of, where there was one
	events    events
}

// history is everything about one command. There are millions, so what few of them have is apart.
type history struct {
	deliveries []*Delivery // handled, not dead-lettered
	answers    []*Answer
	outcome    *Outcome
	letters    *buried // never nil
}

// buried is what of a command is dead letters.
type buried struct {
	reused  []*Delivery // because of their content
	refused int         // for another reason, and rightly
	mended  []*Delivery // of those, what can be handled by now
}

var noneBuried = &buried{}

// buried is to be changed.
func (h *history) buried() *buried {
	if h.letters == noneBuried {
		h.letters = &buried{}
	}
	return h.letters
}

// slab is how many histories are made at once.
const slab = 1024

func (c *checker) history(key Key) *history {
	h, ok := c.histories[key]
	if !ok {
		if len(c.fresh) == 0 {
			c.fresh = make([]history, slab)
		}
		h, c.fresh = &c.fresh[0], c.fresh[1:]
		h.letters = noneBuried
		c.histories[key] = h
		c.order = append(c.order, key)
	}
	return h
}

// repeat counts something that was published once more than needed, equal to what was there.
func (c *checker) repeat(times int, subject about, what string) {
	c.report.Repeats += times
	if !c.options.AllowRepeats {
		c.report.violate(EventsOnce, subject, "%s came %d times more than needed", what, times)
	}
}

// findOwn finds where in each partition this handler took over from a predecessor, which dropped what it couldn't read and lost answers
// when it crashed: what stands before is not this handler's to have handled. Dead letters don't tell: they may be of a time before it
// handed the database back.
func (c *checker) findOwn() {
	history := false
	first := map[Partition]int64{}
	for i := range c.evidence.Outcomes {
		o := &c.evidence.Outcomes[i]
		history = history || o.Seq == 0 && !o.Unordered
		if o.Seq == 0 || o.Origin.Topic == "" || o.Former {
			continue
		}
		if offset, ok := first[o.Origin.partition()]; !ok || o.Origin.Offset < offset {
			first[o.Origin.partition()] = o.Origin.Offset
		}
	}
	if history {
		c.own = first
	}
}

// owes tells whether the handler must have handled a record by now.
func (c *checker) owes(d *Delivery) bool {
	if !c.scope.due(d.Place) {
		return false
	}
	if c.own == nil {
		return true
	}
	first, ok := c.own[d.Place.partition()]
	return ok && d.Place.Offset >= first
}

// findLast finds how far an earlier handler got.
func (c *checker) findLast() {
	c.last = map[Partition]int64{}
	for _, h := range c.histories {
		if h.outcome == nil || h.outcome.Seq > 0 {
			continue
		}
		for _, d := range h.deliveries {
			p := d.Place.partition()
			if last, ok := c.last[p]; !ok || d.Place.Offset > last {
				c.last[p] = d.Place.Offset
			}
		}
	}
}

// lost tells of a command that nobody has handled whether it stands between what an earlier handler and this one did: what stands before may
// be older than either.
func (c *checker) lost(p Place) bool {
	last, ok := c.last[p.partition()]
	return !ok || p.Offset > last
}

func (c *checker) checkAnswers() {
	for i := range c.evidence.Answers {
		answer := &c.evidence.Answers[i]
		h, ok := c.histories[answer.Command]
		if !ok {
			c.report.violate(Asked, about{key: answer.Command}, "answered at %s, and nobody sent it", answer.Place)
			continue
		}
		h.answers = append(h.answers, answer)
	}
	c.findOpened()
}

func (c *checker) checkHistory(key Key, h *history) {
	r, subject := c.report, about{key: key}
	sent := len(h.deliveries)+len(h.letters.reused)+h.letters.refused > 0
	if sent {
		r.Commands++
	}
	r.Reused += len(h.letters.reused)
	if len(h.deliveries) == 0 && len(h.letters.reused)+h.letters.refused > 0 && len(h.answers) == 0 && h.outcome == nil {
		if h.letters.refused == 0 && !c.scope.mayLack(c.topics.command(key.Kind), 0) {
			r.violate(DeadLettered, subject, "all its records are dead letters, so with what was its id used before?")
		}
		return
	}
	c.checkContents(key, h)
	r.Duplicates += max(0, len(h.deliveries)-1)
	c.countAnswers(key, h)
	for _, answer := range h.answers {
		if !answer.same(h.answers[0]) {
			r.violate(SameAnswer, subject, "answered %s at %s and %s at %s", h.answers[0].text(), h.answers[0].Place, answer.text(), answer.Place)
		}
	}
	if len(h.answers) == 0 {
		return
	}
	answer := h.answers[0]
	switch {
	case !sent:
	case answer.Reason == "":
		r.Confirmed++
	default:
		r.Rejected++
	}
	c.checkOutcome(subject, h, answer)
	if answer.Reason != "" || key.Kind != Creation {
		return
	}
	opened := answer.Opened.value()
	if asked := h.askedType(); asked != "" && opened.Type != asked {
		r.violate(SameAnswer, subject, "asked for an account of type %s and got %s", asked, opened.Type)
	}
	if !bank.ValidIBAN(opened.IBAN) {
		r.violate(SameAnswer, subject, "the new account's IBAN %q is not valid", opened.IBAN)
	}
}

// due tells whether one of the command's records is.
func (c *checker) due(h *history) bool {
	for _, delivery := range h.deliveries {
		if c.scope.due(delivery.Place) {
			return true
		}
	}
	return false
}

// countAnswers wants an answer for each delivery.
func (c *checker) countAnswers(key Key, h *history) {
	needed, underWay, lacking, own := 0, 0, 0, true
	executed := h.executed()
	for _, d := range h.deliveries {
		switch {
		case c.keys.mayLackAnswer(key, d.Time), d != executed && c.scope.mayLackLetter(d.Place, d.Time): // or it was a dead letter, and another record handled
			lacking++
		case c.owes(d):
			needed++
		case !c.scope.due(d.Place):
			underWay++
		case h.outcome == nil && c.lost(d.Place):
			needed++
		default:
			own = false
		}
	}
	if h.outcome == nil {
		c.report.Unchecked.UnderWay += underWay
	}
	if needed == 0 && underWay > 0 && lacking == 0 && h.outcome != nil && h.outcome.Seq > 0 && own {
		needed = 1 // the tables have it, so whatever came of it was waited for
	}
	switch missing := needed - len(h.answers); {
	case len(h.deliveries) == 0 && len(h.answers) == 0 && h.outcome != nil && h.outcome.Seq > 0: // its record is deleted
		if h.outcome.Former || c.keys.mayLackAnswer(key, 0) {
			c.report.Unchecked.Answers++
		} else {
			c.report.violate(Answered, about{key: key}, "the database has an outcome, %s, and there is no answer", h.outcome.text())
		}
	case missing > 0:
		last := h.deliveries[len(h.deliveries)-1].Place
		c.report.violate(Answered, about{key: key}, "sent %d times, last at %s, and answered %d times", len(h.deliveries), last, len(h.answers))
	case lacking > 0 && len(h.answers) < len(h.deliveries):
		c.report.Unchecked.Answers++
	case len(h.answers) > len(h.deliveries) && own && !c.recordsMayLack(key, h):
		c.repeat(len(h.answers)-len(h.deliveries), about{key: key}, "its answer")
	}
}

// recordsMayLack tells whether the command may have been sent more often than the topic still shows. Its first record, the one that was
// executed, is older than the others.
func (c *checker) recordsMayLack(key Key, h *history) bool {
	topic := c.topics.command(key.Kind)
	if _, cut := c.scope.Cut[topic]; !cut && !c.scope.Former[topic] && len(h.deliveries) > 0 {
		return false
	}
	d := h.executed()
	return d == nil || c.scope.mayLack(topic, d.Time)
}

func (a *Answer) text() string {
	if a.Reason != "" {
		return "no (" + a.Reason + ")"
	}
	if a.Opened != nil {
		return "yes (" + a.Opened.IBAN + ")" // never the token
	}
	return "yes"
}

// checkBalances compares sums. They may leave int64 without harm: both sides wrap alike.
func (c *checker) checkBalances() {
	r := c.report
	for i := range c.evidence.Accounts {
		account := &c.evidence.Accounts[i]
		r.Balances += account.Balance
		r.Openings += account.Opening
		if account.Balance < account.Limit && account.Opening >= account.Limit {
			r.violate(AboveLimit, about{iban: account.IBAN, version: account.Version}, "it has %d, below its limit %d", account.Balance, account.Limit)
		}
	}
	if r.Balances != r.Openings+r.Flows {
		r.violate(Conserved, about{all: "all accounts"}, "they have %d cents, but opened with %d and took in %d: %d cents too many",
			r.Balances, r.Openings, r.Flows, r.Balances-r.Openings-r.Flows)
	}
}

func (o *Outcome) text() string {
	switch {
	case o.Reason != "":
		return "no (" + o.Reason + ")"
	case o.Opened != nil:
		return "yes (" + o.Opened.IBAN + ")" // never the token
	case o.Command.Kind == Transfer:
		return fmt.Sprintf("yes (debtor %s, creditor %s)", sideText(o.From), sideText(o.To))
	}
	return "yes"
}
