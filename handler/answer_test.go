package handler

import (
	"testing"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"openbank/bank"
	"openbank/schemas"
	"openbank/store"
)

// composing returns a producer that has the schemas, and a batch of transfers with two events each.
func composing(t *testing.T, transfers int) (*producer, executed) {
	t.Helper()
	h := &Handler{}
	h.encoders.name(Topics{}.withDefaults())
	for id, o := range h.encoders.all() {
		text, err := schemas.Files.ReadFile(o.record + ".avsc")
		if err != nil {
			t.Fatal(err)
		}
		encoder, err := schemas.NewEncoder(o.record, id+1, string(text))
		if err != nil {
			t.Fatal(err)
		}
		o.encoder.Store(encoder)
	}
	event := bank.BalanceChanged{IBAN: "NL66OPEN0000000000", NewBalance: 1, ChangedBy: 1, FromTo: "cash", Description: "d", Version: 12345}
	b := executed{lane: &lane{h: h}}
	for range transfers {
		r := record{
			command: &bank.ConfirmMoneyTransfer{},
			headers: []kafka.Header{{Key: "other", Value: []byte("1")}, {Key: "traceparent", Value: []byte("00-1")}},
		}
		r.conclude(&store.Outcome{Disposition: store.Executed, Events: []bank.BalanceChanged{event, event}})
		b.records = append(b.records, r)
	}
	return &producer{h: h}, b
}

func TestMessagesAreWhatWasComposed(t *testing.T) {
	t.Parallel()
	p, b := composing(t, 1)
	if err := p.compose(b.records); err != nil {
		t.Fatal(err)
	}
	if len(p.out) != 3 {
		t.Fatalf("%d records, want an answer and two events", len(p.out))
	}
	for i, want := range []struct {
		topic, key string
		headers    []string
	}{
		{"money_transfer_feedback", "00000000-0000-0000-0000-000000000000", []string{"traceparent=00-1"}},
		{"balance_changed", "NL66OPEN0000000000", []string{"account-version=12345", "traceparent=00-1"}},
		{"balance_changed", "NL66OPEN0000000000", []string{"account-version=12345", "traceparent=00-1"}},
	} {
		m := p.assemble(&p.out[i])
		if *m.TopicPartition.Topic != want.topic || string(m.Key) != want.key || len(m.Headers) != len(want.headers) {
			t.Errorf("record %d is %s %s with %v", i, *m.TopicPartition.Topic, m.Key, m.Headers)
			continue
		}
		for j, h := range m.Headers {
			if got := h.Key + "=" + string(h.Value); got != want.headers[j] {
				t.Errorf("record %d has header %s, want %s", i, got, want.headers[j])
			}
		}
		if len(m.Value) < 5 || m.Value[0] != 0 || m.Value[4] == 0 {
			t.Errorf("record %d has the value %x", i, m.Value)
		}
	}
}

// What a command's three records cost besides what their encoders take: the message handed to their encoder, and no message for the client.
func TestComposingAllocatesLittle(t *testing.T) { // not parallel: AllocsPerRun forbids it
	const transfers = 100
	p, b := composing(t, transfers)
	compose := func() {
		p.out, p.arena = p.out[:0], p.arena[:0]
		if err := p.compose(b.records); err != nil {
			t.Fatal(err)
		}
		for i := range p.out {
			p.assemble(&p.out[i])
		}
	}
	compose()
	if each := testing.AllocsPerRun(50, compose) / transfers; each > 14 { // it is 8, and 11 under the race detector, whose pools forget
		t.Errorf("%.1f allocations a command", each)
	} else {
		t.Logf("%.1f allocations a command", each)
	}
}
