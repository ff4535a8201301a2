package audit

import (
	"cmp"
	"maps"
	"slices"

	"openbank/bank"
)

type eventKey struct {
	iban    string
	version int64
}

// events are the different ones that have a version, as indexes into the evidence: it holds millions of them.
type events struct {
	byAccount map[string][]int32 // by version, once indexed
	explained []bool             // by the transfer that the replay came to
	lacking   map[eventKey]bool  // those that may have been deleted
}

// indexEvents looks at the events by themselves.
func (c *checker) indexEvents() {
	c.events = events{byAccount: map[string][]int32{}, explained: make([]bool, len(c.evidence.Events)), lacking: map[eventKey]bool{}}
	old := c.oldEvents()
	for i := range c.evidence.Events {
		e := &c.evidence.Events[i]
		switch {
		case e.HasVersion && e.Event.Version < 1:
			c.report.violate(Versioned, about{iban: e.Event.IBAN, place: e.Place}, "the header account-version is %d, and versions begin at 1", e.Event.Version)
		case e.HasVersion:
			c.events.byAccount[e.Event.IBAN] = append(c.events.byAccount[e.Event.IBAN], int32(i))
		case old.has(e.Event) || c.mayBeOld(e):
			c.report.Old++
		default:
			c.report.violate(Versioned, about{place: e.Place}, "the header account-version is missing or no number")
		}
	}
	for _, iban := range slices.Sorted(maps.Keys(c.events.byAccount)) {
		c.events.byAccount[iban] = c.inOrder(iban, c.events.byAccount[iban])
		c.report.Events += len(c.events.byAccount[iban])
	}
	for iban, indexes := range c.events.byAccount {
		if _, ok := c.accounts[iban]; ok || c.openedLater(iban) {
			continue
		}
		e := &c.evidence.Events[indexes[0]]
		c.report.violate(Chained, about{iban: iban, version: e.Event.Version}, "it has events, the first at %s, and is no account", e.Place)
	}
}

// inOrder brings an account's events, which are in the order of arrival, into the order of their versions, and leaves out what came again.
func (c *checker) inOrder(iban string, indexes []int32) []int32 {
	version := func(i int32) int64 { return c.evidence.Events[i].Event.Version }
	arrived := slices.Clone(indexes)
	slices.SortStableFunc(indexes, func(a, b int32) int { return cmp.Compare(version(a), version(b)) })
	different := indexes[:0]
	again := map[int32]bool{}
	for _, i := range indexes {
		if len(different) == 0 || version(different[len(different)-1]) != version(i) {
			different = append(different, i)
			continue
		}
		again[i] = true
		first, e := &c.evidence.Events[different[len(different)-1]], &c.evidence.Events[i]
		if first.Event != e.Event {
			c.report.violate(Chained, about{iban: iban, version: version(i)}, "version %d is at %s and, with other content, at %s", version(i), first.Place, e.Place)
		} else {
			c.repeat(1, about{iban: iban, version: version(i)}, "an event")
		}
	}
	latest := int64(0)
	for _, i := range arrived {
		if again[i] {
			continue
		}
		if version(i) < latest {
			c.report.OutOfOrder++
		}
		latest = max(latest, version(i))
	}
	return different
}

// find is the event that brought an account to a version.
func (c *checker) find(key eventKey) (index int32, ok bool) {
	indexes := c.events.byAccount[key.iban]
	at, ok := slices.BinarySearchFunc(indexes, key.version, func(i int32, version int64) int {
		return cmp.Compare(c.evidence.Events[i].Event.Version, version)
	})
	if !ok {
		return 0, false
	}
	return indexes[at], true
}

// mayBeOld tells whether an event without version may be that of a predecessor's command whose record is deleted.
func (c *checker) mayBeOld(e *Event) bool {
	topic := c.topics.ConfirmMoneyTransfer
	return c.own != nil && (c.scope.Former[topic] || c.scope.mayLack(topic, e.Time))
}

// openedLater tells whether an account was opened after the tables were read.
func (c *checker) openedLater(iban string) bool {
	if !c.scope.Live {
		return false
	}
	for i := range c.evidence.Answers { // of a bank at work, and few accounts of it
		if a := &c.evidence.Answers[i]; a.Opened != nil && a.Opened.IBAN == iban {
			h := c.histories[a.Command]
			return h != nil && h.outcome == nil && !c.due(h)
		}
	}
	return false
}

