package handler

import (
	"context"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"openbank/crash"
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
	var idle []*epoch
	var offsets []int64
	to := map[*epoch]int64{}
	for _, e := range l.epochs {
		end := e.passable()
		if end != noOffset && end == e.idleAt {
			idle, offsets = append(idle, e), append(offsets, end)
			to[e] = end
		}
		e.idleAt = end
	}
	if len(idle) > 0 && !l.queue.isClosed() { // or a record that it has refused looks like one that is handled
		l.hold(l.meter.startStalls, idle, func(ctx context.Context) ([]int64, error) { return offsets, l.pass(ctx, to) })
	}
}

// passable is the end of the epoch's partition when that lies beyond its last record, and all before it is published; noOffset otherwise. What
// was dropped is in flight no more and was not published: finished tells.
func (e *epoch) passable() int64 {
	if !e.running || e.readTo <= e.next || e.inflight.Load() > 0 || e.finished.Load() != e.next || !e.confirmed() {
		return noOffset
	}
	return e.readTo
}

// pass moves all that says how far partitions are handled, in the order in which records do: what Postgres has executed, the group's offsets,
// what Postgres knows as published.
func (l *lane) pass(ctx context.Context, to map[*epoch]int64) error {
	if err := l.saveReached(ctx, to); err != nil {
		return err
	}
	crash.Point("before-pass-offsets", len(to))
	if err := l.setOffsets(ctx, to); err != nil {
		return err
	}
	crash.Point("after-pass-offsets", len(to))
	for e, end := range to {
		if e.current.Load() {
			raise(&e.published, end)
			raise(&e.finished, end)
		}
	}
	if !l.h.exactlyOnce { // the client would commit what it has stored before when it is closed
		l.setting.Lock() // what is stored for a partition that is not ours any more would be committed when it is again
		l.storeOffsets(l.current(to))
		l.setting.Unlock()
	}
	return l.saveReached(ctx, to)
}

func (l *lane) saveReached(ctx context.Context, to map[*epoch]int64) error {
	var reached []store.Progress
	for e, end := range to {
		reached = append(reached, store.Progress{Topic: l.topic.name, TopicID: l.topic.id, Partition: e.partition, ExecutedTo: end, PublishedTo: e.published.Load()})
	}
	return l.h.store.SaveProgress(ctx, reached)
}
