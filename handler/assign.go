package handler

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"openbank/store"
)

const (
	// revokeWait bounds how long a partition that is taken from us waits for its work in flight.
	revokeWait = 5 * time.Second
	// answeredAlready is for how long after takeOut a revocation may be one that it has answered.
	answeredAlready = 30 * time.Second
	// askTimeout bounds a question to the brokers, in milliseconds. It is asked again, and a stop may wait for it.
	askTimeout = 2000
)

// rebalance is called back from Poll and Close.
func (l *lane) rebalance(work context.Context) kafka.RebalanceCb {
	return func(c *kafka.Consumer, event kafka.Event) error {
		if l.rejoining || c != l.consumer { // it is fenced, and what it had is forgotten
			_ = c.IncrementalUnassign(nil)
			return nil
		}
		var err error
		switch e := event.(type) {
		case kafka.AssignedPartitions:
			err = l.assigned(work, e.Partitions)
		case kafka.RevokedPartitions:
			err = l.revoked(work, e.Partitions, c.AssignmentLost())
		}
		if err != nil && !isKafka(err, kafka.ErrFatal) { // which Poll tells with its reason
			l.h.fail(fmt.Errorf("taking part in group %s: %w", l.h.cfg.Group, err))
		}
		return nil // the library ignores it
	}
}

// assigned begins an epoch for each partition. Where it starts is asked of Kafka and Postgres, which may be away: so the
// client gets a partition only when the answer is there. The group is told that the assignment is taken.
//
// What a client claims that the group had given up, the group can give it in the generation in which it asks another handler to give it up,
// which that one has the time of revokeWait for: such partitions are not begun. Whoever joins without a claim gets them in the next one.
func (l *lane) assigned(work context.Context, partitions []kafka.TopicPartition) error {
	l.link.ok()
	if l.closes() {
		return l.consumer.IncrementalAssign(nil)
	}
	now := l.membership(l.consumer) // in which the client stays until it is answered
	if err := l.consumer.IncrementalAssign(nil); err != nil {
		return err
	}
	var ending []*epoch
	interrupted := !now.continues(l.member.Load())
	for partition, e := range l.epochs {
		again := slices.ContainsFunc(partitions, func(p kafka.TopicPartition) bool { return p.Partition == partition }) // the client does not do that
		if again || interrupted || time.Since(l.unasked) < answeredAlready {
			ending = append(ending, e)
		}
	}
	if len(ending) > 0 {
		l.retire(ending) // waits for a transaction that is under way
	}
	l.member.Store(now)
	l.joined.Holds()
	l.meter.assigned.Inc()
	l.watchShares(work)
	var epochs []*epoch
	for _, old := range ending {
		e := l.newEpoch(old.partition)
		e.assigned = old.assigned
		l.epochs[e.partition] = e
		epochs = append(epochs, e)
	}
	for _, p := range partitions {
		if l.epochs[p.Partition] == nil {
			e := l.newEpoch(p.Partition)
			l.epochs[e.partition] = e
			epochs = append(epochs, e)
		}
	}
	if len(epochs) == 0 {
		l.standBy()
		return nil
	}
	if len(ending) > 0 && interrupted {
		l.count()
		l.meter.lost.Inc()
		l.log.Warn("the group had given our place up: leaving it and joining it again, since another handler may be about to give up what we have of it", "partitions", numbers(ending))
		l.background.Go(func() { l.post(func() { l.joinAgain(work) }) }) // which can't be done in a call-back
		return nil
	}
	l.log.Info("partitions assigned", "partitions", numbers(epochs))
	l.count()
	l.begin(epochs)
	return nil
}

// begin has epochs go on once it is known where. Those that have to wait for the end of a transaction keep no other one waiting.
func (l *lane) begin(epochs []*epoch) {
	l.hold(l.meter.startStalls, epochs, func(ctx context.Context) ([]int64, error) {
		offsets, err := l.starts(ctx, epochs)
		if err != nil {
			return nil, err
		}
		var waiting []*epoch
		for i, e := range epochs {
			if offsets[i] == staysHeld {
				waiting = append(waiting, e)
			}
		}
		if len(waiting) > 0 {
			l.post(func() {
				waiting = slices.DeleteFunc(waiting, func(e *epoch) bool { return !e.current.Load() })
				if len(waiting) > 0 {
					l.begin(waiting)
				}
			})
		}
		return offsets, nil
	})
}

