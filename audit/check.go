package audit

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"openbank/bank"
)

// Options say what Check lets pass.
type Options struct {
	// AllowRepeats counts answers, events and dead letters that come more often than needed, but equal, and doesn't mind
	// them: at-least-once delivery may repeat them when a handler was killed.
	AllowRepeats bool
}

// reasonReused is the one reason that makes a readable command a dead letter.
const reasonReused = "id reused with other content"

// Check compares what was read and reports every contradiction. It changes nothing in e.
func Check(e *Evidence, options Options) *Report {
	c := &checker{
		evidence: e, options: options,
		report: &Report{
			Deliveries: len(e.Deliveries), Answers: len(e.Answers), Accounts: len(e.Accounts), Violations: []Violation{}, Found: map[Rule]int{},
		},
		histories: map[Key]*history{},
		accounts:  map[string]*Account{},
		opened:    map[string]time.Time{},
	}
	for i := range e.Accounts {
		c.accounts[e.Accounts[i].IBAN] = &e.Accounts[i]
	}
	for _, foreign := range e.Foreign {
		c.report.violate(Belongs, named(foreign), "it can't be read or is of another type")
	}
	c.checkLetters()
	c.checkAnswers()
	c.checkOutcomes()
	for _, key := range c.order {
		c.checkHistory(key, c.histories[key])
	}
	events := c.checkEvents()
	c.checkReplay(events)
	c.checkBalances()
	return c.report
}

type checker struct {
	evidence  *Evidence
	options   Options
	report    *Report
	histories map[Key]*history
	order     []Key // of the histories, as first seen
	accounts  map[string]*Account
	opened    map[string]time.Time // when an account's IBAN was first told to anybody
}

// history is everything about one command.
type history struct {
	deliveries []*Delivery // handled, not dead-lettered
	reused     []*Delivery // dead-lettered because of their content
	answers    []Answer
	outcome    *Outcome
}

func (c *checker) history(key Key) *history {
	h, ok := c.histories[key]
	if !ok {
		h = &history{}
		c.histories[key] = h
		c.order = append(c.order, key)
	}
	return h
}

// repeat counts something that was published once more than needed, equal to what was there.
func (c *checker) repeat(times int, subject named, what string) {
	c.report.Repeats += times
	if !c.options.AllowRepeats {
		c.report.violate(EventsOnce, subject, "%s came %d times more than needed", what, times)
	}
}

// checkLetters pairs deliveries with dead letters and files the deliveries into histories.
func (c *checker) checkLetters() {
	letters := map[Place]*Letter{}
	for i := range c.evidence.Letters {
		letter := &c.evidence.Letters[i]
		first, ok := letters[letter.Source]
		switch {
		case letter.Source.Topic == "":
			c.report.violate(DeadLettered, letter.Place, "its headers don't tell which record it was")
		case !ok:
			letters[letter.Source] = letter
		case !bytes.Equal(first.Value, letter.Value) || first.Reason != letter.Reason:
			c.report.violate(DeadLettered, letter.Place, "another dead letter of %s differs from it", letter.Source)
		default:
			c.repeat(1, named(letter.Source.String()), "its dead letter")
		}
	}
	c.report.DeadLetters = len(letters)
	for i := range c.evidence.Deliveries {
		delivery := &c.evidence.Deliveries[i]
		letter := letters[delivery.Place]
		delete(letters, delivery.Place)
		if letter != nil {
			c.checkLetter(delivery, letter)
		}
		key, isCommand := delivery.command()
		switch {
		case !isCommand && letter == nil:
			c.report.violate(DeadLettered, delivery.Place, "it can't be handled (%s) and has no dead letter", delivery.Unreadable)
		case !isCommand:
		case letter == nil:
			c.history(key).deliveries = append(c.history(key).deliveries, delivery)
		default:
			c.history(key).reused = append(c.history(key).reused, delivery)
			if letter.Reason != reasonReused {
				c.report.violate(DeadLettered, delivery.Place, "it is a command that can be handled, and is a dead letter with the reason %q", letter.Reason)
			}
		}
	}
	for source, letter := range letters {
		c.report.violate(DeadLettered, letter.Place, "there is no record at %s, which it says it was", source)
	}
}

