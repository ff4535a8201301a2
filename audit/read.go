package audit

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"openbank/connect"
	"openbank/store"
)

// Source is a bank to read.
type Source struct {
	Kafka    connect.Kafka
	Codec    *connect.Codec
	Database *store.Store
	Topics   Topics

	// Wait is how long nothing may come of what is under way until it counts as missing.
	Wait time.Duration
	// Step and Progress, if not nil, are told what begins and how far it is.
	Step     func(title string)
	Progress func(read, all int64)
}

// Read reads a bank that may be at work, in the order that the package comment gives. Errors: ctx's, the brokers', the registry's, the
// database's, a topic that is not there.
func Read(ctx context.Context, s Source) (*Evidence, error) {
	step := func(title string) {
		if s.Step != nil {
			s.Step(title)
		}
	}
	step("reading the topics")
	r, err := openTopics(ctx, s.Kafka, s.Codec, s.Topics)
	if err != nil {
		return nil, err
	}
	defer r.client.Close()
	r.progress = s.Progress
	e := r.evidence
	e.Scope.Live, e.Scope.Due = true, map[Partition]int64{}
	for p, end := range r.ends {
		if p.Topic == s.Topics.ConfirmAccountCreation || p.Topic == s.Topics.ConfirmMoneyTransfer {
			e.Scope.Due[p] = end
		}
	}
	if err := r.reach(ctx, r.ends); err != nil {
		return nil, err
	}
	if err := r.finish(ctx); err != nil {
		return nil, err
	}
	if err := r.settle(ctx, s.Wait, newUnanswered(e, s.Topics)); err != nil {
		return nil, err
	}
	step("reading the database")
	t := &tables{e: e, same: r.same, at: s.Progress}
	if err := t.read(ctx, s.Database); err != nil {
		return nil, err
	}
	step("reading what came meanwhile")
	if err := r.settle(ctx, s.Wait, newUnpublished(e, s.Topics)); err != nil {
		return nil, err
	}
	ends, err := offsets(ctx, kadm.NewClient(r.client).ListCommittedOffsets, s.Topics.commands())
	if err != nil {
		return nil, err
	}
	r.ignored = true
	if err := r.reach(ctx, ends); err != nil {
		return nil, err
	}
	return e, r.finish(ctx)
}

// missing is what must still come.
type missing interface {
	// look takes in what was read since the last time and returns how much is missing.
	look() int
}

// settle reads on until nothing is missing, or nothing of it has come for a while.
func (r *reader) settle(ctx context.Context, wait time.Duration, m missing) error {
	least, since := m.look(), time.Now()
	for least > 0 && time.Since(since) < wait {
		if err := r.poll(ctx); err != nil {
			return err
		}
		if n := m.look(); n < least {
			least, since = n, time.Now()
		}
	}
	return nil
}

// unanswered are the answers and dead letters that due records wait for.
type unanswered struct {
	e                *Evidence
	answers, letters int // so many were looked at
	owed             map[Key]int
	unread           map[source]Key // due records without a dead letter so far; a zero Key for those that can't be handled
	count            int
}

func newUnanswered(e *Evidence, topics Topics) *unanswered {
	u := &unanswered{e: e, owed: map[Key]int{}, unread: map[source]Key{}}
	keys := newKeys(e, topics)
	answered := map[Key]int{}
	for _, a := range e.Answers {
		answered[a.Command]++
	}
	buried := map[source]bool{}
	for _, l := range e.Letters {
		buried[source{l.Source, l.SourceTime}] = true
	}
	u.answers, u.letters = len(e.Answers), len(e.Letters)
	for i := range e.Deliveries {
		d := &e.Deliveries[i]
		at := source{d.Place, d.Time}
		if !e.Scope.due(d.Place) || buried[at] {
			continue
		}
		key, isCommand := d.command()
		if isCommand && keys.mayLackAnswer(key, d.Time) || !isCommand && e.Scope.mayLackLetter(d.Place, d.Time) {
			continue
		}
		if answered[key] > 0 {
			answered[key]--
			continue
		}
		u.unread[at] = key
		if key != (Key{}) {
			u.owed[key]++
		}
		u.count++
	}
	return u
}

func (u *unanswered) look() int {
	for ; u.letters < len(u.e.Letters); u.letters++ {
		letter := &u.e.Letters[u.letters]
		at := source{letter.Source, letter.SourceTime}
		if key, ok := u.unread[at]; ok {
			delete(u.unread, at)
			if key == (Key{}) {
				u.count--
			} else {
				u.less(key)
			}
		}
	}
	for ; u.answers < len(u.e.Answers); u.answers++ {
		u.less(u.e.Answers[u.answers].Command)
	}
	return u.count
}

func (u *unanswered) less(key Key) {
	if u.owed[key] > 0 {
		u.owed[key]--
		u.count--
	}
}

// unpublished is what the tables say that happened and that has not been read yet.
type unpublished struct {
	e               *Evidence
	answers, events int // so many were looked at
	keys            map[Key]bool
	changes         map[eventKey]bool
}

func newUnpublished(e *Evidence, topics Topics) *unpublished {
	u := &unpublished{e: e, keys: map[Key]bool{}, changes: map[eventKey]bool{}}
	sent := map[Place]Time{}
	if len(e.Scope.Cut) > 0 {
		for i := range e.Deliveries {
			sent[e.Deliveries[i].Place] = e.Deliveries[i].Time
		}
	}
	keys := newKeys(e, topics)
	sentAt := func(o *Outcome) (at Time, known bool) { // false: its record is missed itself
		at, known = sent[o.Origin]
		return at, known || e.Scope.without(o, topics.command(o.Command.Kind))
	}
	for i := range e.Outcomes {
		o := &e.Outcomes[i]
		if o.Seq == 0 {
			continue
		}
		at, known := sentAt(o)
		if !known || !keys.mayLackAnswer(o.Command, at) { // or Check doesn't miss it
			u.keys[o.Command] = true
		}
		if o.Reason != "" || !o.HasContent {
			continue
		}
		if o.From.Known && (!known || !keys.mayLackEvent(o.Debtor, at)) {
			u.changes[eventKey{o.Debtor, o.From.Version}] = true
		}
		if o.To.Known && (!known || !keys.mayLackEvent(o.Creditor, at)) {
			u.changes[eventKey{o.Creditor, o.To.Version}] = true
		}
	}
	return u
}

func (u *unpublished) look() int {
	for ; u.answers < len(u.e.Answers); u.answers++ {
		delete(u.keys, u.e.Answers[u.answers].Command)
	}
	for ; u.events < len(u.e.Events); u.events++ {
		event := &u.e.Events[u.events].Event
		delete(u.changes, eventKey{event.IBAN, event.Version})
	}
	return len(u.keys) + len(u.changes)
}