// revoked ends the epochs of partitions that go to another member. Unless they are lost already, or may be another one's, their work in
// flight is finished first, for at most revokeWait.
func (l *lane) revoked(work context.Context, partitions []kafka.TopicPartition, lost bool) error {
	l.endWatch()
	var ending []*epoch
	for _, p := range partitions {
		if e := l.epochs[p.Partition]; e != nil {
			e.running = false
			ending = append(ending, e)
		}
	}
	if !lost && !l.closes() { // what was to be published is, when it closes
		wait := revokeWait
		now := l.membership(l.consumer)
		if time.Since(l.unasked) < answeredAlready || !now.continues(l.member.Load()) {
			wait = 0
		} else {
			l.member.Store(now) // in whose generation they are ours still
		}
		l.awaitDrained(work, ending, wait)
	}
	l.retire(ending)
	if lost {
		l.meter.lost.Inc()
		l.joined.Fails("group " + l.h.cfg.Group + " has taken its partitions of topic " + l.topic.name + ": it joins again")
	} else {
		l.meter.revoked.Inc()
	}
	if len(ending) > 0 {
		l.log.Info("partitions revoked", "partitions", numbers(ending), "lost", lost)
	}
	return l.consumer.IncrementalUnassign(l.fetched(ending))
}

// closes says whether the consumer is being closed. It must not be asked for its membership then: librdkafka 2.15.1 may throw the question away
// as the group's part of it ends, and whoever asks would wait for good.
func (l *lane) closes() bool { return l.ctx.Err() != nil }

// fetched are those of the epochs' partitions that the client fetches.
func (l *lane) fetched(epochs []*epoch) (partitions []kafka.TopicPartition) {
	for _, e := range epochs {
		if e.assigned {
			partitions = append(partitions, l.at(e.partition, kafka.OffsetInvalid))
		}
	}
	return partitions
}

// retire ends epochs: nothing of them is published from here on, and no offset of them set.
func (l *lane) retire(ending []*epoch) {
	l.setting.Lock()
	defer l.setting.Unlock()
	l.h.owned.Lock()
	defer l.h.owned.Unlock()
	for _, e := range ending {
		e.retire()
		delete(l.epochs, e.partition)
		l.meter.forget(l.topic, e.partition)
		l.letters.left(e.partition)
	}
	l.count()
}

// count notes how many partitions are ours, for others to read.
func (l *lane) count() {
	l.holding.Store(int64(len(l.epochs)))
	l.meter.partitions.Set(float64(len(l.epochs)))
}

