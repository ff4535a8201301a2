package handler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"openbank/crash"
	"openbank/health"
)

// producer publishes for both lanes. Its goroutine publishes everything that waits in one go; others drain the delivery reports at all times.
type producer struct {
	h    *Handler
	link *link
	// main is what is published over, but for the answers to few commands: without a transaction those have a line of their own. The client
	// sends a request for each partition, and a broker answers it before it reads the connection's next one: behind events an answer would
	// wait for them. More commands share requests, and two lines would take more of the CPU than they save. What is sent again goes over main,
	// when nothing is on its way over either.
	main    line
	answers *line        // &main in transactions
	inUse   sync.RWMutex // held to write by whoever replaces or closes a line's client
	closed  bool

	told bool         // the client reports on each dead letter of a transaction, once one of them was refused
	left atomic.Int32 // clients that are left behind in a call

	batches *handover
	aloft   []publication // at least once, the oldest first

	arena []byte     // keys, values and versions of the portion at hand; librdkafka copies them
	out   []outgoing // the portion at hand

	// The message at hand: a publication has thousands.
	message kafka.Message
	headers []kafka.Header
}

// outgoing is one record to publish: a dead letter's message, or an answer or event that stands in producer.arena.
type outgoing struct {
	letter *kafka.Message
	topic  *string
	// Where its key, its value and its account's version begin, and where that ends. An answer has no version.
	key, value, version, end int
	traces                   []kafka.Header
	epoch                    *epoch  // of its command's partition
	flight                   *flight // that its report counts for; nil in a transaction, which says whether it was delivered
	named                    bool    // its report says whose it is
	err                      error   // of the delivery, if named
}

func (o *outgoing) isAnswer() bool { return o.letter == nil && o.version == o.end }

// run publishes what the lanes hand over until batches is closed.
func (p *producer) run(ctx context.Context, batches *handover, stage *health.Stage) {
	defer stage.Rests()
	p.batches = batches
	for end := false; !end; {
		var waiting []executed
		select {
		case <-batches.ready:
			waiting, end = batches.take()
		case <-p.landing():
		}
		stage.Moves()
		err := p.publish(ctx, waiting)
		if err == nil && end {
			err = p.land(ctx, 0)
		}
		if err != nil {
			p.h.fail(err)
			return
		}
		if len(p.aloft) == 0 {
			stage.Rests()
		}
	}
}

