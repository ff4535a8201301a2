package handler

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"openbank/bank"
	"openbank/environment"
	"openbank/health"
)

const (
	// maxRecord is the brokers' default for the largest record batch, in bytes.
	maxRecord = 1048588
	// maxLetter is the largest value of a dead letter, in bytes: with its headers it stays below maxRecord, or it would be
	// the next record that can't be handled.
	maxLetter = 1000000
	// letterRetention is how long dead letters are kept when we make the topic.
	letterRetention = 30 * 24 * time.Hour
)

// letters is where the dead letters of a command topic go: <topic>.dead-letter. A partition whose dead letter has nowhere
// to go waits at that record.
type letters struct {
	h          *Handler
	source     topic
	topic      string
	partitions atomic.Int32 // 0: the topic is not there (yet), or does not take what it is sent

	mu           sync.Mutex
	refusedUntil time.Time // when it may be tried again
	said         string    // the latest refusal, until a dead letter is taken

	takes   *health.Condition
	refused map[int32]int64 // where partitions of ours wait since a refusal: between two tries the topic looks as if it took dead letters
}

func newLetters(h *Handler, source topic) *letters {
	return &letters{h: h, source: source, topic: source.name + environment.DeadLetterSuffix, takes: h.cfg.Health.Condition(health.Kafka), refused: map[int32]int64{}}
}

func (d *letters) ready() bool { return d.partitions.Load() > 0 }

// refusedWait is the time between two tries to write to a dead letter topic that refuses.
const refusedWait = 5 * time.Second

// refuse notes that the topic did not take a dead letter: nothing is sent to it until await is over. The caller holds Handler.owned: a
// partition that is given up has no reason to wait.
func (d *letters) refuse(l *letter, err error) {
	d.partitions.Store(0)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refusedUntil = time.Now().Add(refusedWait)
	text := err.Error()
	if l.epoch.current.Load() {
		d.refused[l.epoch.partition] = l.offset
		d.takes.Fails(fmt.Sprintf("dead letters of %s are refused by %s: %s", d.source.name, d.topic, text))
	}
	if text != d.said {
		d.said = text
		d.h.log.Warn("a dead letter is refused: its partition waits", "dead_letter_topic", d.topic, "reason", text)
	}
}

func (d *letters) taken() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.said = ""
}

// passed notes that all records of a partition below next are published.
func (d *letters) passed(partition int32, next int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, waits := d.refused[partition]
	if !waits || next <= at {
		return
	}
	if delete(d.refused, partition); len(d.refused) == 0 {
		d.takes.Holds()
	}
}

// left notes that a partition is not ours any more.
func (d *letters) left(partition int32) { d.passed(partition, math.MaxInt64) }

// await waits until the topic is there, and for a while when it has just refused a dead letter.
func (d *letters) await(ctx context.Context) error {
	d.mu.Lock()
	wait := time.Until(d.refusedUntil)
	d.mu.Unlock()
	if wait > 0 && !pause(ctx, wait) {
		return context.Cause(ctx)
	}
	return d.h.until(ctx, d.h.log, awaitingLetterTopic, func() error { return d.create(ctx) })
}

