package handler

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"testing"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// unconnected makes a handler's producer, at least once, whose brokers answer others than the client.
func unconnected(t *testing.T) (*Handler, *producer) {
	t.Helper()
	h := &Handler{cfg: Config{Kafka: Kafka{Brokers: "127.0.0.1:1", Dial: answering(int32(1))}}.withDefaults(), log: slog.New(slog.DiscardHandler)}
	p, err := newProducer(h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return h, p
}

// Where a producer that failed cannot be replaced, as when a file of its identity is gone for a moment, those who ask the brokers over its
// connections still can.
func TestAProducerThatCannotBeReplacedIsKept(t *testing.T) {
	t.Parallel()
	h, p := unconnected(t)
	asked := func() error {
		return p.admin(t.Context(), func(_ context.Context, client *kafka.AdminClient) error {
			_, err := client.GetMetadata(nil, true, 100)
			if isKafka(err, kafka.ErrTransport, kafka.ErrTimedOut) {
				return nil // nobody is there to answer
			}
			return err
		})
	}
	h.cfg.Kafka.TLS.CA = "/nowhere.crt"
	if err := p.renew(&p.main); err == nil {
		t.Fatal("a producer was made without its certificate")
	}
	if err := asked(); err != nil {
		t.Errorf("after it could not be replaced: %v", err)
	}
	h.cfg.Kafka.TLS.CA = ""
	if err := p.renew(&p.main); err != nil {
		t.Fatal(err)
	}
	if err := asked(); err != nil {
		t.Errorf("after it was replaced: %v", err)
	}
}

// At least once, answers have a client of their own beside that of all else. After a refusal both are replaced, and the one that failed for
// good is told.
func TestBothProducersAreReplacedAfterARefusal(t *testing.T) {
	t.Parallel()
	_, p := unconnected(t)
	if len(p.lines()) != 2 {
		t.Fatalf("%d producers", len(p.lines()))
	}
	for i, failing := range p.lines() {
		var before []*kafka.Producer
		for _, l := range p.lines() {
			before = append(before, l.client)
		}
		if code := failing.client.TestFatalError(kafka.ErrOutOfOrderSequenceNumber, "of the test"); code != kafka.ErrNoError {
			t.Fatal(code)
		}
		if err := p.anew(); !isKafka(err, kafka.ErrOutOfOrderSequenceNumber) || !strings.Contains(err.Error(), strconv.Quote(failing.name)) {
			t.Errorf("producer %d failed, and it says %v", i, err)
		}
		for j, l := range p.lines() {
			if l.client == before[j] {
				t.Errorf("producer %d failed, and producer %d was not replaced", i, j)
			}
		}
		if err := p.anew(); err != nil {
			t.Errorf("once more: %v", err)
		}
	}
}