// under are the accounts that a transfer which is under way may change.
func (c *checker) under() map[string]bool {
	ibans := map[string]bool{}
	if !c.scope.Live {
		return ibans
	}
	for i := range c.evidence.Deliveries {
		d := &c.evidence.Deliveries[i]
		if d.Transfer == nil || c.scope.due(d.Place) {
			continue
		}
		if h := c.histories[Key{Transfer, d.Transfer.ID}]; h != nil && h.outcome == nil {
			ibans[d.Transfer.From], ibans[d.Transfer.To] = true, true
		}
	}
	return ibans
}

// checkChains holds the events of each account against each other, its opening and its row.
func (c *checker) checkChains() {
	under := c.under()
	for i := range c.evidence.Accounts {
		account := &c.evidence.Accounts[i]
		c.checkChain(account, c.events.byAccount[account.IBAN], under[account.IBAN])
	}
	for iban, indexes := range c.events.byAccount {
		if account := c.accounts[iban]; account != nil {
			c.checkExplained(account, indexes, under[iban])
		}
	}
}

func (c *checker) checkChain(account *Account, indexes []int32, underWay bool) {
	balance, version := account.Opening, account.OpeningVersion
	for _, i := range indexes {
		e := &c.evidence.Events[i].Event
		subject := about{iban: account.IBAN, version: e.Version}
		switch {
		case e.Version <= account.OpeningVersion:
			continue // from before the handler took over again
		case e.Version > account.Version && underWay:
			c.endOfChain(account, balance, version)
			return
		case e.Version != version+1 && c.mayLack(account.IBAN, version, e.Version):
		case e.Version != version+1:
			c.report.violate(Chained, subject, "after version %d comes version %d", version, e.Version)
		case balance+e.ChangedBy != e.NewBalance:
			c.report.violate(Chained, subject, "version %d makes %d of %d by %d", e.Version, e.NewBalance, balance, e.ChangedBy)
		}
		if e.ChangedBy < 0 && e.NewBalance < account.Limit {
			c.report.violate(AboveLimit, subject, "version %d takes it to %d, below its limit %d", e.Version, e.NewBalance, account.Limit)
		}
		balance, version = e.NewBalance, e.Version
	}
	c.endOfChain(account, balance, version)
}

func (c *checker) endOfChain(account *Account, balance, version int64) {
	if version < account.Version && c.mayLack(account.IBAN, version, account.Version+1) {
		return
	}
	if balance != account.Balance || version != account.Version {
		c.report.violate(Chained, about{iban: account.IBAN, version: account.Version}, "its events end in %d at version %d, its row has %d at version %d",
			balance, version, account.Balance, account.Version)
	}
}

// mayLack tells whether all events of an account between two versions, both exclusive, may have been deleted.
func (c *checker) mayLack(iban string, after, before int64) bool {
	if len(c.events.lacking) == 0 || before <= after {
		return false
	}
	for version := after + 1; version < before; version++ {
		if !c.events.lacking[eventKey{iban, version}] {
			return false
		}
	}
	return true
}

// checkExplained wants a transfer for every event.
func (c *checker) checkExplained(account *Account, indexes []int32, underWay bool) {
	for _, i := range indexes {
		version := c.evidence.Events[i].Event.Version
		if c.events.explained[i] || version <= account.OpeningVersion || underWay && version > account.Version {
			continue
		}
		c.report.violate(EventsReplayed, about{iban: account.IBAN, version: version, place: c.evidence.Events[i].Place}, "version %d was published, replayed there is none", version)
	}
}

// explain compares the events of a replayed transfer with what was published. sent is its record, nil when that is deleted.
func (c *checker) explain(expected []bank.BalanceChanged, o *Outcome, sent *Delivery) {
	for _, event := range expected {
		key := eventKey{event.IBAN, event.Version}
		subject := about{key: o.Command, iban: event.IBAN, version: event.Version}
		i, ok := c.find(key)
		switch {
		case !ok && c.eventMayLack(event.IBAN, sent):
			c.events.lacking[key] = true
			c.report.Unchecked.Events++
		case !ok:
			c.report.violate(EventsReplayed, subject, "version %d of %s was never published", event.Version, event.IBAN)
		default:
			c.events.explained[i] = true
			if published := c.evidence.Events[i].Event; published != event {
				c.report.violate(EventsReplayed, subject, "version %d of %s was published as %s, replayed it is %s", event.Version, event.IBAN, eventText(published), eventText(event))
			}
		}
	}
}

func (c *checker) eventMayLack(iban string, sent *Delivery) bool {
	var at Time
	if sent != nil {
		at = sent.Time
	}
	return c.keys.mayLackEvent(iban, at)
}
