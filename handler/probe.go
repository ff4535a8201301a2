package handler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// probeAgain is the time between two looks at a server that did not answer the last one.
const probeAgain = time.Second

// probe asks the brokers from time to time where the lane's partitions end: how far behind we are, whether the brokers are there although
// nothing is to be read or written, and whether the topic still is what it was: of partitions that were added, the group hears from us. It
// works until the lane closes.
func (l *lane) probe(work context.Context) {
	wait := l.h.cfg.ProbeInterval
	shared := int32(l.topic.partitions)
	for pause(l.ctx, wait) {
		l.nudge()
		err := l.stillThere(l.ctx)
		if err == nil {
			if seen := l.seen.Load(); seen > shared {
				l.post(func() { l.watchShares(work) })
				shared = seen
			}
			err = l.measureLag()
		}
		var fatal fatalError
		switch {
		case l.ctx.Err() != nil:
			return
		case errors.As(err, &fatal):
			l.h.fail(fatal.error)
			return
		case err != nil:
			wait = min(probeAgain, l.h.cfg.ProbeInterval)
			l.link.unanswered(fmt.Errorf("asking for the ends of the partitions of %s: %w", l.topic.name, err))
		default:
			wait = l.h.cfg.ProbeInterval
			l.link.answered()
			l.post(l.passEnds)
		}
	}
}

// nudge asks for all topics while the client is no member: one whose question before its join died with a broker waits for good for somebody's
// look that includes its topic (librdkafka 2.15.1, join state wait-metadata), and its own looks are switched off. With partitions such a look
// could have it join in the middle of giving some up.
func (l *lane) nudge() {
	if !l.h.static {
		return
	}
	err := l.ask(func(c *kafka.Consumer) error {
		if l.holding.Load() > 0 || l.membership(c) != nil {
			return nil
		}
		_, err := c.GetMetadata(nil, true, askTimeout)
		return err
	})
	if err != nil {
		l.log.Debug("asking for the topics before the group has let us in", "error", err)
	}
}

// measureLag notes how far the published records of each partition of ours are from its end.
func (l *lane) measureLag() error {
	ours := make(chan []*epoch, 1)
	l.post(func() {
		var all []*epoch
		for _, e := range l.epochs {
			all = append(all, e)
		}
		ours <- all
	})
	var epochs []*epoch
	select {
	case epochs = <-ours:
	case <-l.ctx.Done():
		return l.ctx.Err()
	}
	byPartition := map[int32]*epoch{}
	var all, fresh []int32
	for _, e := range epochs {
		byPartition[e.partition] = e
		all = append(all, e.partition)
		if e.published.Load() == 0 { // the log may begin at any offset
			fresh = append(fresh, e.partition)
		}
	}
	if len(all) == 0 {
		all = []int32{0} // the others have them all
	}
	begins, err := l.listOffsets(kafka.EarliestOffsetSpec, fresh)
	if err != nil {
		return err
	}
	ends, err := l.listOffsets(kafka.LatestOffsetSpec, all)
	if err != nil {
		return err
	}
	l.post(func() {
		for partition, end := range ends {
			e := byPartition[partition]
			if e == nil || !e.current.Load() { // given up meanwhile: its lag would stay
				continue
			}
			if published := e.published.Load(); published > noOffset { // or its start is not known yet
				l.meter.lag(l.topic, partition, max(end-max(published, begins[partition]), 0))
			}
		}
	})
	return nil
}

// listOffsets asks the brokers for the first or the next offset of partitions.
func (l *lane) listOffsets(which kafka.OffsetSpec, of []int32) (map[int32]int64, error) {
	if len(of) == 0 {
		return nil, nil
	}
	asked := map[kafka.TopicPartition]kafka.OffsetSpec{}
	for _, partition := range of {
		asked[l.at(partition, 0)] = which
	}
	if err := l.link.reaches(l.ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(l.ctx, askTimeout*time.Millisecond)
	defer cancel()
	var found kafka.ListOffsetsResult
	err := l.ask(func(c *kafka.Consumer) error {
		client, err := kafka.NewAdminClientFromConsumer(c)
		if err != nil {
			return err
		}
		defer client.Close()
		found, err = client.ListOffsets(ctx, asked, kafka.SetAdminRequestTimeout(askTimeout*time.Millisecond))
		return err
	})
	if err != nil {
		return nil, err
	}
	offsets := map[int32]int64{}
	for at, result := range found.ResultInfos {
		if result.Error.Code() != kafka.ErrNoError {
			err = errors.Join(err, fmt.Errorf("partition %d: %w", at.Partition, result.Error))
		}
		offsets[at.Partition] = int64(result.Offset)
	}
	return offsets, err
}

// probeRegistry asks the registry from time to time for a schema that we write with: a registry that is away is noticed before a record
// needs it. The client tells the log and the conditions.
func (h *Handler) probeRegistry(ctx context.Context) {
	wait := h.cfg.ProbeInterval
	for pause(ctx, wait) {
		wait = h.cfg.ProbeInterval
		if err := h.registry.Probe(ctx, h.encoders.balanceChanged.subject()); err != nil {
			wait = min(probeAgain, h.cfg.ProbeInterval)
		}
	}
}