// create makes the topic if it is missing, with as many partitions and replicas as its source.
func (d *letters) create(ctx context.Context) error {
	there, err := d.h.describe(ctx, []string{d.topic})
	var missing *missingTopics
	switch {
	case err == nil:
		d.partitions.Store(int32(there[d.topic].partitions))
		return nil
	case !errors.As(err, &missing):
		return err
	}
	err = d.h.producer.admin(ctx, func(ctx context.Context, client *kafka.AdminClient) error {
		made, err := client.CreateTopics(ctx, []kafka.TopicSpecification{{
			Topic: d.topic, NumPartitions: d.source.partitions, ReplicationFactor: d.source.replicas,
			Config: map[string]string{"retention.ms": strconv.FormatInt(letterRetention.Milliseconds(), 10)},
		}}, kafka.SetAdminRequestTimeout(adminTimeout))
		if err == nil && made[0].Error.Code() != kafka.ErrNoError && made[0].Error.Code() != kafka.ErrTopicAlreadyExists {
			err = made[0].Error
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("topic %s is missing and could not be created (%w): create it with %d partitions, or allow the handler to", d.topic, err, d.source.partitions)
	}
	there, err = d.h.describe(ctx, []string{d.topic})
	if err != nil {
		return err
	}
	d.partitions.Store(int32(there[d.topic].partitions))
	d.h.log.Info("dead letter topic is there", "dead_letter_topic", d.topic)
	return nil
}

// partition is where the dead letter of r goes: the number that r has at its source, where there are as many.
func (d *letters) partition(r *record) int32 {
	return r.epoch.partition % max(d.partitions.Load(), 1)
}

// errNoLetters says that a dead letter was not tried: the topic is not there.
var errNoLetters = errors.New("the topic is not there")

// letter is a dead letter on its way.
type letter struct {
	outgoing
	lane    *lane
	epoch   *epoch
	offset  int64
	command any
	reason  string
}

// hasLetters says whether there is a dead letter in the batches.
func hasLetters(batches []executed) bool {
	for _, b := range batches {
		for i := range b.records {
			if _, ok := b.records[i].letter(); ok {
				return true
			}
		}
	}
	return false
}

// lettersOf makes the dead letters of the batches.
func lettersOf(batches []executed) []*letter {
	var all []*letter
	for _, b := range batches {
		for i := range b.records {
			r := &b.records[i]
			if reason, ok := r.letter(); ok {
				all = append(all, &letter{
					outgoing: outgoing{letter: deadLetter(b.lane, r, reason), topic: &b.lane.letters.topic, err: errNoLetters},
					lane:     b.lane, epoch: r.epoch, offset: r.offset, command: r.command, reason: reason,
				})
			}
		}
	}
	return all
}

// refusedLetters are, for each epoch of which a dead letter was not taken, the offset of the first such record. Nothing at or behind it is
// published: its partition waits there.
type refusedLetters map[*epoch]int64

func (r refusedLetters) add(e *epoch, offset int64) {
	if first, ok := r[e]; !ok || offset < first {
		r[e] = offset
	}
}

// refuse adds a letter that its topic did not take, and has that wait. The caller holds Handler.owned.
func (r refusedLetters) refuse(l *letter, err error) {
	l.lane.letters.refuse(l, err)
	r.add(l.epoch, l.offset)
}

func (r refusedLetters) covers(e *epoch, offset int64) bool {
	first, ok := r[e]
	return ok && offset >= first
}

// sendLetters sends dead letters, and waits for them to be delivered. A refusal is the broker's word; a topic whose
// leader is away is waited for, like every other that is written to.
func (p *producer) sendLetters(ctx context.Context, all []*letter) (refusedLetters, error) {
	var open []*outgoing
	for _, l := range all {
		if l.lane.letters.ready() {
			open = append(open, &l.outgoing)
		}
	}
	err := p.h.until(ctx, p.h.log, publishingLetters, func() error {
		for len(open) > 0 {
			if err := p.attempt(ctx, open); err != nil {
				return err
			}
			if open = slices.DeleteFunc(open, func(o *outgoing) bool { return o.err == nil }); len(open) == 0 {
				return nil
			}
			if err := p.anew(&p.main); err != nil {
				return err
			}
			open = slices.DeleteFunc(open, func(o *outgoing) bool { return !o.isTooLarge() || !shorten(o.letter) })
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	refused := refusedLetters{}
	p.h.owned.Lock()
	defer p.h.owned.Unlock()
	for _, l := range all {
		if l.err == nil {
			l.taken()
			continue
		}
		refused.add(l.epoch, l.offset)
		if !errors.Is(l.err, errNoLetters) {
			l.lane.letters.refuse(l, l.err)
		}
	}
	return refused, nil
}

func (o *outgoing) isTooLarge() bool {
	return isKafka(o.err, kafka.ErrMsgSizeTooLarge, kafka.ErrInvalidMsgSize)
}

// taken logs a dead letter that is published.
func (l *letter) taken() {
	l.lane.letters.taken()
	attributes := []any{"reason", l.reason, "partition", l.epoch.partition, "offset", l.offset}
	if id, ok := commandID(l.command); ok {
		attributes = append(attributes, "command", id.String())
	}
	l.lane.log.Warn("dead letter", attributes...)
}

// reasonHeader is the first of a dead letter's own headers, which follow those that the record came with.
const reasonHeader = "dead-letter-reason"

// deadLetter is the dead letter of r: the original key, value and headers, and why and whence.
func deadLetter(l *lane, r *record, reason string) *kafka.Message {
	headers := make([]kafka.Header, len(r.headers), len(r.headers)+5)
	copy(headers, r.headers)
	add := func(key, value string) { headers = append(headers, kafka.Header{Key: key, Value: []byte(value)}) }
	add(reasonHeader, reason)
	add("dead-letter-topic", l.topic.name)
	add("dead-letter-partition", strconv.Itoa(int(r.epoch.partition)))
	add("dead-letter-offset", strconv.FormatInt(r.offset, 10))
	add("dead-letter-timestamp", strconv.FormatInt(r.sent, 10))
	letter := &kafka.Message{
		TopicPartition: kafka.TopicPartition{Topic: &l.letters.topic, Partition: l.letters.partition(r)},
		Key:            r.key, Value: r.value, Headers: headers,
	}
	if size(letter) > maxLetter {
		cut(letter, maxLetter)
	}
	return letter
}

func commandID(command any) (bank.ID, bool) {
	switch c := command.(type) {
	case *bank.ConfirmAccountCreation:
		return c.ID, true
	case *bank.ConfirmMoneyTransfer:
		return c.ID, true
	}
	return bank.ID{}, false
}

// size is about what a record takes on the wire, in bytes.
func size(m *kafka.Message) int {
	n := len(m.Key) + len(m.Value) + 100
	for _, h := range m.Headers {
		n += len(h.Key) + len(h.Value) + 10
	}
	return n
}

// cut shortens a dead letter to about limit bytes: the beginning of its value stays, and its length and hash go into
// headers. Headers and a key that alone are too large go as well.
func cut(m *kafka.Message, limit int) {
	own := len(m.Headers)
	for i, h := range m.Headers {
		if h.Key == reasonHeader {
			own = i // ours begin at the last one: the record may have come with any
		}
	}
	has := func(key string) bool {
		return slices.ContainsFunc(m.Headers[own:], func(h kafka.Header) bool { return h.Key == key })
	}
	if !has("dead-letter-value-length") {
		hash := sha256.Sum256(m.Value)
		m.Headers = append(m.Headers,
			kafka.Header{Key: "dead-letter-value-length", Value: strconv.AppendInt(nil, int64(len(m.Value)), 10)},
			kafka.Header{Key: "dead-letter-value-sha256", Value: []byte(hex.EncodeToString(hash[:]))})
	}
	if rest := size(m) - len(m.Value); rest > limit/2 {
		m.Headers = m.Headers[own:]
		own = 0
		if !has("dead-letter-headers-cut") {
			m.Headers = append(m.Headers, kafka.Header{Key: "dead-letter-headers-cut", Value: []byte("true")})
		}
		m.Key = m.Key[:min(len(m.Key), limit/4)]
	}
	m.Value = m.Value[:max(0, min(len(m.Value), limit-(size(m)-len(m.Value))))]
}

// shorten halves a dead letter that the broker finds too large, and says whether it could.
func shorten(m *kafka.Message) bool {
	was := size(m)
	cut(m, was/2)
	return size(m) < was
}
