package handler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"openbank/crash"
	"openbank/health"
)

const (
	// transactionTimeout is after how long the brokers abort a transaction that nobody ends: above the time that a broker's
	// fail-over takes (up to 11 s), since the client takes an aborted transaction for fencing.
	transactionTimeout = 20 * time.Second
	// callTime bounds one call about a transaction, which is then made again.
	callTime = 5 * time.Second
	// overtime is what a call may take beyond that before it is given up on.
	overtime = time.Second
	// callPause is the pause before that.
	callPause = 20 * time.Millisecond
)

// brokenProducer says that the client has failed for good, as when the brokers took it for fenced.
type brokenProducer struct{ error }

func (e *brokenProducer) Unwrap() error { return e.error }

// publishOnce publishes everything of the batches that is still ours, offsets included, in one transaction. One that is aborted, as is
// ordinary when partitions change hands, is begun anew with the same batches less what was lost; the next batches wait.
func (p *producer) publishOnce(ctx context.Context, batches []executed) (refusedLetters, error) {
	letters, refused := map[place]*letter{}, refusedLetters{}
	for _, l := range lettersOf(batches) {
		letters[place{l.epoch, l.offset}] = l
	}
	err := p.h.until(ctx, p.h.log, publishing, func() error {
		err := p.transact(ctx, batches, letters, refused)
		var broken *brokenProducer
		if errors.As(err, &broken) {
			p.h.log.Warn("the transactional producer failed: a new one goes on", "reason", broken.error)
			if isFencing(broken.error) {
				p.h.meter.producerFenced.Inc()
			}
			if err := p.begin(ctx); err != nil {
				return err
			}
			if err := p.settled(ctx, batches); err != nil {
				return err
			}
			return ordinary{err}
		}
		return err
	})
	return refused, err
}

// place is where a record stood.
type place struct {
	epoch  *epoch
	offset int64
}

// transact tries it once. It holds Handler.owned from the moment it leaves out what is no longer ours until the
// transaction has ended: a partition that is given up meanwhile was published by us or is not.
func (p *producer) transact(ctx context.Context, batches []executed, letters map[place]*letter, refused refusedLetters) error {
	p.h.owned.Lock()
	defer p.h.owned.Unlock()
	for i := range batches {
		batches[i].records = dropStale(batches[i].records)
		for j := range batches[i].records {
			r := &batches[i].records[j]
			if l := letters[place{r.epoch, r.offset}]; l != nil && !l.lane.letters.ready() {
				refused.add(l.epoch, l.offset)
			}
		}
	}
	n := 0
	for i := range batches {
		batches[i].records = dropRefused(refused, batches[i].records)
		n += len(batches[i].records)
	}
	if n == 0 {
		return nil
	}
	if err := p.h.holdsSlot(); err != nil {
		return err
	}
	var sent []*letter
	for _, b := range batches {
		for i := range b.records {
			if l := letters[place{b.records[i].epoch, b.records[i].offset}]; l != nil {
				sent = append(sent, l)
			}
		}
	}

	crash.Point("before-begin-transaction", n)
	if err := p.main.client.BeginTransaction(); err != nil {
		return &brokenProducer{fmt.Errorf("beginning a transaction: %w", err)}
	}
	crash.Point("after-begin-transaction", n)
	reports := 0
	if p.told {
		reports = len(sent)
	}
	f := newFlight(reports)
	for _, l := range sent {
		l.err = nil
	}
	for _, l := range sent[:reports] {
		l.flight, l.named = f, true
	}
	err := p.finishOffsets(ctx, batches)
	if err == nil {
		err = p.produceAll(ctx, f, batches, n, sent)
	} else {
		f.done(int64(reports))
	}
	if err == nil {
		err = f.err()
	}
	if err == nil {
		err = p.commit(ctx, n)
	}
	if err != nil {
		return p.abort(ctx, f, sent, refused, err)
	}
	if err := f.wait(ctx); err != nil {
		return err
	}
	p.link.ok()
	now := time.Now()
	p.h.hanging.published.Store(&now)
	p.h.meter.transactions.Inc()
	for _, b := range batches {
		p.finish(b)
	}
	for _, l := range sent {
		l.taken()
	}
	return nil
}

// finishOffsets sends the offsets that the batches finish. It comes before the records: until the brokers have written the end of the last
// transaction into every partition, the client asks again about offsets after retry.backoff.ms, and about partitions after 20 ms. Whoever
// gets one of the partitions meanwhile waits for the end of a transaction that has offsets of it, and if it has them already, we have
// written nothing that readers of uncommitted records would see.
func (p *producer) finishOffsets(ctx context.Context, batches []executed) error {
	for _, l := range p.h.lanes {
		var offsets []kafka.TopicPartition
		for e, next := range ends(l, batches) {
			offsets = append(offsets, l.at(e.partition, kafka.Offset(next)))
		}
		if len(offsets) == 0 {
			continue
		}
		var member *membership
		err := l.ask(func(c *kafka.Consumer) (err error) {
			if c.AssignmentLost() {
				return ordinary{errors.New("the partitions are lost")} // and their epochs about to end
			}
			if member = l.member.Load(); member == nil {
				return ordinary{errors.New("our place in the group is not known")}
			}
			return nil
		})
		if err != nil {
			return err
		}
		crash.Point("before-send-offsets", len(offsets))
		if err := p.h.insist(ctx, func(ctx context.Context) error { return p.sendOffsets(ctx, offsets, member.metadata) }); err != nil {
			return fmt.Errorf("sending the offsets of %s: %w", l.topic.name, err)
		}
		crash.Point("after-send-offsets", len(offsets))
	}
	return nil
}

