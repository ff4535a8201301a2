package handler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"openbank/store"
)

const (
	// revokeWait bounds how long a partition that is taken from us waits for its work in flight.
	revokeWait = 5 * time.Second
	// roomWait bounds how long the Poll goroutine waits for the queue before it pauses the partitions: Pause throws away what
	// was prefetched, and Poll must be called for the group to go on.
	roomWait = 200 * time.Millisecond
	// queueBytes is the queue's high-water mark in bytes, for records of unusual size.
	queueBytes = 16 << 20
	// askTimeout bounds a question to the brokers, in milliseconds. It is asked again, and a stop waits for it.
	askTimeout = 2000
)

// lane is the way of one command topic up to the producer: a consumer, a queue and a Postgres connection.
type lane struct {
	h        *Handler
	log      *slog.Logger
	topic    topic
	consumer *kafka.Consumer
	link     *link
	queue    *queue
	letters  *letters

	ctx    context.Context // done when the lane's consumer closes
	cancel context.CancelFunc

	background sync.WaitGroup // what asks Kafka or Postgres for the Poll goroutine

	control chan func()   // for the Poll goroutine
	drained chan struct{} // an epoch has nothing in flight any more

	// The rest belongs to the Poll goroutine.
	epochs map[int32]*epoch
	held   int  // epochs that wait for something
	paused bool // by back-pressure
	said   string

	// These belong to the execute goroutine.
	working map[*epoch]struct{} // epochs whose published_to Postgres may not hold yet
}

