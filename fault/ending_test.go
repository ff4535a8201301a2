package fault

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/audit"
	"openbank/process"
)

// ending is what somebody does to the bank when all is answered and the handlers are stopped.
type ending string

const (
	plain    ending = "" // nothing
	setBack  ending = "offsets set back"
	anew     ending = "topic made anew"
	restored ending = "Postgres restored"
)

// play does it, and returns the report on the evidence as it must be then.
func (e ending) play(ctx context.Context, r *run) (*audit.Report, error) {
	switch e {
	case setBack:
		return r.setBack(ctx)
	case anew:
		return r.makeAnew(ctx)
	case restored:
		return r.restore(ctx)
	case plain:
	}
	return nil, fmt.Errorf("nothing follows %q", string(e))
}

// alone starts one more handler.
func (r *run) alone(more ...string) (*process.Process, string, error) {
	r.fleet.mu.Lock()
	r.fleet.started++
	number := r.fleet.started
	r.fleet.mu.Unlock()
	return r.fleet.start(number, more...)
}

// refuses starts a handler that must end by itself with status 1, and say why.
func (r *run) refuses(ctx context.Context, says string) error {
	p, log, err := r.alone()
	if err != nil {
		return err
	}
	defer p.Kill()
	select {
	case <-p.Exited():
	case <-time.After(settleTime):
		return fmt.Errorf("the handler goes on, it should say %q, see %s", says, log)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		return err
	}
	if p.Err() == nil || wasKilled(p) || !strings.Contains(string(text), says) {
		return fmt.Errorf("the handler ended (%w) and does not say %q, see %s", p.Err(), says, log)
	}
	return nil
}

// dies has one more handler begin its work and kill itself with it in hand.
func (r *run) dies(ctx context.Context, crash crashAt) error {
	crash.passage = 1 // which comes however little is left to do
	p, log, err := r.alone("CRASH_AT=" + crash.String())
	if err != nil {
		return err
	}
	defer p.Kill()
	return killedItself(ctx, p, log)
}

