package handler

import (
	"context"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"openbank/store"
)

// readToEnd notes that the client has read a partition to its end. What lies between the record that is expected next and that end is none:
// it ends transactions in which commands were sent, or belongs to ones that were aborted.
func (l *lane) readToEnd(at kafka.PartitionEOF) {
	if e := l.epochs[at.Partition]; e != nil && e.running {
		e.readTo = int64(at.Offset)
	}
}

// passEnds has the group's offsets pass what is no record at the end of partitions that have been idle since the last time. When retention
// empties such a partition, an offset before it would look as if commands had been deleted that were never handled.
func (l *lane) passEnds() {
	for _, e := range l.epochs {
		to := e.readTo
		if !e.running || to <= e.next || e.inflight.Load() > 0 || !e.confirmed() {
			continue
		}
		if to != e.idleAt {
			e.idleAt = to
			continue
		}
		l.hold(l.meter.startStalls, []*epoch{e}, func(ctx context.Context) ([]int64, error) { return []int64{to}, l.pass(ctx, e, to) })
	}
}

// pass moves both of what says how far an epoch's partition is handled, Postgres first, as with records.
func (l *lane) pass(ctx context.Context, e *epoch, to int64) error {
	err := l.h.store.SaveProgress(ctx, []store.Progress{{Topic: l.topic.name, TopicID: l.topic.id, Partition: e.partition, ExecutedTo: to, PublishedTo: e.published.Load()}})
	if err != nil {
		return err
	}
	if l.h.exactlyOnce {
		if err := l.setOffsets(ctx, map[*epoch]int64{e: to}); err != nil {
			return err
		}
		raise(&e.published, to)
		raise(&e.finished, to)
		return nil
	}
	l.setting.Lock() // a partition that is not ours any more is not ours to set
	defer l.setting.Unlock()
	if e.current.Load() {
		raise(&e.finished, to)
		l.storeOffsets([]kafka.TopicPartition{l.at(e.partition, kafka.Offset(to))})
	}
	return nil
}
