package handler

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// endsSoon is for how long it is ordinary that whoever had a partition before has a transaction of it under way.
const endsSoon = time.Second

// committedOffsets are the group's, -1 where there is none. They are stable: an offset in a transaction that is open yet is waited for,
// unless some are enough: then it is left out when it is not stable soon and another one is. Nothing is said of epochs that end meanwhile.
func (l *lane) committedOffsets(ctx context.Context, epochs []*epoch, some bool) (map[*epoch]int64, error) {
	ask := l.consumersOffsets
	if l.h.exactlyOnce {
		ask = func(ctx context.Context, asked []kafka.TopicPartition) ([]kafka.TopicPartition, error) {
			coordinator, err := l.h.coordinator(ctx)
			if err != nil {
				return nil, err
			}
			return l.groupsOffsets(ctx, coordinator, asked, true)
		}
	}
	offsets := map[*epoch]int64{}
	begun := time.Now()
	err := l.h.until(ctx, l.log, readingOffsets, func() error {
		clear(offsets)
		epochs = slices.DeleteFunc(slices.Clone(epochs), func(e *epoch) bool { return !e.current.Load() })
		if len(epochs) == 0 {
			return nil
		}
		asked := make([]kafka.TopicPartition, len(epochs))
		for i, e := range epochs {
			asked[i] = l.at(e.partition, kafka.OffsetInvalid)
		}
		committed, err := ask(ctx, asked)
		if err != nil {
			return err
		}
		var open error
		for _, e := range epochs {
			j := slices.IndexFunc(committed, func(c kafka.TopicPartition) bool { return c.Partition == e.partition })
			if j < 0 {
				return fmt.Errorf("partition %d: the brokers say nothing of it", e.partition)
			}
			switch c := committed[j]; {
			case c.Error == nil:
				offsets[e] = max(int64(c.Offset), noOffset)
			case isKafka(c.Error, kafka.ErrUnstableOffsetCommit):
				open = errors.Join(open, fmt.Errorf("partition %d: %w", c.Partition, c.Error))
			default:
				err = errors.Join(err, fmt.Errorf("partition %d: %w", c.Partition, c.Error))
			}
		}
		switch soon := time.Since(begun) < endsSoon; {
		case err != nil:
			return errors.Join(err, open)
		case open != nil && soon:
			return ordinary{open}
		case open == nil || some && len(offsets) > 0:
			return nil
		}
		return open // watchHanging sees to it that it ends
	})
	return offsets, err
}

// consumersOffsets asks over the consumer's connection. While the group waits for a member to join, it answers nothing there.
func (l *lane) consumersOffsets(_ context.Context, asked []kafka.TopicPartition) (committed []kafka.TopicPartition, err error) {
	err = l.ask(func(c *kafka.Consumer) (err error) {
		committed, err = c.Committed(asked, askTimeout)
		return err
	})
	return committed, err
}

// groupsOffsets asks the group's coordinator itself for offsets that are in no transaction, or for all. The consumer has no answer while the
// group waits for a member to join, and the client's administrative question goes for ever to the broker that it once knew for the coordinator,
// when that one is gone (librdkafka 2.15.1, its issue 5511).
func (l *lane) groupsOffsets(ctx context.Context, coordinator string, asked []kafka.TopicPartition, stable bool) (committed []kafka.TopicPartition, err error) {
	group := l.h.cfg.Group
	body := appendCompact(nil, group)
	body = appendCompact(append(body, 2), l.topic.name) // one topic
	body = binary.AppendUvarint(body, uint64(len(asked)+1))
	for _, p := range asked {
		body = binary.BigEndian.AppendUint32(body, uint32(p.Partition))
	}
	only := byte(0)
	if stable {
		only = 1
	}
	body = append(body, 0, only, 0) // of the topic no tagged fields, which offsets, no tagged fields
	answer, err := l.h.cfg.Kafka.call(ctx, coordinator, offsetFetch, body)
	if err != nil {
		return nil, err
	}
	_ = answer.int32() // how long the broker would have us wait before the next one
	answer.compactTimes(func() {
		name := answer.compactText()
		answer.compactTimes(func() {
			p := kafka.TopicPartition{Topic: &name, Partition: answer.int32(), Offset: kafka.Offset(answer.int64())}
			_, _ = answer.int32(), answer.compactText() // the leader's epoch, and what the committer noted
			if code := answer.int16(); code != 0 {
				p.Error = brokerError(code)
			}
			committed = append(committed, p)
		})
	})
	code := answer.int16()
	switch {
	case answer.cut:
		return nil, fmt.Errorf("the offsets of group %s: the answer is cut short", group)
	case code != 0:
		return nil, fmt.Errorf("the offsets of group %s: %w", group, brokerError(code))
	}
	return committed, nil
}

// setOffsets sets the group's offsets of partitions that nothing is read of meanwhile.
func (l *lane) setOffsets(ctx context.Context, to map[*epoch]int64) error {
	if len(to) == 0 {
		return nil
	}
	return l.h.until(ctx, l.log, settingOffsets, func() error {
		l.setting.Lock() // a partition that is not ours any more is not ours to set
		defer l.setting.Unlock()
		offsets := l.current(to)
		if len(offsets) == 0 {
			return nil
		}
		var set []kafka.TopicPartition
		err := l.ask(func(c *kafka.Consumer) (err error) {
			if l.h.exactlyOnce && !l.membership(c).lasts(l.member.Load()) {
				return ordinary{errors.New("the group has changed, and we are about to hear how")}
			}
			set, err = c.CommitOffsets(offsets)
			return err
		})
		for _, s := range set {
			err = errors.Join(err, s.Error)
		}
		if isKafka(err, kafka.ErrIllegalGeneration, kafka.ErrUnknownMemberID, kafka.ErrRebalanceInProgress) {
			return ordinary{err} // if they are taken from us, their epochs are about to end
		}
		return err
	})
}

// current are the offsets of those epochs that have not ended.
func (l *lane) current(to map[*epoch]int64) (offsets []kafka.TopicPartition) {
	for e, offset := range to {
		if e.current.Load() {
			offsets = append(offsets, l.at(e.partition, kafka.Offset(offset)))
		}
	}
	return offsets
}