func (c *checker) checkLetter(delivery *Delivery, letter *Letter) {
	same := bytes.Equal(delivery.Value, letter.Value)
	if letter.SHA256 != "" { // too large to be sent on as a whole
		hash := sha256.Sum256(delivery.Value)
		same = hex.EncodeToString(hash[:]) == letter.SHA256 && len(delivery.Value) == letter.Length && bytes.HasPrefix(delivery.Value, letter.Value)
	}
	if !same {
		c.report.violate(DeadLettered, letter.Place, "its bytes are not those of %s", delivery.Place)
	}
	if letter.SHA256 == "" && !bytes.Equal(delivery.Key, letter.Key) {
		c.report.violate(DeadLettered, letter.Place, "its key is not that of %s", delivery.Place)
	}
	if letter.Reason == "" {
		c.report.violate(DeadLettered, letter.Place, "it gives no reason")
	}
}

func (c *checker) checkAnswers() {
	for _, answer := range c.evidence.Answers {
		h, ok := c.histories[answer.Command]
		if !ok {
			c.report.violate(Asked, answer.Command, "answered at %s, and nobody sent it", answer.Place)
			continue
		}
		h.answers = append(h.answers, answer)
		if first, ok := c.opened[answer.IBAN]; answer.IBAN != "" && (!ok || answer.Time.Before(first)) {
			c.opened[answer.IBAN] = answer.Time
		}
	}
}

func (c *checker) checkOutcomes() {
	for i := range c.evidence.Outcomes {
		outcome := &c.evidence.Outcomes[i]
		h, ok := c.histories[outcome.Command]
		switch {
		case !ok && outcome.Seq == 0: // from before: its records may be gone
		case !ok:
			c.report.violate(OneOutcome, outcome.Command, "the database has an outcome, and nobody sent it")
		case h.outcome != nil:
			c.report.violate(OneOutcome, outcome.Command, "the database has two outcomes")
		default:
			h.outcome = outcome
		}
	}
}

func (c *checker) checkHistory(key Key, h *history) {
	r := c.report
	r.Commands++
	r.Duplicates += max(0, len(h.deliveries)-1)
	r.Reused += len(h.reused)
	if len(h.deliveries) == 0 {
		r.violate(DeadLettered, key, "all its records are dead letters, so with what was its id used before?")
		return
	}
	c.checkContents(key, h)
	switch missing := len(h.deliveries) - len(h.answers); {
	case missing > 0:
		r.violate(Answered, key, "sent %d times, last at %s, and answered %d times", len(h.deliveries), h.deliveries[len(h.deliveries)-1].Place, len(h.answers))
	case missing < 0:
		c.repeat(-missing, named(key.String()), "its answer")
	}
	for _, answer := range h.answers {
		if answer.content() != h.answers[0].content() {
			r.violate(SameAnswer, key, "answered %s at %s and %s at %s", h.answers[0].text(), h.answers[0].Place, answer.text(), answer.Place)
		}
	}
	if len(h.answers) == 0 {
		return
	}
	answer := h.answers[0]
	if answer.Reason == "" {
		r.Confirmed++
	} else {
		r.Rejected++
	}
	switch o := h.outcome; {
	case o == nil:
		r.violate(OneOutcome, key, "answered %s, and the database has no outcome", answer.text())
	case o.Reason != answer.Reason || o.IBAN != answer.IBAN || o.Token != answer.Token:
		r.violate(OneOutcome, key, "answered %s, and the database has another outcome", answer.text())
	}
	if creation := h.deliveries[0].Creation; creation != nil && answer.Reason == "" {
		if answer.Type != creation.Type {
			r.violate(SameAnswer, key, "asked for an account of type %s and got %s", creation.Type, answer.Type)
		}
		if !bank.ValidIBAN(answer.IBAN) {
			r.violate(SameAnswer, key, "the new account's IBAN %q is not valid", answer.IBAN)
		}
	}
}

