package handler

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// overlap is how many commands may be on their way to the brokers, at least once, when the next ones follow: while commands are few, an
// answer does not wait for the one before it. More of them travel in company, which costs less.
const overlap = 32

// publication is batches whose answers and events the client has, and not yet all brokers.
type publication struct {
	batches []executed
	records int // in batches
	flight  *flight
}

// launch sends everything of the batches that is still ours, at least once; land finishes their offsets. Dead letters go first: where one is
// not taken, its partition waits at that record, and what comes behind it is not published.
func (p *producer) launch(ctx context.Context, batches []executed) error {
	if hasLetters(batches) { // a refusal ends the epoch that what is aloft belongs to
		if err := p.land(ctx, 0); err != nil {
			return err
		}
	}
	p.keepOurs(batches)
	refused, err := p.sendLetters(ctx, lettersOf(batches))
	if err != nil {
		return err
	}
	p.keepOurs(batches)                                        // that may have taken a while
	out := publication{batches: batches, flight: newFlight(1)} // until all are handed over: how many there are is known then
	for i := range batches {
		batches[i].records = dropRefused(refused, batches[i].records)
		out.records += len(batches[i].records)
	}
	if err := p.produceAll(ctx, out.flight, batches, out.records, nil); err != nil {
		return err
	}
	p.purgeFailed()
	out.flight.done(1)
	p.aloft = append(p.aloft, out)
	if len(refused) == 0 {
		return p.land(ctx, overlap)
	}
	if err := p.land(ctx, 0); err != nil {
		return err
	}
	p.reopen(refused)
	return nil
}

// landing is closed when the oldest publication has landed; nil when there is none.
func (p *producer) landing() <-chan struct{} {
	if len(p.aloft) == 0 {
		return nil
	}
	return p.aloft[0].flight.landed
}

// land finishes publications in their order: those that have landed, and others until no more commands than limit are aloft.
func (p *producer) land(ctx context.Context, limit int) error {
	aloft := 0
	for _, out := range p.aloft {
		aloft += out.records
	}
	for len(p.aloft) > 0 {
		first := p.aloft[0]
		if aloft <= limit && !first.flight.isDown() {
			return nil
		}
		if err := first.flight.wait(ctx); err != nil {
			return err
		}
		if first.flight.err() != nil {
			return p.sendAgain(ctx)
		}
		p.link.ok()
		p.landed(1)
		aloft -= first.records
	}
	return nil
}

// landed finishes the first n publications.
func (p *producer) landed(n int) {
	p.h.owned.Lock()
	defer p.h.owned.Unlock()
	for _, out := range p.aloft[:n] {
		for _, b := range out.batches {
			b.lane.storeOffsets(p.finish(b))
		}
		p.batches.done()
	}
	p.aloft = slices.Delete(p.aloft, 0, n)
}

// keepOurs leaves out the records of partitions that went to another handler.
func (p *producer) keepOurs(batches []executed) {
	p.h.owned.Lock()
	defer p.h.owned.Unlock()
	for i := range batches {
		batches[i].records = dropStale(batches[i].records)
	}
}

// sendAgain sends again what a broker refused of the publications aloft, for as long as it takes and its partition is ours, and finishes
// them. Reports name publications, since to keep each record until its own would take memory in every publication for the few that meet a
// refusal: so all that goes to a topic that refuses some is sent a second time, in its order. From then on reports name records. Those that
// had landed stand there twice, equal byte for byte unless their schema has been replaced meanwhile.
func (p *producer) sendAgain(ctx context.Context) error {
	all := newFlight(0) // for the first errors of all of them
	p.out, p.arena = p.out[:0], p.arena[:0]
	for _, out := range p.aloft {
		if err := out.flight.wait(ctx); err != nil {
			return err
		}
		for topic, err := range out.flight.first {
			all.fail(topic, err)
		}
		p.keepOurs(out.batches)
		for _, b := range out.batches {
			if err := p.compose(b.records); err != nil {
				return fatalError{err}
			}
		}
	}
	var open []*outgoing
	for i := range p.out {
		if all.first[*p.out[i].topic] != nil {
			open = append(open, &p.out[i])
		}
	}
	refusal, alone, lines := all.err(), false, p.lines()
	err := p.h.until(ctx, p.h.log, publishing, func() error {
		for refusal == nil {
			if open = slices.DeleteFunc(open, func(o *outgoing) bool { return !o.epoch.current.Load() }); len(open) == 0 {
				p.link.ok()
				return nil
			}
			offered := open
			if alone {
				offered = p.firsts(open)
			}
			if err := p.attempt(ctx, offered); err != nil {
				return err
			}
			if at := slices.IndexFunc(offered, func(o *outgoing) bool { return o.err != nil }); at >= 0 {
				refusal = fmt.Errorf("producing to %s: %w", *offered[at].topic, offered[at].err)
			}
			open, alone = p.stillOpen(open), refusal != nil
		}
		err := refusal
		refusal = nil // the next time, it is tried
		if e := p.anew(lines...); e != nil {
			return e
		}
		lines = []*line{&p.main} // all is sent over it from here on
		return err
	})
	if err != nil {
		return err
	}
	p.landed(len(p.aloft))
	return nil
}

// attempt produces each record once, by name, and waits for all reports; the outcome is in outgoing.err. A client that refuses one of a topic
// may take the next a moment later, which is to stand behind it: so it is not offered any more of that topic.
func (p *producer) attempt(ctx context.Context, open []*outgoing) error {
	f := newFlight(len(open))
	for _, o := range open {
		o.flight, o.named, o.err = f, true, nil
	}
	refused := map[string]error{} // by topic
	for _, o := range open {
		if o.err = refused[*o.topic]; o.err != nil {
			f.done(1)
			continue
		}
		refusal, err := p.produce(ctx, f, &p.main, o)
		if err != nil {
			return err
		}
		if refusal != nil {
			refused[*o.topic] = refusal
		}
	}
	p.purgeFailed()
	return f.wait(ctx)
}

// sequence is what stands in one partition, in its order.
type sequence struct{ topic, key string }

func (p *producer) sequenceOf(o *outgoing) sequence {
	return sequence{*o.topic, string(p.arena[o.key:o.value])}
}

// errBehind is of records that are sent once what is ahead of them is taken.
var errBehind = errors.New("a record ahead of it was refused")

// stillOpen leaves the records that were refused, and what is behind them: the last copies are to stand in order.
func (p *producer) stillOpen(open []*outgoing) []*outgoing {
	refused := map[sequence]bool{}
	return slices.DeleteFunc(open, func(o *outgoing) bool {
		of := p.sequenceOf(o)
		if refused[of] = refused[of] || o.err != nil; refused[of] && o.err == nil {
			o.err = errBehind
		}
		return !refused[of]
	})
}

// firsts are the first record of each sequence. While brokers refuse those, what is behind them is not sent time and again.
func (p *producer) firsts(open []*outgoing) (firsts []*outgoing) {
	seen := map[sequence]bool{}
	for _, o := range open {
		if of := p.sequenceOf(o); !seen[of] {
			seen[of] = true
			firsts = append(firsts, o)
		}
	}
	return firsts
}