// publish publishes the batches that waited, if any, and finishes what has landed.
func (p *producer) publish(ctx context.Context, batches []executed) error {
	if len(batches) == 0 {
		return p.land(ctx, overlap)
	}
	if !p.h.exactlyOnce {
		return p.launch(ctx, batches)
	}
	refused, err := p.publishOnce(ctx, batches)
	if err != nil {
		return err
	}
	p.batches.done()
	p.reopen(refused)
	return nil
}

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
	if err := p.produceAll(ctx, out.flight, batches, nil); err != nil {
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

// dropRefused leaves out the records that stand at or behind a refused one of their epoch.
func dropRefused(refused refusedLetters, records []record) []record {
	if len(refused) == 0 {
		return records
	}
	kept := records[:0]
	for _, r := range records {
		if refused.covers(r.epoch, r.offset) {
			r.epoch.done(1)
		} else {
			kept = append(kept, r)
		}
	}
	return kept
}

// reopen ends the epochs that have a record whose dead letter has nowhere to go, and has the next ones begin there when it has.
func (p *producer) reopen(refused refusedLetters) {
	p.h.owned.Lock()
	defer p.h.owned.Unlock()
	for e, offset := range refused {
		if !e.current.Load() {
			continue
		}
		e.retire()
		l := e.lane
		// In the background: the Poll goroutine may be waiting for the lock that is held here.
		l.background.Go(func() {
			l.post(func() { l.reopen(e, offset, l.letters.await) })
		})
	}
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
	refusal := all.err()
	err := p.h.until(ctx, p.h.log, publishing, func() error {
		if refusal == nil {
			open = slices.DeleteFunc(open, func(o *outgoing) bool { return !o.epoch.current.Load() })
			if err := p.attempt(ctx, open); err != nil {
				return err
			}
			if open = slices.DeleteFunc(open, func(o *outgoing) bool { return o.err == nil }); len(open) == 0 {
				p.link.ok()
				return nil
			}
			refusal = fmt.Errorf("producing to %s: %w", *open[0].topic, open[0].err)
		}
		err := refusal
		refusal = nil // the next time, it is tried
		if e := p.revive(); e != nil {
			return e
		}
		return err
	})
	if err != nil {
		return err
	}
	p.landed(len(p.aloft))
	return nil
}

// attempt produces each record once, by name, and waits for all reports; the outcome is in outgoing.err.
func (p *producer) attempt(ctx context.Context, open []*outgoing) error {
	f := newFlight(len(open))
	for _, o := range open {
		o.flight, o.named, o.err = f, true, nil
	}
	for _, o := range open {
		if err := p.produce(ctx, f, &p.main, o); err != nil {
			return err
		}
	}
	p.purgeFailed()
	return f.wait(ctx)
}

// produce hands a record to a line's client, whose report counts for the record's flight if it has one. Of a record that the client does not
// take f learns here: a transaction would be committed without it. Error: ctx's cause.
func (p *producer) produce(ctx context.Context, f *flight, over *line, o *outgoing) error {
	m := p.assemble(o)
	crash.Point("before-produce", 1)
	err := over.client.Produce(m, nil)
	for err != nil && isKafka(err, kafka.ErrQueueFull) {
		if !pause(ctx, 5*time.Millisecond) {
			return context.Cause(ctx)
		}
		err = over.client.Produce(m, nil)
	}
	if err != nil {
		o.err = err
		f.fail(*o.topic, err)
		if o.flight != nil {
			o.flight.done(1)
		}
	}
	crash.Point("after-produce", 1)
	return nil
}

// assemble makes the message of a record. It holds until the next one is made. Its report names the record where that is asked for, or else
// its publication; nothing in a transaction, since the library keeps names in a map that it locks twice a record.
func (p *producer) assemble(o *outgoing) *kafka.Message {
	m := o.letter
	if m == nil {
		m = p.answerOrEvent(o)
	}
	switch {
	case o.named:
		m.Opaque = o
	case o.flight != nil:
		m.Opaque = o.flight
	default:
		m.Opaque = nil
	}
	return m
}

func (p *producer) answerOrEvent(o *outgoing) *kafka.Message {
	p.headers = p.headers[:0]
	if !o.isAnswer() {
		p.headers = append(p.headers, kafka.Header{Key: "account-version", Value: p.arena[o.version:o.end]})
	}
	p.headers = append(p.headers, o.traces...)
	p.message = kafka.Message{
		TopicPartition: kafka.TopicPartition{Topic: o.topic, Partition: kafka.PartitionAny},
		Key:            p.arena[o.key:o.value], Value: p.arena[o.value:o.version], Headers: p.headers,
	}
	return &p.message
}

// finish counts a batch that is published, and returns the offsets that it finishes. Each batch holds a contiguous run of each
// partition, and batches come in order, so the last offset of an epoch finishes all before it. The caller holds Handler.owned: a
// partition that was lost meanwhile is not ours to commit.
func (p *producer) finish(b executed) []kafka.TopicPartition {
	last := map[*epoch]int64{}
	count := map[*epoch]int64{}
	now, clock := p.h.meter.now(), time.Now()
	if b.at > 0 {
		b.lane.meter.publish.Update((now - b.at).Seconds())
	}
	for i := range b.records {
		r := &b.records[i]
		b.lane.meter.finished(r, now, clock)
		last[r.epoch] = r.offset + 1
		count[r.epoch]++
	}
	var offsets []kafka.TopicPartition
	for e, next := range last {
		if e.current.Load() {
			raise(&e.finished, next)
			if p.h.exactlyOnce {
				raise(&e.published, next)
			}
			offsets = append(offsets, b.lane.at(e.partition, kafka.Offset(next)))
		}
	}
	for e, n := range count {
		e.done(n)
	}
	return offsets
}

// storeOffsets has the client commit them soon.
func (l *lane) storeOffsets(offsets []kafka.TopicPartition) {
	if len(offsets) == 0 {
		return
	}
	crash.Point("before-store-offsets", len(offsets))
	var stored []kafka.TopicPartition
	err := l.ask(func(c *kafka.Consumer) (err error) {
		stored, err = c.StoreOffsets(offsets)
		return err
	})
	crash.Point("after-store-offsets", len(offsets))
	for _, s := range stored {
		err = errors.Join(err, s.Error)
	}
	if err != nil {
		l.log.Debug("storing offsets", "error", err) // a partition in the middle of a revocation: it is read again
	}
}
