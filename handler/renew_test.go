package handler

import (
	"context"
	"log/slog"
	"slices"
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

// At least once, answers have a client of their own beside that of all else. After a refusal the one that the record was sent over is replaced,
// and one that failed for good, which is told.
func TestProducersAreReplacedAfterARefusal(t *testing.T) {
	t.Parallel()
	_, p := unconnected(t)
	if len(p.lines()) != 2 {
		t.Fatalf("%d producers", len(p.lines()))
	}
	for name, c := range map[string]struct {
		over, failed []*line
	}{
		"both sent":                          {over: p.lines()},
		"one sent, and failed":               {over: p.lines()[:1], failed: p.lines()[:1]},
		"one sent, and the other one failed": {over: p.lines()[:1], failed: p.lines()[1:]},
		"one failed while nothing was sent":  {failed: p.lines()[1:]},
		"nothing happened":                   {},
	} {
		before := map[*line]*kafka.Producer{}
		for _, l := range p.lines() {
			before[l] = l.client
		}
		for _, l := range c.failed {
			if code := l.client.TestFatalError(kafka.ErrOutOfOrderSequenceNumber, "of the test"); code != kafka.ErrNoError {
				t.Fatal(code)
			}
		}
		err := p.anew(c.over...)
		if len(c.failed) == 0 && err != nil || len(c.failed) > 0 && (!isKafka(err, kafka.ErrOutOfOrderSequenceNumber) || !strings.Contains(err.Error(), strconv.Quote(c.failed[0].name))) {
			t.Errorf("%s: %v", name, err)
		}
		for _, l := range p.lines() {
			if replaced := l.client != before[l]; replaced != (slices.Contains(c.over, l) || slices.Contains(c.failed, l)) {
				t.Errorf("%s: that %q was replaced is %t", name, l.name, replaced)
			}
		}
	}
}
