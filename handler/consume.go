package handler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"openbank/crash"
	"openbank/health"
)

const (
	// roomWait bounds how long the Poll goroutine waits for the queue before it pauses the partitions: Pause throws away what
	// was prefetched, and Poll must be called for the group to go on.
	roomWait = 200 * time.Millisecond
	// leaveWait bounds the wait for a rebalance that takes our partitions when we leave, and for giveUpPlace.
	leaveWait = 2 * time.Second
	// leaveTold is the time that the client has to tell the group, which it does in the background, after a join that is under way: a
	// close before that would keep our place.
	leaveTold = 500 * time.Millisecond
	// leastQueue is the least of the queue's high-water mark in records, however small a batch may be: at a resumption half of it is
	// there to work on while the client fetches again, which takes a second on a loaded machine.
	leastQueue = 500
	// queueBytes is the queue's high-water mark in bytes, and with it about what a batch may have, of which several are in memory.
	// 1,000 ordinary commands have 0.9 MB, as record.size counts.
	queueBytes = 2 << 20
)

// lane is the way of one command topic up to the producer: a consumer, a queue and a Postgres connection.
type lane struct {
	h        *Handler
	log      *slog.Logger
	suffix   string // of its identities in Kafka
	topic    topic
	consumer *kafka.Consumer
	inUse    sync.RWMutex // held to write by whoever replaces consumer, to read by whoever uses it outside of the Poll goroutine
	setting  sync.Mutex   // held while the group's offsets are set: no partition is given up meanwhile. Before Handler.owned
	link     *link
	queue    *queue
	letters  *letters
	meter    *laneMeter
	joined   *health.Condition // the group has given us what is ours
	unpacks  *health.Condition // the client unpacks what it reads

	ctx    context.Context // done when the lane's consumer closes
	cancel context.CancelFunc

	taking     context.Context // done when nothing more is let into the queue
	endsTaking context.CancelFunc
	saving     sync.WaitGroup // what progressWhenIdle has begun

	background sync.WaitGroup // what asks Kafka or Postgres for the Poll goroutine

	control chan func()   // for the Poll goroutine
	drained chan struct{} // an epoch has nothing in flight any more

	holding atomic.Int64               // how many partitions are ours
	seen    atomic.Int32               // the most partitions that the topic was found to have
	member  atomic.Pointer[membership] // as of the last change of it that was told to us; the client may be further, in a place where partitions are another one's whose epochs are current here

	// The rest belongs to the Poll goroutine.
	epochs  map[int32]*epoch
	unasked time.Time // when a partition was taken out of the client the last time, which it may have taken for the answer to a revocation
	held    int       // epochs that wait for something
	taken   int64     // records
	paused  bool      // by back-pressure
	said    string
	packed  map[string]*packed // by what the client says of it

	endWatch   func() // ends watchShares
	orphanings int    // times in a row that the group was made to share out what was nobody's

	rejoining bool      // a fenced consumer is about to be replaced
	fencings  int       // soon after each other
	fencedAt  time.Time // the last of them

	// These belong to the execute goroutine.
	working map[*epoch]struct{} // epochs whose published_to Postgres may not hold yet
}

