package handler

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// Delivery is what a handler promises about answers, events and dead letters when it dies or is cut off.
type Delivery string

const (
	// Auto is ExactlyOnce where the brokers can, AtLeastOnce, with a warning, where they are older than 2.5.
	Auto Delivery = "auto"
	// ExactlyOnce publishes answers, events, dead letters and offsets in one Kafka transaction: a reader of committed
	// records sees each once.
	ExactlyOnce Delivery = "exactly-once"
	// AtLeastOnce publishes, then commits offsets: after a crash some are published again, byte for byte the same.
	AtLeastOnce Delivery = "at-least-once"
)

// Valid says whether d is one of the three.
func (d Delivery) Valid() bool { return d == Auto || d == ExactlyOnce || d == AtLeastOnce }

// Requests of the Kafka protocol, and the versions of them that we depend on (kafka.apache.org/protocol).
const (
	apiVersions     = 18
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
	dial := k.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	var common versions
	var silent []error
	for _, address := range strings.Split(k.Brokers, ",") {
		can, err := askBroker(ctx, dial, strings.TrimSpace(address))
		if err != nil {
			silent = append(silent, fmt.Errorf("no answer from Kafka at %s: %w", address, err))
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
		return nil, errors.Join(silent...)
	}
	return common, nil
}

// askTime bounds the question to one broker.
const askTime = 3 * time.Second

// askBroker sends ApiVersions in its first version, which every broker since 0.10 answers.
func askBroker(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error), address string) (can versions, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(askTime)); err != nil {
		return nil, err
	}
	request := []byte{0, 0, 0, 10, 0, apiVersions, 0, 0, 0, 0, 0, 1, 0xff, 0xff} // size, request, version, number, no client id
	if _, err := conn.Write(request); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, fmt.Errorf("it closes the connection or speaks another protocol: %w", err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 10 || n > 64<<10 {
		return nil, errors.New("it does not speak Kafka's protocol; does it want TLS?")
	}
	answer := make([]byte, n)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil, err
	}
	if code := binary.BigEndian.Uint16(answer[4:]); code != 0 {
		return nil, fmt.Errorf("it refuses to tell its versions: error code %d", code)
	}
	can = versions{}
	for list := answer[10:]; len(list) >= 6; list = list[6:] { // after number, error code and length
		can[int16(binary.BigEndian.Uint16(list))] = int16(binary.BigEndian.Uint16(list[4:]))
	}
	return can, nil
}