// killedItself waits until a handler has.
func killedItself(ctx context.Context, p *process.Process, log string) error {
	select {
	case <-p.Exited():
	case <-time.After(settleTime):
		return fmt.Errorf("the handler did not come to its crash point, see %s", log)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if !wasKilled(p) {
		return fmt.Errorf("the handler ended (%w), see %s: %s", p.Err(), log, lastLine(log))
	}
	return nil
}

// published is how many answers and dead letters there are.
type published struct{ answers, letters int }

func publishedIn(e *audit.Evidence) published { return published{len(e.Answers), len(e.Letters)} }

func (p published) has(least published) bool {
	return p.answers >= least.answers && p.letters >= least.letters
}

// allows says whether as much is published as there should be: at least once, a crash has some of it come again.
func (r *run) allows(is, want published) bool {
	return is == want || is.has(want) && r.schedule.delivery == atLeastOnce && r.schedule.endCrash != nil
}

// works runs a handler until the evidence, as change makes it, has what is wanted of it and is right, and stops it. With a crash it
// dies, unless all is done before it comes to that, and another one does the rest.
func (r *run) works(ctx context.Context, crash *crashAt, change func(*audit.Evidence), want func(*audit.Evidence) published, options audit.Options, env ...string) (*audit.Report, error) {
	armed := env
	if crash != nil {
		armed = append(slices.Clone(env), "CRASH_AT="+crash.String())
	}
	p, log, err := r.alone(armed...)
	if err != nil {
		return nil, err
	}
	defer func() { p.Kill() }()
	look := func() (*audit.Report, *audit.Evidence, error) {
		e, err := r.read(ctx)
		if err != nil {
			return nil, nil, err
		}
		change(e)
		return audit.Check(e, options), e, nil
	}
	for deadline := time.Now().Add(settleTime); ; {
		report, evidence, err := look()
		if err == nil && report.OK() && publishedIn(evidence).has(want(evidence)) {
			break
		}
		switch {
		case !p.Running() && crash != nil && wasKilled(p):
			crash = nil
			next, nextLog, err := r.alone(env...)
			if err != nil {
				return nil, err
			}
			p, log = next, nextLog
		case !p.Running():
			return nil, fmt.Errorf("the handler ended (%w), see %s: %s", p.Err(), log, lastLine(log))
		case time.Now().After(deadline) && err == nil:
			return nil, fmt.Errorf("there are %+v, there should be %+v: %w", publishedIn(evidence), want(evidence), r.keep(report, evidence))
		case time.Now().After(deadline):
			return nil, err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if err := r.fleet.end(ctx, p, log); err != nil {
		return nil, err
	}
	report, evidence, err := look()
	switch {
	case err != nil:
		return nil, err
	case !report.OK():
		return nil, fmt.Errorf("after the stop: %w", r.keep(report, evidence))
	case !r.allows(publishedIn(evidence), want(evidence)):
		return nil, fmt.Errorf("there are %+v, there should be %+v: %w", publishedIn(evidence), want(evidence), r.keep(report, evidence))
	}
	return report, nil
}

// setBack sets the group's offsets of all partitions back, each to a place of its own. What was published there is answered
// again, with equal answers, and no event comes twice: unless a handler's last offsets were not taken, of which it has warned, or
// it did not get to them.
func (r *run) setBack(ctx context.Context) (*audit.Report, error) {
	before, err := r.read(ctx)
	if err != nil {
		return nil, err
	}
	admin := kadm.NewClient(r.world.client)
	ends, err := admin.ListEndOffsets(ctx, r.topics.ConfirmAccountCreation, r.topics.ConfirmMoneyTransfer)
	if err != nil {
		return nil, err
	}
	var offsets kadm.Offsets
	for _, end := range ends.Offsets().Sorted() {
		offsets.AddOffset(end.Topic, end.Partition, int64(r.load.offsets.Float64()*float64(end.At)), -1)
	}
	if err := r.commit(ctx, offsets); err != nil {
		return nil, err
	}
	letters := map[audit.Place]bool{}
	for _, l := range before.Letters {
		letters[l.Source] = true
	}
	again, buried := 0, 0
	for _, d := range before.Deliveries {
		at, ok := offsets.Lookup(d.Place.Topic, d.Place.Partition)
		switch {
		case !ok || d.Place.Offset < at.At:
		case letters[d.Place]:
			buried++
		default:
			again++
		}
	}
	all := func(*audit.Evidence) published {
		return published{len(before.Answers) + again, len(before.Letters) + buried}
	}
	report, err := r.works(ctx, r.schedule.endCrash, func(*audit.Evidence) {}, all, audit.Options{AllowRepeats: true})
	if err != nil {
		return nil, err
	}
	after, err := r.read(ctx)
	if err != nil {
		return nil, err
	}
	if len(after.Events) == len(before.Events) {
		return report, nil
	}
	warned, err := r.fleet.said("the group does not take the last offsets in time")
	if err == nil && (!warned && !r.fleet.wasCut() || len(after.Events) < len(before.Events)) {
		err = fmt.Errorf("there were %d events before the offsets were set back, there are %d now", len(before.Events), len(after.Events))
	}
	return report, err
}

// commit sets the group's offsets once the group is empty.
func (r *run) commit(ctx context.Context, offsets kadm.Offsets) error {
	for deadline := time.Now().Add(settleTime); ; {
		result, err := kadm.NewClient(r.world.client).CommitOffsets(ctx, r.group(), offsets)
		if err == nil {
			err = result.Error()
		}
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// makeAnew deletes the topic of transfers and makes it again. The handler says so and ends; told to go on, it handles what is new,
// and what went before stays as it was.
func (r *run) makeAnew(ctx context.Context) (*audit.Report, error) {
	before, err := r.read(ctx)
	if err != nil {
		return nil, err
	}
	admin := kadm.NewClient(r.world.client)
	_, err = admin.DeleteTopic(ctx, r.topics.ConfirmMoneyTransfer)
	if err == nil {
		_, err = admin.CreateTopic(ctx, partitions, brokerCount, nil, r.topics.ConfirmMoneyTransfer)
	}
	if err != nil {
		return nil, err
	}
	if err := r.refuses(ctx, "made anew"); err != nil {
		return nil, err
	}
	// A client that has known the former topic holds on to it.
	if r.load.client, err = r.world.kafka.Client("test", kgo.ProducerLinger(0)); err != nil {
		return nil, err
	}
	defer r.load.client.Close()
	for range 60 {
		// Transfers that were not sent before: a duplicate of one is a delivery like any other, but would make the count below wrong.
		c := r.load.transfer()
		r.load.sent = append(r.load.sent, c)
		record, err := r.load.record(&c)
		if err != nil {
			return nil, err
		}
		r.load.send(ctx, record)
	}
	if err := r.load.flush(ctx); err != nil {
		return nil, err
	}
	// The records of the former topic are gone, but not what came of them.
	former := r.topics.ConfirmMoneyTransfer + " (former)"
	move := func(p *audit.Place) {
		if p.Topic == r.topics.ConfirmMoneyTransfer {
			p.Topic = former
		}
	}
	was := map[audit.Place]bool{}
	var deliveries []audit.Delivery
	for _, d := range before.Deliveries {
		if move(&d.Place); d.Place.Topic == former {
			deliveries = append(deliveries, d)
		}
	}
	for _, l := range before.Letters {
		was[l.Place] = true
	}
	merge := func(e *audit.Evidence) {
		e.Deliveries = append(slices.Clone(deliveries), e.Deliveries...)
		for i := range e.Letters {
			if l := &e.Letters[i]; was[l.Place] && l.Source.Topic == r.topics.ConfirmMoneyTransfer {
				move(&l.Source)
				l.Place.Topic = audit.DeadLetter(former)
			}
		}
	}
	all := func(*audit.Evidence) published {
		return published{len(before.Answers) + 60, len(before.Letters)}
	}
	return r.works(ctx, r.schedule.endCrash, merge, all, audit.Options{AllowRepeats: r.schedule.delivery == atLeastOnce}, "NEW_TOPICS=true")
}

// restore takes a copy of the database, has more commands handled, and puts the copy in the database's place. The handler says so and
// ends; told to execute again what Postgres has lost, it does, and the books are right once more. What it had published of that
// meanwhile is out in the world, which nobody promises to mend: it is left out of the evidence. With a crash a handler dies with more in
// hand before the copy takes the database's place, and another one while it executes again.
func (r *run) restore(ctx context.Context) (*audit.Report, error) {
	copied := r.database + "_copy"
	if err := r.sql(ctx, "CREATE DATABASE "+copied+" TEMPLATE "+r.database); err != nil {
		return nil, err
	}
	before, err := r.read(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.load.burst(ctx, 120); err != nil {
		return nil, err
	}
	if err := r.load.flush(ctx); err != nil {
		return nil, err
	}
	options := audit.Options{AllowRepeats: r.schedule.delivery == atLeastOnce}
	if _, err := r.works(ctx, nil, func(*audit.Evidence) {}, publishedIn, options); err != nil {
		return nil, err
	}
	if crash := r.schedule.endCrash; crash != nil {
		if err := r.load.burst(ctx, 120); err != nil {
			return nil, err
		}
		if err := errors.Join(r.load.flush(ctx), r.dies(ctx, *crash)); err != nil {
			return nil, err
		}
	}
	if err := r.sql(ctx, "DROP DATABASE "+r.database+" WITH (FORCE)"); err != nil {
		return nil, err
	}
	if err := r.sql(ctx, "ALTER DATABASE "+copied+" RENAME TO "+r.database); err != nil {
		return nil, err
	}
	if err := r.refuses(ctx, "restored to an earlier state"); err != nil {
		return nil, err
	}
	lost, err := r.read(ctx)
	if err != nil {
		return nil, err
	}
	unknown := places(lost) // to the restored database
	for at := range places(before) {
		delete(unknown, at)
	}
	forget := func(e *audit.Evidence) {
		e.Answers = slices.DeleteFunc(e.Answers, func(a audit.Answer) bool { return unknown[a.Place] })
		e.Events = slices.DeleteFunc(e.Events, func(v audit.Event) bool { return unknown[v.Place] })
		e.Letters = slices.DeleteFunc(e.Letters, func(l audit.Letter) bool { return unknown[l.Place] })
	}
	return r.works(ctx, r.schedule.endCrash, forget, publishedIn, options, "REWIND=true")
}

// places is where everything stands that handlers have published.
func places(e *audit.Evidence) map[audit.Place]bool {
	all := map[audit.Place]bool{}
	for _, a := range e.Answers {
		all[a.Place] = true
	}
	for _, v := range e.Events {
		all[v.Place] = true
	}
	for _, l := range e.Letters {
		all[l.Place] = true
	}
	return all
}

// sql runs a statement on the server.
func (r *run) sql(ctx context.Context, statement string) (err error) {
	db, err := sql.Open("postgres", r.world.bank.Postgres.URL("postgres"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, statement)
	return err
}
