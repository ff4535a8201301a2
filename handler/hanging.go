package handler

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

const (
	// endsAnyway is after how long the brokers have ended every transaction that they know of: they look every 10 s
	// (transaction.abort.timed.out.transaction.cleanup.interval.ms) for those that are under way for longer than their time-out.
	endsAnyway = transactionTimeout + 12*time.Second
	// endingTime bounds the ending of one.
	endingTime = 10 * time.Second
	// unknownTransactionalID is TRANSACTIONAL_ID_NOT_FOUND, which the client library has no name for.
	unknownTransactionalID kafka.ErrorCode = 105
)

// endHanging ends what partitions take for a transaction under way although its coordinator has ended it: when all brokers die between the
// decision and the word of it to the partitions, Kafka 4.3.1 takes on its return for said what it never says. Readers of committed records, and
// whoever needs the group's offsets, would wait there until the same producer ends another transaction in each of the partitions, or for an
// operator (kafka-transactions.sh). The former is what is done here, for our identity and those of all other handlers there have been: one that
// is alive is fenced by it, which costs it one try more.
//
// What hangs is committed. That is what was decided where a handler has been told that it is published; where it was not, nothing has been
// sent again yet, because the offsets that hang with it are waited for.
func (h *Handler) endHanging(ctx context.Context) error {
	topics, err := h.outputs(ctx)
	if err != nil {
		return err
	}
	ours := h.transactionalID()
	if err := h.endTransaction(ctx, ours, topics); err != nil || h.cfg.TransactionalID != "" {
		return err
	}
	for slot := range maxHandlers {
		id := h.identity(slot)
		if id == ours {
			continue
		}
		known, err := h.knows(ctx, id)
		if err == nil && known {
			err = h.endTransaction(ctx, id, topics)
		}
		if err != nil || !known { // a handler takes the lowest slot that is free
			return err
		}
	}
	return nil
}

// knows says whether the brokers know a transactional id.
func (h *Handler) knows(ctx context.Context, id string) (bool, error) {
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
// not be written to, or are gone, are taken out.
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
		err = h.addPartitions(ctx, id, producer, topics)
	}
	if err == nil {
		err = h.tell(ctx, id, addOffsetsToTxn, appendText(producer, h.cfg.Group), code)
	}
	if err == nil {
		err = h.tell(ctx, id, endTxn, append(producer, 1), code)
	}
	return err
}

// addPartitions adds them to a producer's transaction.
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
		if !isKafka(err, kafka.ErrUnknownTopicOrPart, kafka.ErrTopicAuthorizationFailed) {
			return err
		}
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

// tell asks the coordinator of an id's transactions for something, until that is ready for it. Its answer's error code is what read returns.
func (h *Handler) tell(ctx context.Context, id string, r request, body []byte, read func(*fields) (code int16)) error {
	what := coordinated{id, aTransaction}
	for {
		coordinator, err := h.coordinatorOf(ctx, what)
		if err != nil {
			return err
		}
		answer, err := h.cfg.Kafka.call(ctx, coordinator, r, body)
		if err != nil {
			return err
		}
		code := read(answer)
		switch {
		case answer.cut:
			return fmt.Errorf("ending what hangs of %s: the answer is cut short", what)
		case code == 0:
			return nil
		}
		err = fmt.Errorf("ending what hangs of %s: %w", what, brokerError(code))
		if !isKafka(err, kafka.ErrConcurrentTransactions, kafka.ErrCoordinatorLoadInProgress, kafka.ErrCoordinatorNotAvailable, kafka.ErrNotCoordinator) || !pause(ctx, callPause) {
			return err
		}
	}
}
