package handler

import (
	"sync"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// reports are what one Kafka client says of its deliveries.
type reports struct {
	link    *link
	reading sync.WaitGroup

	mu   sync.Mutex
	left bool
}

// read takes the reports until the client closes, and calls failed when it has failed for good.
func (r *reports) read(events <-chan kafka.Event, failed func()) {
	for event := range events {
		switch e := event.(type) {
		case *kafka.Message:
			r.take(e)
		case kafka.Error:
			r.link.lost(e)
			if e.IsFatal() {
				r.unlessLeft(failed)
			}
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
	switch of := m.Opaque.(type) { // nil when a transaction says whether it was delivered
	case *outgoing:
		of.err = err
		of.flight.done(1)
	case *flight:
		if err != nil {
			of.fail(*m.TopicPartition.Topic, err)
		}
		of.done(1)
	}
}

// unlessLeft calls something of a client that is not about to be closed.
func (r *reports) unlessLeft(call func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.left {
		call()
	}
}

// leave has all further reports ignored: what they are about is published by now, or sent again by another client and from the same memory.
func (r *reports) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = true
}
