package handler

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

const (
	// hangInterval is the time between two looks at the group's offsets.
	hangInterval = 10 * time.Second
	// endsAnyway is after how long the brokers have ended every transaction that they know of: they look every 10 s
	// (transaction.abort.timed.out.transaction.cleanup.interval.ms) for those that are under way for longer than their time-out.
	endsAnyway = transactionTimeout + 12*time.Second
	// endingTime bounds the ending of one, which its coordinator would abort after transactionTimeout.
	endingTime = 15 * time.Second
	// slotsLookedAt is how many slots are looked into for a handler that is gone.
	slotsLookedAt = 64
	// unknownTransactionalID is TRANSACTIONAL_ID_NOT_FOUND, which the client library has no name for.
	unknownTransactionalID kafka.ErrorCode = 105
)

// hanging is what is known of transactions that have ended for their coordinator and not for partitions: when all brokers die between the
// decision and the word of it to the partitions, Kafka 4.3.1 takes on its return for said what it never says. Readers of committed records, and
// whoever needs the group's offsets, would wait there until the same producer ends another transaction in each of the partitions, or for an
// operator (kafka-transactions.sh).
//
// The former is what is done here. Each handler does it for itself, and for those that are gone, whose slot it keeps meanwhile: two that did it
// for the same one would abort each other's. What hangs is committed. That is what was decided where a handler has been told that it is
// published; where it was not, nothing has been sent again yet if offsets hang with it, which are waited for.
type hanging struct {
	open      map[pendingOffset]pending
	ended     time.Time                 // the last time that something was done about it
	published atomic.Pointer[time.Time] // when we committed a transaction: that ended whatever hung of ours in the group's offsets
}

// pendingOffset is a partition whose offset is in a transaction.
type pendingOffset struct {
	lane      *lane
	partition int32
}

// pending is how long that has been so, and what the group's offset is without it: one that rises is a busy partition's.
type pending struct {
	offset int64
	since  time.Time
}

// watchHanging looks for offsets that stay in a transaction for longer than one can last, until ctx is done.
func (h *Handler) watchHanging(ctx context.Context) {
	for pause(ctx, hangInterval) {
		since, err := h.lookForHanging(ctx)
		if err != nil || since.IsZero() || time.Since(since) < endsAnyway || time.Since(h.hanging.ended) < endsAnyway {
			continue // whoever waits for an offset says what is in the way
		}
		h.hanging.ended = time.Now()
		h.log.Warn("offsets of the group stay in a transaction that the brokers have ended: ending it where it hangs", "group", h.cfg.Group, "since", since.Round(time.Second))
		if err := h.endHanging(ctx, since); err != nil && ctx.Err() == nil {
			h.log.Warn("what hangs of a transaction could not be ended: it is tried again", "error", err)
		}
	}
}

// lookForHanging says since when the offset is open that has been so for the longest time, of all partitions; zero when none is.
func (h *Handler) lookForHanging(ctx context.Context) (since time.Time, err error) {
	open := map[pendingOffset]pending{}
	coordinator, err := h.coordinator(ctx)
	if err != nil {
		return since, err
	}
	for _, l := range h.lanes {
		all := make([]kafka.TopicPartition, l.seen.Load())
		for partition := range all {
			all[partition] = l.at(int32(partition), kafka.OffsetInvalid)
		}
		stable, err := l.groupsOffsets(ctx, coordinator, all, true)
		if err != nil {
			return since, err
		}
		unstable := slices.DeleteFunc(stable, func(p kafka.TopicPartition) bool { return !isKafka(p.Error, kafka.ErrUnstableOffsetCommit) })
		if len(unstable) == 0 {
			continue
		}
		committed, err := l.groupsOffsets(ctx, coordinator, unstable, false)
		if err != nil {
			return since, err
		}
		for _, p := range committed {
			at := pendingOffset{l, p.Partition}
			was, before := h.hanging.open[at]
			if !before || was.offset != int64(p.Offset) {
				was = pending{int64(p.Offset), time.Now()}
			}
			open[at] = was
			if since.IsZero() || was.since.Before(since) {
				since = was.since
			}
		}
	}
	h.hanging.open = open
	return since, nil
}