func newLane(h *Handler, suffix string, t topic) (*lane, error) {
	log := h.log.With("topic", t.name)
	link := newLink(log)
	cfg := h.cfg.Kafka.config(h.cfg.ClientID+"-"+suffix, link.logs)
	for k, v := range (kafka.ConfigMap{
		"group.id":                      h.cfg.Group,
		"partition.assignment.strategy": "cooperative-sticky",
		"session.timeout.ms":            6000, // the brokers' minimum: how long a dead member's partitions stand still
		"heartbeat.interval.ms":         2000,
		"max.poll.interval.ms":          int(h.cfg.MaxPollInterval.Milliseconds()),
		"auto.offset.reset":             "error", // start offsets are chosen on assignment
		"enable.auto.offset.store":      false,   // stored once published
		"enable.auto.commit":            true,    // commits what is stored, for partitions that are ours only
		"auto.commit.interval.ms":       100,
		// Small prefetch: memory outside of Go's heap. With small queues the back-off of 1 s would stall the fetcher.
		"queued.min.messages":        10000,
		"queued.max.messages.kbytes": 4096,
		"fetch.max.bytes":            4 << 20,
		"max.partition.fetch.bytes":  1 << 20,
		"fetch.queue.backoff.ms":     5,
		"fetch.error.backoff.ms":     50,
	}) {
		cfg[k] = v
	}
	consumer, err := kafka.NewConsumer(&cfg)
	if err != nil {
		link.close()
		return nil, fmt.Errorf("making a Kafka consumer: %w", err)
	}
	l := &lane{
		h: h, log: log, topic: t, consumer: consumer, link: link,
		queue:   newQueue(2*h.cfg.MaxBatch, queueBytes),
		letters: newLetters(h, t),
		control: make(chan func(), 64), drained: make(chan struct{}, 1),
		epochs: map[int32]*epoch{}, working: map[*epoch]struct{}{},
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l, nil
}

// abandon closes a lane whose goroutines were not started.
func (l *lane) abandon() {
	l.cancel()
	_ = l.consumer.Close()
	l.link.close()
}

// consume is the Poll goroutine, the only one that calls Poll, Assign, Unassign, Pause, Resume, Seek and Close. It works
// until stop is closed, then leaves the group.
func (l *lane) consume(work context.Context, stop <-chan struct{}) {
	defer l.link.close()
	if err := l.consumer.Subscribe(l.topic.name, l.rebalance(work)); err != nil {
		l.h.fail(fmt.Errorf("subscribing to %s: %w", l.topic.name, err))
	}
	for {
		select {
		case <-stop:
			l.cancel()
			l.background.Wait()
			if err := l.consumer.Close(); err != nil {
				l.log.Warn("closing the consumer", "error", err)
			}
			return
		case f := <-l.control:
			f()
			continue
		default:
		}
		wait := 100
		if l.paused || l.held > 0 {
			wait = 5 // a resumption is near
		}
		switch e := l.consumer.Poll(wait).(type) {
		case *kafka.Message:
			l.take(e)
		case kafka.Error:
			l.clientError(e)
		case kafka.OffsetsCommitted:
			if e.Error != nil {
				l.log.Debug("committing offsets", "error", e.Error)
			}
		}
		l.relieve()
	}
}

// stopTaking lets nothing more into the queue. What waits in it was not begun and is left to the next handler.
func (l *lane) stopTaking() {
	for _, r := range l.queue.close() {
		r.epoch.done(1)
	}
}

// post runs f on the Poll goroutine, unless the lane closes first.
func (l *lane) post(f func()) {
	select {
	case l.control <- f:
	case <-l.ctx.Done():
	}
}

// take brings a record into the queue, or holds its partition where something that the record needs is away.
func (l *lane) take(m *kafka.Message) {
	e := l.epochs[m.TopicPartition.Partition]
	offset := int64(m.TopicPartition.Offset)
	if e == nil || !e.running || offset < e.next || m.TopicPartition.Error != nil {
		return // left over from before a pause or a seek
	}
	l.link.ok()
	l.said = ""
	r, err := l.h.decode(l.topic, m)
	var unknown *unknownSchema
	if errors.As(err, &unknown) {
		l.hold([]*epoch{e}, func(ctx context.Context) ([]int64, error) {
			return []int64{offset}, l.h.learn(ctx, unknown.id)
		})
		return
	}
	if r.unreadable != "" && !l.letters.ready() {
		l.hold([]*epoch{e}, func(ctx context.Context) ([]int64, error) {
			return []int64{offset}, l.letters.await(ctx)
		})
		return
	}
	r.epoch = e
	e.next = offset + 1
	full := !l.queue.hasRoom(roomWait)
	e.inflight.Add(1)
	if !l.queue.put(r) {
		e.done(1)
		return
	}
	if full && !l.paused {
		l.paused = true
		l.pausing(l.consumer.Pause)
	}
}

// relieve ends a pause when half of the queue is free again.
func (l *lane) relieve() {
	if l.paused && l.queue.load() < 0.5 {
		l.paused = false
		l.pausing(l.consumer.Resume)
	}
}

func (l *lane) pausing(call func([]kafka.TopicPartition) error) {
	var running []kafka.TopicPartition
	for _, e := range l.epochs {
		if e.running {
			running = append(running, l.at(e.partition, kafka.OffsetInvalid))
		}
	}
	if err := call(running); err != nil {
		l.log.Debug("pausing or resuming", "error", err)
	}
}

func (l *lane) at(partition int32, offset kafka.Offset) kafka.TopicPartition {
	return kafka.TopicPartition{Topic: &l.topic.name, Partition: partition, Offset: offset}
}

// hold stops the epochs' partitions until wait, off the Poll goroutine, has found where each goes on. An error of wait is fatal
// unless its context ended.
func (l *lane) hold(epochs []*epoch, wait func(context.Context) ([]int64, error)) {
	partitions := make([]kafka.TopicPartition, len(epochs))
	for i, e := range epochs {
		e.running = false
		partitions[i] = l.at(e.partition, kafka.OffsetInvalid)
	}
	if err := l.consumer.Pause(partitions); err != nil {
		l.log.Debug("pausing", "error", err)
	}
	l.held++
	ctx := l.ctx
	if len(epochs) == 1 {
		ctx = epochs[0].ctx
	}
	l.background.Go(func() {
		offsets, err := wait(ctx)
		l.post(func() {
			l.held--
			switch {
			case ctx.Err() != nil:
			case err != nil:
				l.h.fail(err)
			default:
				for i, e := range epochs {
					l.release(e, offsets[i])
				}
			}
		})
	})
}

// release lets a held partition go on at offset.
func (l *lane) release(e *epoch, offset int64) {
	if !e.current.Load() {
		return
	}
	at := []kafka.TopicPartition{l.at(e.partition, kafka.Offset(offset))}
	sought, err := l.consumer.SeekPartitions(at)
	if err == nil && sought[0].Error != nil {
		err = sought[0].Error
	}
	if err != nil {
		// The fetcher of a new assignment starts in the background and can't be sought before: once more, soon.
		l.log.Debug("seeking", "partition", e.partition, "offset", offset, "error", err)
		l.held++
		time.AfterFunc(20*time.Millisecond, func() {
			l.post(func() { l.held--; l.release(e, offset) })
		})
		return
	}
	e.next = max(offset, 0)
	e.running = true
	if !l.paused {
		if err := l.consumer.Resume(at); err != nil {
			l.log.Debug("resuming", "error", err)
		}
	}
}

// reopen begins a new epoch of a partition at offset after the old one was retired while the partition stayed ours.
func (l *lane) reopen(old *epoch, offset int64, wait func(context.Context) error) {
	if l.epochs[old.partition] != old {
		return // lost meanwhile
	}
	e := l.newEpoch(old.partition)
	e.published.Store(old.published.Load())
	l.epochs[e.partition] = e
	l.hold([]*epoch{e}, func(ctx context.Context) ([]int64, error) { return []int64{offset}, wait(ctx) })
}

// rebalance is called back from Poll and Close.
func (l *lane) rebalance(work context.Context) kafka.RebalanceCb {
	return func(c *kafka.Consumer, event kafka.Event) error {
		var err error
		switch e := event.(type) {
		case kafka.AssignedPartitions:
			err = l.assigned(e.Partitions)
		case kafka.RevokedPartitions:
			err = l.revoked(work, e.Partitions, c.AssignmentLost())
		}
		if err != nil {
			l.h.fail(fmt.Errorf("taking part in group %s: %w", l.h.cfg.Group, err))
		}
		return nil // the library ignores it
	}
}

// assigned begins an epoch for each partition. Where it starts is asked of Kafka and Postgres, which may be away: so the
// partitions are assigned paused, and sought when the answer is there.
func (l *lane) assigned(partitions []kafka.TopicPartition) error {
	l.link.ok()
	if len(partitions) == 0 {
		return l.consumer.IncrementalAssign(partitions)
	}
	epochs := make([]*epoch, len(partitions))
	for i := range partitions {
		partitions[i].Offset = 0 // any: it is sought before it is resumed
		epochs[i] = l.newEpoch(partitions[i].Partition)
		l.epochs[epochs[i].partition] = epochs[i]
	}
	if err := l.consumer.IncrementalAssign(partitions); err != nil {
		return err
	}
	l.log.Info("partitions assigned", "partitions", numbers(partitions))
	l.hold(epochs, func(ctx context.Context) ([]int64, error) { return l.starts(ctx, epochs) })
	return nil
}

// revoked ends the epochs of partitions that go to another member. Unless they are lost already, their work in flight is
// finished first, for at most revokeWait.
func (l *lane) revoked(work context.Context, partitions []kafka.TopicPartition, lost bool) error {
	var ending []*epoch
	for _, p := range partitions {
		if e := l.epochs[p.Partition]; e != nil {
			e.running = false
			ending = append(ending, e)
		}
	}
	if !lost {
		l.awaitDrained(work, ending)
	}
	l.h.owned.Lock()
	for _, e := range ending {
		e.retire()
		delete(l.epochs, e.partition)
	}
	l.h.owned.Unlock()
	if len(partitions) > 0 {
		l.log.Info("partitions revoked", "partitions", numbers(partitions), "lost", lost)
	}
	return l.consumer.IncrementalUnassign(partitions)
}

func (l *lane) awaitDrained(work context.Context, epochs []*epoch) {
	timeout := time.NewTimer(revokeWait)
	defer timeout.Stop()
	for _, e := range epochs {
		for e.inflight.Load() > 0 {
			select {
			case <-l.drained:
			case <-timeout.C:
				l.log.Warn("a partition was taken from us with work in flight: another handler repeats it", "partition", e.partition)
				return
			case <-work.Done():
				return
			}
		}
	}
}

// starts finds where each epoch begins to read: at the group's committed offset, or at the beginning when there is none.
func (l *lane) starts(ctx context.Context, epochs []*epoch) ([]int64, error) {
	asked := make([]kafka.TopicPartition, len(epochs))
	for i, e := range epochs {
		asked[i] = l.at(e.partition, kafka.OffsetInvalid)
	}
	var committed []kafka.TopicPartition
	err := until(ctx, l.log, "reading the group's committed offsets", func() (err error) {
		committed, err = l.consumer.Committed(asked, askTimeout)
		return err
	})
	if err != nil {
		return nil, err
	}
	progress, err := l.h.store.ReadProgress(ctx, l.topic.name)
	if err != nil {
		return nil, err
	}
	published := map[int32]store.Progress{}
	for _, p := range progress {
		if p.TopicID == l.topic.id {
			published[p.Partition] = p
		}
	}
	offsets := make([]int64, len(epochs))
	for i, e := range epochs {
		offset := int64(committed[i].Offset)
		if offset < 0 {
			offset = int64(kafka.OffsetBeginning)
		}
		offsets[i] = offset
		to := max(offset, 0)
		if p, ok := published[e.partition]; ok {
			e.saved = p.PublishedTo
			to = max(to, p.PublishedTo)
		}
		e.published.Store(to)
	}
	return offsets, nil
}

// clientError takes an error event of the consumer.
func (l *lane) clientError(err kafka.Error) {
	switch {
	case err.IsFatal():
		l.h.fail(fmt.Errorf("the Kafka consumer of %s can't go on: %w", l.topic.name, err))
	case err.Code() == kafka.ErrAutoOffsetReset || err.Code() == kafka.ErrOffsetOutOfRange:
		l.checkRetention(err)
	case err.Code() == kafka.ErrAllBrokersDown || err.Code() == kafka.ErrTransport || err.Code() == kafka.ErrSsl || err.Code() == kafka.ErrResolve:
		l.link.lost(err)
	default:
		if text := err.Error(); text != l.said {
			l.said = text
			l.log.Warn("Kafka consumer: waiting", "reason", text)
		}
	}
}

// checkRetention ends the handler when records were deleted before they were read: to go on would skip commands unseen.
func (l *lane) checkRetention(cause error) {
	type position struct {
		e    *epoch
		next int64
	}
	var positions []position
	for _, e := range l.epochs {
		if e.running {
			positions = append(positions, position{e, e.next})
		}
	}
	l.background.Go(func() {
		for _, p := range positions {
			low, _, err := l.consumer.QueryWatermarkOffsets(l.topic.name, p.e.partition, askTimeout)
			if err != nil || low <= p.next || !p.e.current.Load() {
				continue
			}
			l.h.fail(fmt.Errorf("partition %d of %s: the next record to handle is at offset %d, but the log begins at %d: retention has deleted commands that were never handled (%w). "+
				"Set the offset of group %s to %d to go on without them", p.e.partition, l.topic.name, p.next, low, cause, l.h.cfg.Group, low))
			return
		}
	})
}

func numbers(partitions []kafka.TopicPartition) []int32 {
	n := make([]int32, len(partitions))
	for i, p := range partitions {
		n[i] = p.Partition
	}
	return n
}
