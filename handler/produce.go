package handler

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"openbank/crash"
)

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

// portion is how many commands' records are in Go's memory at once before the client has copied them.
const portion = 64

// produceAll hands the letters to main, first so that their flight is whole whatever comes, and then the answers and events of the batches'
// n commands, each to its line. The transaction says whether those are delivered; where there is none they are part of the flight. Error: encoding, or ctx's cause.
func (p *producer) produceAll(ctx context.Context, f *flight, batches []executed, n int, letters []*letter) error {
	for _, l := range letters {
		if _, err := p.produce(ctx, f, &p.main, &l.outgoing); err != nil {
			return err
		}
	}
	answers := &p.main
	if n <= overlap || len(p.aloft) > 0 { // behind the answers that are on their way
		answers = p.answers
	}
	for _, b := range batches {
		for some := range slices.Chunk(b.records, portion) {
			p.out, p.arena = p.out[:0], p.arena[:0]
			if err := p.compose(some); err != nil {
				return fatalError{err}
			}
			for i := range p.out {
				o := &p.out[i]
				if !p.h.exactlyOnce {
					o.flight = f
					f.pending.Add(1)
				}
				over := &p.main
				if o.isAnswer() {
					over = answers
				}
				if _, err := p.produce(ctx, f, over, o); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// produce hands a record to a line's client, whose report counts for the record's flight if it has one. Of a record that the client does not
// take, the refusal, f learns here: a transaction would be committed without it. Error: ctx's cause.
func (p *producer) produce(ctx context.Context, f *flight, over *line, o *outgoing) (refusal, err error) {
	m := p.assemble(o)
	crash.Point("before-produce", 1)
	refusal = over.client.Produce(m, nil)
	for refusal != nil && isKafka(refusal, kafka.ErrQueueFull) {
		if !pause(ctx, 5*time.Millisecond) {
			return nil, context.Cause(ctx)
		}
		refusal = over.client.Produce(m, nil)
	}
	if refusal != nil {
		o.err = refusal
		f.fail(*o.topic, refusal)
		if o.flight != nil {
			o.flight.done(1)
		}
	}
	crash.Point("after-produce", 1)
	return refusal, nil
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
			b.lane.letters.passed(e.partition, next)
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
