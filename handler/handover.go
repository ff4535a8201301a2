package handler

import "sync"

// handover is the way of executed batches to the producer goroutine. Whoever takes gets all that waits, however many batches it
// is: what was executed while a publication was under way goes out with the next one, or at once where few may overlap. A lane executes no
// more while its own batches here hold as many records as a full one has, or twice as many bytes as its queue, which bounds memory whatever
// the backlog, and does not hold up the other lane. Several small ones may wait, because what a transaction takes besides its records is
// the same for few and for many.
type handover struct {
	mu      sync.Mutex
	waiting []executed
	records map[*lane]int   // of each lane, in waiting
	leaving []map[*lane]int // the same, of each publication under way, in their order
	bytes   map[*lane]int   // of each lane, in waiting
	closed  bool

	limit     int           // records of one lane; as many bytes as two full queues have are the limit too
	overlap   int           // records of one lane that may be on their way while it executes more
	ready     chan struct{} // something waits, or the handover was closed
	taken     chan struct{} // closed, and made anew, when all was taken
	published chan struct{} // the same, when a publication is over
}

func newHandover(limit, overlap int) *handover {
	return &handover{
		records: map[*lane]int{}, bytes: map[*lane]int{}, limit: limit, overlap: overlap,
		ready: make(chan struct{}, 1), taken: make(chan struct{}), published: make(chan struct{}),
	}
}

// toProducer makes the handover of a handler. A transaction overlaps with no other.
func (h *Handler) toProducer() *handover {
	few := overlap
	if h.exactlyOnce {
		few = 0
	}
	return newHandover(max(h.cfg.MaxBatch, leastQueue), few)
}

// put hands a batch over, for which busy has said that there is room.
func (h *handover) put(b executed) {
	bytes := 0
	for i := range b.records {
		bytes += b.records[i].size()
	}
	h.mu.Lock()
	h.waiting = append(h.waiting, b)
	h.records[b.lane] += len(b.records)
	h.bytes[b.lane] += bytes
	h.mu.Unlock()
	signal(h.ready)
}

// take takes all batches that wait, in the order in which they came, and says whether it is the end: the handover is closed. Each time that
// it takes some, done is to be called when they are published. ready says when it is worth taking.
func (h *handover) take() (all []executed, end bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if all = h.waiting; len(all) > 0 {
		h.waiting = nil
		h.leaving = append(h.leaving, h.records)
		h.records = map[*lane]int{}
		clear(h.bytes)
		close(h.taken)
		h.taken = make(chan struct{})
	}
	return all, h.closed
}

// done says that the oldest of what was taken is published.
func (h *handover) done() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leaving = h.leaving[1:]
	close(h.published)
	h.published = make(chan struct{})
}

// busy gives what closes when it is worth looking again whether the lane should execute n records more; nil when it should now. It should not
// while there is no room for them. Nor, unless it has a full batch or all would be few enough to overlap, while its latest batch is being
// published, or about to be: these records would wait for the end of that anyway, and meet others until then. When its latest batch waits
// for another lane's publication, they go along with it.
func (h *handover) busy(l *lane, n int, full bool) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	waiting, leaving := h.records[l], 0
	for _, records := range h.leaving {
		leaving += records[l]
	}
	switch {
	case waiting > 0 && (waiting+n > h.limit || h.bytes[l] >= 2*queueBytes):
		return h.taken
	case !full && waiting+leaving+n > h.overlap && (leaving > 0 || len(h.leaving) == 0 && waiting > 0):
		return h.published
	}
	return nil
}

// close lets nothing more in; what waits is still taken.
func (h *handover) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	signal(h.ready)
}