func (l *lane) awaitDrained(work context.Context, epochs []*epoch, wait time.Duration) {
	timeout := time.NewTimer(wait)
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

// starts finds where each epoch begins to read, and writes down what the committed offsets say of what was published. It is staysHeld where
// they don't say it yet.
func (l *lane) starts(ctx context.Context, epochs []*epoch) ([]int64, error) {
	if err := l.findTopic(ctx); err != nil {
		return nil, err
	}
	committed, err := l.committedOffsets(ctx, epochs, true)
	if err != nil {
		return nil, err
	}
	if err := l.h.takeOver(ctx); err != nil {
		return nil, err
	}
	progress, err := l.h.store.ReadProgress(ctx, l.topic.name)
	if err != nil {
		return nil, err
	}
	offsets := make([]int64, len(epochs))
	var known []store.Progress
	var unknown []*epoch
	rewound := map[*epoch]int64{}
	for i, e := range epochs {
		next, stable := committed[e]
		if !stable {
			offsets[i] = staysHeld
			continue
		}
		s, err := l.compare(e.partition, next, progress, l.h.store.TakenOver())
		if err != nil {
			return nil, err
		}
		offsets[i] = s.offset
		if p := l.unnamed(e.partition, next, progress); p != nil {
			e.beforeIDs = p.ExecutedTo
		}
		if next < 0 && s.published < 0 {
			unknown = append(unknown, e)
		}
		if 0 <= s.offset && s.offset < next {
			rewound[e] = s.offset
		}
		e.published.Store(max(s.published, 0))
		e.finished.Store(max(s.published, 0))
		e.saved = s.published
		if s.published > noOffset {
			known = append(known, store.Progress{Topic: l.topic.name, TopicID: l.topic.id, Partition: e.partition, ExecutedTo: s.executed, PublishedTo: s.published})
		}
	}
	if len(known) > 0 {
		if err := l.h.store.SaveProgress(ctx, known); err != nil {
			return nil, err
		}
	}
	l.warnOfHistory(ctx, unknown)
	// What is executed from there on and not published would otherwise lie below the group's offsets, and be taken for published after a crash.
	return offsets, l.setOffsets(ctx, rewound)
}

// warnOfHistory tells whoever took a bank over with another group than its handler had, as far as that can be seen: nothing is known of how
// far these partitions were handled, and they are read from their beginning.
func (l *lane) warnOfHistory(ctx context.Context, unknown []*epoch) {
	if len(unknown) == 0 || !l.h.store.TakenOver() {
		return
	}
	var records int64
	for _, e := range unknown {
		low, high, err := l.bounds(ctx, e)
		if err != nil {
			return
		}
		records += max(high-low, 0)
	}
	if records > 0 {
		l.log.Warn("the bank was another handler's, and this group has no offsets: the topic is read from its beginning. What was handled before is answered again, and not executed again. "+
			"If the former handler had another group, stop this one, set KAFKA_GROUP to that group, and start it again",
			"group", l.h.cfg.Group, "records", records, "partitions", len(unknown))
	}
}

// bounds are the offsets at which a partition's log begins and ends. Error: ctx's.
func (l *lane) bounds(ctx context.Context, e *epoch) (low, high int64, err error) {
	err = l.h.until(ctx, l.log, readingBounds, func() error {
		return l.ask(func(c *kafka.Consumer) (err error) {
			low, high, err = c.QueryWatermarkOffsets(l.topic.name, e.partition, askTimeout)
			return err
		})
	})
	return low, high, err
}

// truncation is what librdkafka 2.15 says of a log that ends, for the leader epoch it was read in, before the position it was read to, or whose
// broker knows nothing of that epoch.
var truncation = regexp.MustCompile(`(?:truncation detected at|No epoch found less or equal to) offset (\d+) .*broker end offset is (-?\d+)`)

// cutOff says that the log has other records than those that were read, and what to do; nil when it has not. The client says neither of which
// partition that is, so it is any whose next record may be behind the cut, nor where the cut is when the broker knows nothing of the epoch.
func (l *lane) cutOff(cause error) error {
	m := truncation.FindStringSubmatch(cause.Error())
	if m == nil {
		return nil
	}
	read, _ := strconv.ParseInt(m[1], 10, 64) // digits
	from, _ := strconv.ParseInt(m[2], 10, 64)
	var found []int32
	for _, e := range l.epochs {
		if e.running && max(from, 0) < e.next && e.next <= read {
			found = append(found, e.partition)
		}
	}
	if len(found) == 0 {
		return nil
	}
	slices.Sort(found)
	where, each := fmt.Sprintf("partition %d", found[0]), ""
	if len(found) > 1 {
		where, each = "one of the partitions "+strings.Trim(fmt.Sprint(found), "[]"), " in each of them"
	}
	is, to := fmt.Sprintf("was cut off at %d and goes on with others from there", from), strconv.FormatInt(from, 10)
	if from < 0 {
		is, to = "has others now, from an offset on that the broker does not say", "the beginning of the log"
	}
	return fmt.Errorf("%s of %s: records were read up to offset %d, but the log %s: a broker that lacked the last records was elected as the leader (unclean.leader.election.enable). "+
		"Set the offset of group %s to %s%s to handle what is there now: what was handled already gets its answer again; started without that, the handler goes on where it was", where, l.topic.name, read, is, l.h.cfg.Group, to, each)
}

// checkOffsets asks, after the client found no record where it wanted to read, what became of the log. When records were
// deleted before they were read, or the log ends before them, or has others now than were read, the handler ends: to go on would skip
// commands unseen. Otherwise the partition is assigned once more, since the client has given it up.
func (l *lane) checkOffsets(cause error) {
	l.log.Warn("the log does not have the next record: looking for the reason", "error", cause)
	if err := l.cutOff(cause); err != nil {
		l.h.fail(err)
		return
	}
	for _, e := range l.epochs {
		if !e.running {
			continue
		}
		next, beginning := e.next, e.beginning
		l.background.Go(func() {
			if err := l.findTopic(e.ctx); err != nil {
				if e.ctx.Err() == nil {
					l.h.fail(err)
				}
				return
			}
			low, high, err := l.bounds(e.ctx, e)
			if err != nil {
				return
			}
			at := fmt.Sprintf("partition %d of %s: the next record to handle is at offset %d, but the log ", e.partition, l.topic.name, next)
			switch {
			case next < low && !beginning:
				l.h.fail(fmt.Errorf("%sbegins at %d: retention has deleted what is between, commands that were never handled, or ends of transactions, which take an offset each. Set the offset of group %s to %d and start with --skip-ahead to go on without them",
					at, low, l.h.cfg.Group, low))
			case next > high:
				l.h.fail(fmt.Errorf("%sends at %d: it has lost records, or the offset of group %s was set by mistake. Set it to %d to go on with what comes",
					at, high, l.h.cfg.Group, high))
			default:
				l.post(func() { l.assignAgain(e) })
			}
		})
	}
}

// assignAgain takes a running partition out of the client and puts it back at the record that is expected next.
func (l *lane) assignAgain(e *epoch) {
	if !e.current.Load() || !e.running || l.consumer.AssignmentLost() {
		return
	}
	at := []kafka.TopicPartition{l.at(e.partition, kafka.Offset(e.next))}
	if e.beginning {
		at[0].Offset = kafka.OffsetBeginning
	}
	err := l.takeOut(at)
	if err == nil {
		e.assigned = false
		err = l.position(e, at)
	}
	if err != nil {
		l.h.fail(fmt.Errorf("reading partition %d of %s from offset %d once more: %w", e.partition, l.topic.name, e.next, err))
	}
}

func numbers(epochs []*epoch) []int32 {
	n := make([]int32, len(epochs))
	for i, e := range epochs {
		n[i] = e.partition
	}
	slices.Sort(n)
	return n
}
