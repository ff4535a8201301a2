package handler

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"openbank/metric"
)

// staysHeld is for an epoch that is held on, by whoever finds that it is.
const staysHeld = math.MinInt64

// hold stops the epochs' partitions until wait, off the Poll goroutine, has found where each goes on. An error of wait is fatal
// unless its context ended. They count as stalled meanwhile.
func (l *lane) hold(stalled *metric.Gauge, epochs []*epoch, wait func(context.Context) ([]int64, error)) {
	for _, e := range epochs {
		e.running = false
	}
	if err := l.consumer.Pause(l.fetched(epochs)); err != nil {
		l.log.Debug("pausing", "error", err)
	}
	l.held++
	ctx := l.ctx
	if len(epochs) == 1 {
		ctx = epochs[0].ctx
	}
	l.background.Go(func() {
		stalled.Add(float64(len(epochs)))
		offsets, err := wait(ctx)
		stalled.Add(-float64(len(epochs)))
		l.post(func() {
			l.held--
			switch {
			case ctx.Err() != nil:
			case err != nil:
				l.h.fail(err)
			default:
				for i, e := range epochs {
					if offsets[i] != staysHeld {
						l.release(e, offsets[i])
					}
				}
			}
		})
	})
}

// release lets a held partition go on at offset, which may be kafka.OffsetBeginning.
func (l *lane) release(e *epoch, offset int64) {
	if !e.current.Load() || l.consumer.AssignmentLost() {
		return // or will be, when the client calls back
	}
	e.beginning = offset == int64(kafka.OffsetBeginning)
	at := []kafka.TopicPartition{l.at(e.partition, kafka.Offset(offset))}
	if err := l.position(e, at); err != nil {
		l.h.fail(fmt.Errorf("reading partition %d of %s from offset %d: %w", e.partition, l.topic.name, offset, err))
		return
	}
	e.next = max(offset, 0)
	e.running = true
	if l.paused {
		return
	}
	if err := l.consumer.Resume(at); err != nil {
		l.log.Debug("resuming", "error", err)
	}
}

// takeOut takes partitions out of the client outside of a revocation. One that waits to be told to us, behind records, is answered with that
// as librdkafka takes it: the group may give the partitions to others before we have heard of it.
func (l *lane) takeOut(partitions []kafka.TopicPartition) error {
	l.unasked = time.Now()
	return l.consumer.IncrementalUnassign(partitions)
}

// position has the client fetch a partition from an offset. A partition that it does not fetch yet is assigned to it there: to
// assign it elsewhere and seek would be a race with the fetch, or with the question where the log begins or ends.
func (l *lane) position(e *epoch, at []kafka.TopicPartition) error {
	e.readTo = noOffset
	if e.assigned {
		for range 2 { // a seek that something overtook is not the client's last word
			sought, err := l.consumer.SeekPartitions(at) // waits for the fetcher, which answers from memory
			if err == nil && sought[0].Error == nil {
				return nil
			}
		}
		// The client has given the partition up.
		if err := l.takeOut(at); err != nil {
			return err
		}
		e.assigned = false
	}
	if err := l.consumer.IncrementalAssign(at); err != nil {
		return err
	}
	e.assigned = true
	if l.paused {
		return l.consumer.Pause(at)
	}
	return nil
}

// reopen begins a new epoch of a partition at offset after the old one was retired while the partition stayed ours.
func (l *lane) reopen(old *epoch, offset int64, wait func(context.Context) error) {
	if l.epochs[old.partition] != old {
		return // lost meanwhile
	}
	e := l.newEpoch(old.partition)
	e.assigned, e.beforeIDs = old.assigned, old.beforeIDs
	e.published.Store(old.published.Load())
	e.finished.Store(old.finished.Load())
	l.epochs[e.partition] = e
	l.hold(l.meter.letterStalls, []*epoch{e}, func(ctx context.Context) ([]int64, error) { return []int64{offset}, wait(ctx) })
}
