package handler

import (
	"context"
	"sync/atomic"
)

// epoch is the time in which one partition is ours, from one assignment (or seek back) to the next. Every record carries
// the epoch of its partition from Poll on. Membership in the group proves no ownership: a handler that lost a partition and
// got it back holds records of the old epoch that another one may have handled meanwhile; they are dropped, not published.
type epoch struct {
	lane      *lane
	partition int32
	ctx       context.Context // done when the epoch ends
	end       context.CancelFunc

	// current turns false when the epoch ends. It is written under Handler.owned and read there where it decides.
	current atomic.Bool
	// inflight counts the records between Poll and published (or dropped).
	inflight atomic.Int64
	// published is the partition's published_to: the next offset after the contiguous prefix whose output is out and whose offsets
	// Kafka has taken. finished is how far the output is out; without transactions the offsets follow later. A crash in between, with
	// a published_to beyond the committed offset, would look as if somebody had set that back.
	published, finished atomic.Int64

	// These belong to the lane's execute goroutine: the next offset after the records that it has executed, and the
	// published_to that Postgres holds by it.
	executed, saved int64
	beforeIDs       int64 // below it records may have been executed when the brokers had no topic ids

	// The rest belongs to the Poll goroutine.
	beginning bool  // it starts at the log's beginning, wherever that is, and nothing was read yet
	assigned  bool  // to the client, which fetches it
	running   bool  // false while held: its start is looked up, or something it needs is away
	next      int64 // the offset expected next; older records are leftovers from before a seek
	readTo    int64 // where the client found the partition's end since its last seek
	idleAt    int64 // what passable said when passEnds looked the last time
}

// noOffset stands for an offset that is not known yet.
const noOffset = -1

func (l *lane) newEpoch(partition int32) *epoch {
	e := &epoch{lane: l, partition: partition, next: noOffset, executed: noOffset, saved: noOffset}
	e.ctx, e.end = context.WithCancel(l.ctx)
	e.published.Store(noOffset)
	e.finished.Store(noOffset)
	e.current.Store(true)
	return e
}

// raise notes that an offset was reached; one that was set back reaches nothing.
func raise(o *atomic.Int64, to int64) { o.Store(max(to, o.Load())) }

// settled says whether Kafka has all that was published, and Postgres knows it.
func (e *epoch) settled() bool {
	return e.inflight.Load() == 0 && e.confirmed() && e.published.Load() == e.saved
}

// confirmed says whether Kafka has taken the offsets of all that was published.
func (e *epoch) confirmed() bool { return e.published.Load() >= e.finished.Load() }

// done takes n records out of flight and wakes a revocation that waits for the last.
func (e *epoch) done(n int64) {
	if e.inflight.Add(-n) == 0 {
		select {
		case e.lane.drained <- struct{}{}:
		default:
		}
	}
}

// retire ends the epoch: nothing of it is published from here on. The caller holds Handler.owned.
func (e *epoch) retire() {
	e.current.Store(false)
	e.end()
}