// checkContents sees to it that a transfer's id stands for one content, and that the others, and only they, are dead letters.
func (c *checker) checkContents(key Key, h *history) {
	if key.Kind != Transfer {
		return
	}
	content := h.deliveries[0].Transfer.Fingerprint()
	for _, delivery := range h.deliveries {
		if delivery.Transfer.Fingerprint() != content {
			c.report.violate(DeadLettered, key, "its id came with other content at %s, and that is no dead letter", delivery.Place)
		}
	}
	for _, delivery := range h.reused {
		if delivery.Transfer.Fingerprint() == content {
			c.report.violate(DeadLettered, key, "the dead letter of %s says that the id was reused, but the content is the same", delivery.Place)
		}
	}
}

func (a Answer) text() string {
	if a.Reason != "" {
		return "no (" + a.Reason + ")"
	}
	if a.IBAN != "" {
		return "yes (" + a.IBAN + ")" // never the token
	}
	return "yes"
}

type eventKey struct {
	iban    string
	version int64
}

// checkEvents looks at the events by themselves, and returns the different ones.
func (c *checker) checkEvents() map[eventKey]Event {
	events := map[eventKey]Event{}
	byAccount := map[string][]bank.BalanceChanged{}
	latest := map[string]int64{}
	old := c.oldEvents()
	for _, e := range c.evidence.Events {
		if !e.HasVersion {
			if old.has(e.Event) {
				c.report.Old++
			} else {
				c.report.violate(Versioned, e.Place, "the header account-version is missing or no number")
			}
			continue
		}
		iban := e.Event.IBAN
		key := eventKey{iban, e.Event.Version}
		first, again := events[key]
		switch {
		case !again:
			events[key] = e
			byAccount[iban] = append(byAccount[iban], e.Event)
			if e.Event.Version < latest[iban] {
				c.report.OutOfOrder++
			}
			latest[iban] = max(latest[iban], e.Event.Version)
		case first.Event != e.Event:
			c.report.violate(Chained, named(iban), "version %d is at %s and, with other content, at %s", key.version, first.Place, e.Place)
		default:
			c.repeat(1, named(iban), "an event")
		}
	}
	c.report.Events = len(events)
	for iban := range byAccount {
		if _, ok := c.accounts[iban]; !ok {
			c.report.violate(Chained, named(iban), "it has events and is no account")
		}
	}
	for _, account := range c.evidence.Accounts {
		c.checkChain(account, byAccount[account.IBAN])
	}
	return events
}

func (c *checker) checkChain(account Account, events []bank.BalanceChanged) {
	slices.SortFunc(events, func(a, b bank.BalanceChanged) int { return cmp.Compare(a.Version, b.Version) })
	balance, version := account.Opening, account.OpeningVersion
	for _, e := range events {
		switch {
		case e.Version <= account.OpeningVersion:
			continue // from before the handler took over again
		case e.Version != version+1:
			c.report.violate(Chained, named(account.IBAN), "after version %d comes version %d", version, e.Version)
		case balance+e.ChangedBy != e.NewBalance:
			c.report.violate(Chained, named(account.IBAN), "version %d makes %d of %d by %d", e.Version, e.NewBalance, balance, e.ChangedBy)
		}
		if e.ChangedBy < 0 && e.NewBalance < account.Limit {
			c.report.violate(AboveLimit, named(account.IBAN), "version %d takes it to %d, below its limit %d", e.Version, e.NewBalance, account.Limit)
		}
		balance, version = e.NewBalance, e.Version
	}
	if balance != account.Balance || version != account.Version {
		c.report.violate(Chained, named(account.IBAN), "its events end in %d at version %d, its row has %d at version %d", balance, version, account.Balance, account.Version)
	}
}

// checkBalances compares sums. They may leave int64 without harm: both sides wrap alike.
func (c *checker) checkBalances() {
	r := c.report
	for _, account := range c.evidence.Accounts {
		r.Balances += account.Balance
		r.Openings += account.Opening
		if account.Balance < account.Limit && account.Opening >= account.Limit {
			r.violate(AboveLimit, named(account.IBAN), "it has %d, below its limit %d", account.Balance, account.Limit)
		}
	}
	if r.Balances != r.Openings+r.Flows {
		r.violate(Conserved, named("all accounts"), "they have %d cents, but opened with %d and took in %d", r.Balances, r.Openings, r.Flows)
	}
}