// sendOffsets bounds a call that the client does not: when the group's coordinator goes away it can wait for a connection to it until
// some other broker comes or goes (librdkafka 2.15.1, its issues 5456 and 5511), and hold up every partition of the group meanwhile.
// The call is given up on then, and with it the client.
func (p *producer) sendOffsets(ctx context.Context, offsets []kafka.TopicPartition, member *kafka.ConsumerGroupMetadata) error {
	client, returned := p.main.client, make(chan error, 1)
	go func() { returned <- client.SendOffsetsToTransaction(ctx, offsets, member) }()
	select {
	case err := <-returned:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-returned: // it has the same limit, and may keep it
		return err
	case <-time.After(overtime):
	}
	p.main.stuck = returned
	return fmt.Errorf("the client does not return from it within %s", callTime+overtime)
}

// ends are the next offsets after a lane's records in the batches.
func ends(l *lane, batches []executed) map[*epoch]int64 {
	next := map[*epoch]int64{}
	for _, b := range batches {
		if b.lane != l {
			continue
		}
		for i := range b.records {
			next[b.records[i].epoch] = b.records[i].offset + 1
		}
	}
	return next
}

func (p *producer) commit(ctx context.Context, n int) error {
	crash.Point("before-transaction-commit", n)
	if err := p.h.insist(ctx, p.main.client.CommitTransaction); err != nil {
		return fmt.Errorf("committing the transaction: %w", err)
	}
	crash.Point("after-transaction-commit", n)
	return nil
}

// abort ends a transaction that failed for a cause, and finds out which dead letters the brokers refuse.
func (p *producer) abort(ctx context.Context, f *flight, letters []*letter, refused refusedLetters, cause error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx) // the brokers abort it, or whoever takes our identity does
	}
	why := otherCause
	if errors.As(cause, new(ordinary)) { // the partitions are lost
		why = rebalanced
	}
	defer func() { p.h.meter.aborts[why].Inc() }()
	if p.main.stuck != nil {
		return &brokenProducer{cause}
	}
	if fatal := p.main.client.GetFatalError(); fatal != nil {
		if isFencing(fatal) {
			why = producerFenced
		}
		return &brokenProducer{fmt.Errorf("%w: %w", cause, fatal)}
	}
	// The client takes it for a failure of this one transaction when it hears of it from a request about offsets, and would be refused
	// in every other one as well.
	if isFencing(cause) {
		why = producerFenced
		return &brokenProducer{cause}
	}
	if err := p.h.insist(ctx, p.main.client.AbortTransaction); err != nil {
		return &brokenProducer{fmt.Errorf("%w; aborting the transaction: %w", cause, err)}
	}
	if err := f.wait(ctx); err != nil {
		return err
	}
	if isKafka(cause, kafka.ErrUnknownTopicOrPart) && len(letters) > 0 {
		// It may be theirs, made anew with fewer partitions than we know of: they are looked at again before they are sent.
		for _, l := range letters {
			refused.refuse(l, cause)
		}
		why = letterRefused
		return ordinary{cause}
	}
	switch {
	case isKafka(cause, kafka.ErrIllegalGeneration, kafka.ErrUnknownMemberID, kafka.ErrRebalanceInProgress, kafka.ErrFencedInstanceID):
		why = rebalanced
		return ordinary{cause}
	case len(letters) > 0 && !p.told && why != rebalanced && f.err() == nil:
		// It may be for a dead letter: the next client is to say of each why it is not taken. Reports on everything would cost a tenth of
		// the handler's time, and the library can't make them for some records alone.
		p.told = true
		return &brokenProducer{fmt.Errorf("a dead letter may be at fault, and this client reports on none: %w", cause)}
	}
	named := false
	for _, l := range letters {
		switch {
		case l.err == nil || isKafka(l.err, kafka.ErrPurgeQueue, kafka.ErrPurgeInflight, kafka.ErrMsgTimedOut, kafka.ErrState):
		case l.isTooLarge() && shorten(l.letter):
			named = true
		default:
			refused.refuse(l, l.err)
			named = true
		}
	}
	if !named && len(letters) > 0 && isKafka(cause, kafka.ErrTopicAuthorizationFailed) {
		// Brokers refuse a topic when it is added to the transaction, before a letter is sent, and do not say which. If it is not the letters',
		// the transaction without them tells.
		for _, l := range letters {
			refused.refuse(l, fmt.Errorf("it, or another topic of the transaction: %w", brokerError(int16(kafka.ErrTopicAuthorizationFailed))))
		}
		named = true
	}
	if named {
		why = letterRefused
		return ordinary{cause}
	}
	return cause
}

// isFencing says whether the brokers hold our identity for another producer's.
func isFencing(err error) bool {
	return isKafka(err, kafka.ErrFenced, kafka.ErrProducerFenced, kafka.ErrInvalidProducerEpoch)
}

// insist makes a call again for as long as its error is one of those that repeating mends.
func (h *Handler) insist(ctx context.Context, call func(context.Context) error) error {
	var condition *health.Condition
	defer func() {
		if condition != nil {
			condition.Ends()
		}
	}()
	for {
		limited, cancel := context.WithTimeout(ctx, callTime)
		err := call(limited)
		cancel()
		var k kafka.Error
		if err == nil || !errors.As(err, &k) || k.IsFatal() || k.TxnRequiresAbort() || !k.IsRetriable() {
			return err
		}
		if condition == nil {
			condition = h.cfg.Health.Condition(health.Kafka)
		}
		condition.Fails("a transaction waits for the brokers: " + err.Error())
		if !pause(ctx, callPause) {
			return context.Cause(ctx)
		}
	}
}