func newLane(h *Handler, suffix string, t topic) (*lane, error) {
	log := h.log.With("topic", t.name)
	l := &lane{
		h: h, log: log, suffix: suffix, topic: t, link: newLink(log, h.cfg.Kafka),
		queue:   newQueue(h.cfg.MaxBatch, max(h.cfg.MaxBatch, leastQueue), queueBytes),
		letters: newLetters(h, t),
		control: make(chan func(), 64), drained: make(chan struct{}, 1),
		epochs: map[int32]*epoch{}, packed: map[string]*packed{}, working: map[*epoch]struct{}{}, endWatch: func() {},
	}
	l.seen.Store(int32(t.partitions))
	l.link.condition = h.cfg.Health.Condition(health.Kafka)
	var err error
	if l.consumer, err = l.newConsumer(); err != nil {
		l.link.close()
		return nil, err
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.taking, l.endsTaking = context.WithCancel(context.Background())
	l.meter = h.meter.lane(t, l.queue)
	l.joined = h.cfg.Health.Condition(health.Group)
	l.unpacks = h.cfg.Health.Condition(health.Kafka)
	l.joined.Fails("group " + h.cfg.Group + " has not let it in for topic " + t.name + " yet")
	return l, nil
}

// newConsumer makes a member of the group that has not joined yet.
func (l *lane) newConsumer() (*kafka.Consumer, error) {
	h := l.h
	cfg := ConsumerSettings(h.cfg.Kafka, h.cfg.ClientID+"-"+l.suffix, h.cfg.Group, h.exactlyOnce, l.link.logs)
	cfg["max.poll.interval.ms"] = int(h.cfg.MaxPollInterval.Milliseconds())
	if h.static {
		cfg["group.instance.id"] = h.instanceID() + "-" + l.suffix
		// A look that finds more partitions has the client join again at once, even while it waits for us to give some up: they are another
		// one's then before we hear of it, and the client may never join again (librdkafka 2.15.1, rd_kafka_cgrp_metadata_update_check). The
		// probe looks instead.
		cfg["topic.metadata.refresh.interval.ms"] = -1
	}
	consumer, err := kafka.NewConsumer(&cfg)
	if err != nil {
		return nil, fmt.Errorf("making a Kafka consumer: %w", err)
	}
	return consumer, nil
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
	if err := l.subscribe(work); err != nil {
		l.h.fail(err)
	}
	l.background.Go(func() { l.probe(work) })
	stage := l.h.cfg.Health.Stage("reading " + l.topic.name)
	defer stage.Rests()
	for {
		stage.Moves()
		select {
		case <-stop:
			leaves := l.h.cfg.LeaveOnStop || l.h.idle
			if l.h.cfg.LeaveOnStop {
				l.leave(work)
			}
			l.cancel()
			l.background.Wait()
			if err := l.consumer.Close(); err != nil {
				l.log.Warn("closing the consumer", "error", err)
			}
			if leaves && work.Err() == nil {
				l.giveUpPlace(work)
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
		l.poll(work, wait)
		l.relieve()
		l.forgetUnpacked()
	}
}

// poll takes the client's next event, which it waits for at most wait milliseconds, after the call-backs that are due.
func (l *lane) poll(work context.Context, wait int) {
	switch e := l.consumer.Poll(wait).(type) {
	case *kafka.Message:
		l.take(e)
	case kafka.PartitionEOF:
		l.readToEnd(e)
	case kafka.Error:
		l.clientError(work, e)
	case kafka.OffsetsCommitted:
		l.committed(e)
	}
}

// subscribe joins the group.
func (l *lane) subscribe(work context.Context) error {
	if err := l.consumer.Subscribe(l.topic.name, l.rebalance(work)); err != nil {
		return fmt.Errorf("subscribing to %s: %w", l.topic.name, err)
	}
	return nil
}

// holds says whether any partition is ours, of either topic. A place without one need not be kept, and the group may be waiting for it: what
// another handler has just given up for us is nobody's until we have joined again, or count as gone.
func (h *Handler) holds() bool {
	return slices.ContainsFunc(h.lanes, func(l *lane) bool { return l.holding.Load() > 0 })
}

// leave has the group give our partitions to others at once. Close alone does not: a static member's place is kept for it.
func (l *lane) leave(work context.Context) {
	if err := l.consumer.Unsubscribe(); err != nil {
		l.log.Warn("leaving the group", "error", err)
		return
	}
	for end := time.Now().Add(leaveWait); len(l.epochs) > 0 && time.Now().Before(end); {
		l.poll(work, 50) // calls back to revoke
	}
	for end := time.Now().Add(leaveTold); time.Now().Before(end); {
		l.poll(work, 50) // returns at any event, and there may be some
	}
}

// stopTaking lets nothing more into the queue. What waits in it was not begun and is left to the next handler.
func (l *lane) stopTaking() {
	l.endsTaking()
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
	crash.Delivered(l.topic.name, e.partition, offset)
	crash.Point("before-consume", 1)
	polled := l.meter.now()
	r, err := l.h.decode(l.topic, m)
	r.polled = polled
	if l.taken++; timed(l.taken) {
		l.meter.decode.Update((l.meter.now() - polled).Seconds())
	}
	var unknown *unknownSchema
	if errors.As(err, &unknown) {
		l.meter.schemaWaits.Inc()
		l.hold(l.meter.schemaStalls, []*epoch{e}, func(ctx context.Context) ([]int64, error) {
			return []int64{offset}, l.h.learn(ctx, unknown)
		})
		return
	}
	if r.unreadable != "" && !l.letters.ready() {
		l.hold(l.meter.letterStalls, []*epoch{e}, func(ctx context.Context) ([]int64, error) {
			return []int64{offset}, l.letters.await(ctx)
		})
		return
	}
	r.epoch = e
	e.next, e.beginning = offset+1, false
	full := !l.queue.hasRoom(roomWait)
	e.inflight.Add(1)
	if !l.queue.put(r) {
		e.done(1)
		return
	}
	crash.Point("after-consume", 1)
	if full && !l.paused {
		l.paused = true
		l.log.Debug("the queue is full: partitions are paused")
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

// inflight is how many records are between Poll and published.
func (l *lane) inflight() (n int) {
	for _, e := range l.epochs {
		n += int(e.inflight.Load())
	}
	return n
}

// committed takes the report of a commit. What a rebalance refuses is ordinary: whoever has the partition now commits.
func (l *lane) committed(report kafka.OffsetsCommitted) {
	err := report.Error
	if err == nil {
		l.link.ok()
		for _, o := range report.Offsets {
			if e := l.epochs[o.Partition]; e != nil && o.Error == nil && o.Offset >= 0 {
				raise(&e.published, int64(o.Offset))
			}
		}
		if crash.Enabled {
			crash.Point("after-offset-commit", l.inflight())
		}
		return
	}
	if isKafka(err, kafka.ErrIllegalGeneration, kafka.ErrUnknownMemberID, kafka.ErrRebalanceInProgress, kafka.ErrNoOffset) {
		return
	}
	if text := err.Error(); text != l.said {
		l.said = text
		l.log.Warn("offsets can't be committed: after a restart work would be repeated", "error", text)
	}
}

// damaged ends the handler at records that are not what was written, of which the client does not say the partition: it may go on behind them.
func (l *lane) damaged(err error) {
	var at []string
	for _, e := range l.epochs {
		e.running = false
		at = append(at, fmt.Sprintf("%d at offset %d", e.partition, e.next))
	}
	slices.Sort(at)
	l.h.fail(fmt.Errorf("a broker has records of %s that are damaged (the partitions are %s): %w. Have a replica that has them whole lead the partition, or set the offset of group %s behind them and start with --skip-ahead",
		l.topic.name, strings.Join(at, ", "), err, l.h.cfg.Group))
}

// clientError takes an error event of the consumer.
func (l *lane) clientError(work context.Context, err kafka.Error) {
	switch {
	case err.IsFatal() && strings.Contains(err.Error(), kafka.ErrFencedInstanceID.String()): // its own code is that of any fatal error
		l.fenced(work)
	case err.IsFatal():
		l.h.fail(fmt.Errorf("the Kafka consumer of %s can't go on: %w", l.topic.name, err))
	case err.Code() == kafka.ErrBadMsg || err.Code() == kafka.ErrNotImplemented:
		l.damaged(err)
	case err.Code() == kafka.ErrBadCompression:
		l.cannotUnpack(err)
	case err.Code() == kafka.ErrAutoOffsetReset || err.Code() == kafka.ErrOffsetOutOfRange:
		l.checkOffsets(err)
	case err.Code() == kafka.ErrAllBrokersDown || err.Code() == kafka.ErrTransport || err.Code() == kafka.ErrSsl || err.Code() == kafka.ErrResolve:
		l.link.lost(err)
	default:
		text := err.Error()
		if err.Code() == kafka.ErrInconsistentGroupProtocol {
			text = otherAssignor(l.h.cfg.Group)
			l.joined.Fails(text)
		}
		if text != l.said {
			l.said = text
			l.log.Warn("Kafka consumer: waiting", "reason", text)
		}
	}
}