// endHanging ends what hangs of us and of the handlers that are gone. Brokers before 3.0 don't say which of those there have been, and with a
// transactional id that was given to us there is no telling either.
func (h *Handler) endHanging(ctx context.Context, since time.Time) error {
	topics, err := h.outputs(ctx)
	if err != nil {
		return err
	}
	if last := h.hanging.published.Load(); last == nil || last.Before(since) {
		err = h.producer.alone(func() error { return h.endTransaction(ctx, h.transactionalID(), topics) })
	}
	if err != nil || h.cfg.TransactionalID != "" {
		return err
	}
	for slot := range slotsLookedAt {
		err := h.lease.Clean(ctx, slot, func(ctx context.Context) error {
			known, err := h.knows(ctx, h.identity(slot))
			if err == nil && known {
				err = h.endTransaction(ctx, h.identity(slot), topics)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// knows says whether the brokers know a transactional id.
func (h *Handler) knows(ctx context.Context, id string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	err := h.tell(ctx, id, describeTransactions, append(appendCompact([]byte{2}, id), 0), func(answer *fields) (code int16) {
		_ = answer.int32() // how long to wait before the next request
		_ = answer.compact()
		return answer.int16()
	})
	if isKafka(err, unknownTransactionalID) {
		return false, nil
	}
	return err == nil, err
}

// endTransaction commits a transaction of an id's that has our group and all partitions of those topics in it, and nothing else. Topics that may
// not be written to are left out. Nobody else may begin one of the id's meanwhile: that would abort it, and with it what hangs.
func (h *Handler) endTransaction(ctx context.Context, id string, topics map[string]int) error {
	ctx, cancel := context.WithTimeout(ctx, endingTime)
	defer cancel()
	code := func(answer *fields) int16 {
		_ = answer.int32() // how long to wait before the next request
		return answer.int16()
	}
	name := slices.Clip(appendText(nil, id))
	var producer []byte // the id, and what the brokers know it by from now on
	err := h.tell(ctx, id, initProducerID, binary.BigEndian.AppendUint32(name, uint32(transactionTimeout.Milliseconds())), func(answer *fields) int16 {
		c := code(answer)
		producer = binary.BigEndian.AppendUint64(name, uint64(answer.int64()))
		producer = slices.Clip(binary.BigEndian.AppendUint16(producer, uint16(answer.int16())))
		return c
	})
	if err == nil {
		err = h.addPartitions(ctx, id, producer, maps.Clone(topics))
	}
	if err == nil {
		err = h.tell(ctx, id, addOffsetsToTxn, appendText(producer, h.cfg.Group), code)
	}
	if err == nil {
		err = h.tell(ctx, id, endTxn, append(producer, 1), code)
	}
	return err
}

// addPartitions adds the topics' partitions to a producer's transaction: all at once, or none.
func (h *Handler) addPartitions(ctx context.Context, id string, producer []byte, topics map[string]int) error {
	for len(topics) > 0 {
		body := binary.BigEndian.AppendUint32(producer, uint32(len(topics)))
		for _, topic := range slices.Sorted(maps.Keys(topics)) {
			body = binary.BigEndian.AppendUint32(appendText(body, topic), uint32(topics[topic]))
			for partition := range topics[topic] {
				body = binary.BigEndian.AppendUint32(body, uint32(partition))
			}
		}
		refused := ""
		err := h.tell(ctx, id, addPartitionsToTxn, body, func(answer *fields) (code int16) {
			_ = answer.int32() // how long to wait before the next request
			answer.times(func() {
				topic := answer.text()
				answer.times(func() {
					_ = answer.int32()
					// Those beside one that is refused are not attempted.
					if c := answer.int16(); code == 0 && c != 0 && kafka.ErrorCode(c) != kafka.ErrOperationNotAttempted {
						code, refused = c, topic
					}
				})
			})
			return code
		})
		if !isKafka(err, kafka.ErrTopicAuthorizationFailed) {
			return err
		}
		h.log.Warn("what hangs of a transaction is not ended in a topic that may not be written to", "topic", refused)
		delete(topics, refused)
	}
	return nil
}

// outputs are how many partitions the topics have that handlers publish to.
func (h *Handler) outputs(ctx context.Context) (map[string]int, error) {
	t := h.cfg.Topics
	described, err := h.describe(ctx, []string{t.AccountCreationFeedback, t.MoneyTransferFeedback, t.BalanceChanged})
	if err != nil {
		return nil, err
	}
	partitions := map[string]int{}
	for name, topic := range described {
		partitions[name] = topic.partitions
	}
	for _, l := range h.lanes {
		if n := l.letters.partitions.Load(); n > 0 {
			partitions[l.letters.topic] = int(n)
		}
	}
	return partitions, nil
}

// tell asks the coordinator of an id's transactions for something, until it is there and ready for it or ctx is done: a transaction that is left
// half done is aborted. Its answer's error code is what read returns.
func (h *Handler) tell(ctx context.Context, id string, r request, body []byte, read func(*fields) (code int16)) error {
	what := coordinated{id, aTransaction}
	for {
		coordinator, err := h.coordinatorOf(ctx, what)
		var answer *fields
		if err == nil {
			answer, err = h.cfg.Kafka.call(ctx, coordinator, r, body)
		}
		if err == nil {
			code := read(answer)
			switch {
			case answer.cut:
				err = errors.New("the answer is cut short")
			case code == 0:
				return nil
			default:
				err = brokerError(code)
			}
			err = fmt.Errorf("ending what hangs of %s: %w", what, err)
			if !isKafka(err, kafka.ErrConcurrentTransactions, kafka.ErrCoordinatorLoadInProgress, kafka.ErrCoordinatorNotAvailable, kafka.ErrNotCoordinator) {
				return err
			}
		}
		if !pause(ctx, callPause) {
			return err
		}
	}
}
