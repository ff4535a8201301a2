package handler

import (
	"context"
	"errors"
	"fmt"
)

// Delivery is what a handler promises about answers, events and dead letters when it dies or is cut off.
type Delivery string

const (
	// Auto is ExactlyOnce where the brokers can, AtLeastOnce, with a warning, where they are older than 2.5.
	Auto Delivery = "auto"
	// ExactlyOnce publishes answers, events, dead letters and offsets in one Kafka transaction: a reader of committed
	// records sees each once.
	ExactlyOnce Delivery = "exactly-once"
	// AtLeastOnce publishes, then commits offsets: after a crash some are published again, byte for byte the same unless their schema has
	// been replaced meanwhile.
	AtLeastOnce Delivery = "at-least-once"
)

// Valid says whether d is one of the three.
func (d Delivery) Valid() bool { return d == Auto || d == ExactlyOnce || d == AtLeastOnce }

// Requests of the client library's by whose versions one tells what brokers can (kafka.apache.org/protocol).
const (
	joinGroup       = 11
	txnOffsetCommit = 28

	staticMembers    = 5 // of JoinGroup: KIP-345, brokers from 2.3 on
	fencedGeneration = 3 // of TxnOffsetCommit: KIP-447, brokers from 2.5 on
)

// versions is the newest version of each request that every broker asked understands.
type versions map[int16]int16

// settle finds out what the brokers can, and with that how this handler delivers. Brokers that do not know generations in
// transactional offset commits take offsets from a handler that has lost its partitions, silently: nothing is exactly once
// there.
func (h *Handler) settle(ctx context.Context) error {
	var can versions
	err := h.until(ctx, h.log, findingKafka, func() (err error) {
		can, err = h.cfg.Kafka.ask(ctx)
		return err
	})
	if err != nil {
		return err
	}
	h.static = can[joinGroup] >= staticMembers
	fenced := can[txnOffsetCommit] >= fencedGeneration
	switch {
	case h.cfg.Delivery == ExactlyOnce && !fenced:
		return errors.New("delivery is exactly-once, but the brokers are older than Kafka 2.5 and cannot fence a handler that has lost its partitions: upgrade them, or set delivery to at-least-once")
	case h.cfg.Delivery == Auto && !fenced:
		h.log.Warn("delivery is at-least-once: the brokers are older than Kafka 2.5, which exactly-once needs")
	}
	h.exactlyOnce = fenced && h.cfg.Delivery != AtLeastOnce
	if h.exactlyOnce {
		h.meter.set.Gauge("openbank_exactly_once").Set(1)
	}
	return nil
}

// ask asks every broker that is named and answers for the requests it knows. The client library keeps that to itself.
func (k Kafka) ask(ctx context.Context) (versions, error) {
	var common versions
	var silent []error
	for _, address := range k.addresses() {
		can, err := k.askVersions(ctx, address)
		if err != nil {
			silent = append(silent, err)
			continue
		}
		if common == nil {
			common = can
		}
		for request := range common {
			common[request] = min(common[request], can[request])
		}
	}
	if common == nil {
		return nil, k.silence(silent)
	}
	return common, nil
}

func (k Kafka) askVersions(ctx context.Context, address string) (versions, error) {
	answer, err := k.call(ctx, address, apiVersions, nil)
	if err != nil {
		return nil, err
	}
	code, can := answer.int16(), versions{}
	answer.times(func() {
		request, _, newest := answer.int16(), answer.int16(), answer.int16()
		can[request] = newest
	})
	switch {
	case code != 0:
		return nil, fmt.Errorf("Kafka at %s refuses to tell its versions: %w", address, brokerError(code))
	case answer.cut || len(can) == 0:
		return nil, fmt.Errorf("Kafka at %s does not tell its versions: its answer is cut short", address)
	}
	return can, nil
}
