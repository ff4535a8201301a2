package handler

import (
	"sync"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// reports are what one Kafka client says of its deliveries.
type reports struct {
	link    *link
	reading sync.WaitGroup

	mu     sync.Mutex
	left   bool
	flight *flight // counts the reports that name no record; nil when a transaction says whether those were delivered
}

// expect has the reports that name no record counted for f. All those of the flight before must be in.
func (r *reports) expect(f *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flight = f
}

// read takes the reports until the client closes.
func (r *reports) read(events <-chan kafka.Event) {
	for event := range events {
		switch e := event.(type) {
		case *kafka.Message:
			r.take(e)
		case kafka.Error:
			r.link.lost(e)
		}
	}
}

func (r *reports) take(m *kafka.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left {
		return
	}
	err := m.TopicPartition.Error
	if o, ok := m.Opaque.(*outgoing); ok {
		o.err = err
		o.flight.done(1)
	} else if r.flight != nil {
		if err != nil {
			r.flight.fail(*m.TopicPartition.Topic, err)
		}
		r.flight.done(1)
	}
}

// leave has all further reports ignored: what they are about is sent again, by another client and from the same memory.
func (r *reports) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = true
}
