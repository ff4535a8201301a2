package handler

import (
	"sync"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"openbank/bank"
	"openbank/store"
)

// record is one record of a command topic on its way through the stages.
type record struct {
	// Once it is executed, and no dead letter, key and value are nil, and of the headers those are left that answers and events carry on.
	key, value []byte
	headers    []kafka.Header
	sent       int64 // when, in milliseconds since 1970; not above 0 when that is not known
	offset     int64
	epoch      *epoch
	polled     time.Duration // when the client gave it to us, by meter.now
	// command is *bank.ConfirmAccountCreation or *bank.ConfirmMoneyTransfer, nil when the record is unreadable. A
	// transfer that is executed has only its id.
	command any
	// unreadable is why the record can never be read: it becomes a dead letter.
	unreadable string
	class      int // of that reason, for metrics
	// outcome is what Postgres says of the command; nil before that, and when there is no command.
	outcome *store.Outcome
}

// letter says whether the record becomes a dead letter, and why.
func (r *record) letter() (reason string, ok bool) {
	switch {
	case r.command == nil:
		return r.unreadable, true
	case r.outcome != nil && r.outcome.Disposition == store.DeadLetter:
		return r.outcome.Reason, true
	}
	return "", false
}

// fault is the class of the reason why it becomes a dead letter.
func (r *record) fault() int {
	switch {
	case r.command == nil:
		return r.class
	case r.outcome.Reason == store.ReasonIDReused:
		return idReused
	}
	return refusedByBase
}

// conclude notes the outcome, and keeps only what answers and events, or a dead letter, are made of: it may wait for long to be published.
func (r *record) conclude(outcome *store.Outcome) {
	r.outcome = outcome
	if transfer, ok := r.command.(*bank.ConfirmMoneyTransfer); ok {
		*transfer = bank.ConfirmMoneyTransfer{ID: transfer.ID}
	}
	if _, buried := r.letter(); !buried {
		r.key, r.value, r.headers = nil, nil, traceHeaders(r.headers)
	}
}

// size is about what the record holds in memory, in bytes.
func (r *record) size() int {
	n := len(r.key) + 2*len(r.value) + 512
	for i := range r.headers {
		n += len(r.headers[i].Key) + len(r.headers[i].Value)
	}
	return n
}

// queue holds what was consumed and waits for the next batch. It never makes a batch wait for company: whoever takes
// gets all there is, so an idle system answers one command at once and a loaded one grows its batches by itself. What could not be
// published yet waits here, where it makes one batch, instead of behind Postgres, where it would be many.
type queue struct {
	mu      sync.Mutex
	waiting []record
	bytes   int
	closed  bool

	batch      int           // records: the most that one take gets
	limit      int           // records: the high-water mark
	limitBytes int           // bytes, the same, and a full batch
	ready      chan struct{} // something waits, or the queue was closed
	room       chan struct{} // something was taken
}

func newQueue(batch, limit, limitBytes int) *queue {
	return &queue{batch: batch, limit: limit, limitBytes: limitBytes, ready: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put adds r, beyond the high-water mark too, and says whether the queue took it: a closed one doesn't.
func (q *queue) put(r record) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.waiting = append(q.waiting, r)
	q.bytes += r.size()
	if n := len(q.waiting); n == 1 || n >= q.batch || q.bytes >= q.limitBytes {
		signal(q.ready)
	}
	return true
}

// isClosed says whether nothing is let in any more.
func (q *queue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// load is how full the queue is: 1 at the high-water mark.
func (q *queue) load() float64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return max(float64(len(q.waiting))/float64(q.limit), float64(q.bytes)/float64(q.limitBytes))
}

// length is how many records wait.
func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// held is about what they hold in memory, in bytes.
func (q *queue) held() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}

// hasRoom waits until the queue is below its high-water mark, for at most d.
func (q *queue) hasRoom(d time.Duration) bool {
	if q.load() < 1 {
		return true
	}
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	for {
		select {
		case <-q.room:
			if q.load() < 1 {
				return true
			}
		case <-timeout.C:
			return false
		}
	}
}

// take takes the records that wait, at most a batch. While busy gives a channel for so many, and for a batch
// that is full or isn't, it waits for that one to close, or for the queue to fill. It returns none when idle fires meanwhile, and false for
// ever once the queue is closed.
func (q *queue) take(idle <-chan time.Time, busy func(n int, full bool) <-chan struct{}) ([]record, bool) {
	for {
		var until <-chan struct{}
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return nil, false
		}
		if n := min(len(q.waiting), q.batch); n > 0 {
			if until = busy(n, n == q.batch || q.bytes >= q.limitBytes); until == nil {
				batch := q.first(n)
				q.mu.Unlock()
				signal(q.room)
				return batch, true
			}
		}
		q.mu.Unlock()
		select {
		case <-q.ready:
		case <-until:
		case <-idle:
			return nil, true
		}
	}
}

// first takes the first n records out. The caller holds mu.
func (q *queue) first(n int) []record {
	batch := append([]record(nil), q.waiting[:n]...)
	for i := range batch {
		q.bytes -= batch[i].size()
	}
	left := copy(q.waiting, q.waiting[n:])
	clear(q.waiting[left:])
	q.waiting = q.waiting[:left]
	return batch
}

// close gives back what waits and lets nothing in from here on.
func (q *queue) close() []record {
	q.mu.Lock()
	defer q.mu.Unlock()
	left := q.waiting
	q.waiting, q.bytes, q.closed = nil, 0, true
	signal(q.ready)
	signal(q.room)
	return left
}
