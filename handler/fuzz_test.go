package handler

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
	"openbank/deadletter"
	"openbank/schemas"
	"openbank/store"
)

// path is the way of a record without its servers.
type path struct {
	h        *Handler
	lane     *lane
	epoch    *epoch
	producer *producer
}

const evolvedID = 100

func newPath(f *testing.F, name string) *path {
	f.Helper()
	h := &Handler{cfg: Config{}.withDefaults(), decoder: schemas.NewDecoder()}
	for id, record := range schemas.Names {
		h.decoder.Learn(id, schemas.Text(record))
	}
	h.decoder.Learn(evolvedID, `{"type":"record","name":"ConfirmMoneyTransfer","namespace":"nl.openweb.data","fields":[
		{"name":"id","type":{"type":"fixed","name":"Uuid","size":16}},{"name":"amount","type":["null","int","long"]},
		{"name":"more","type":{"type":"array","items":{"type":"map","values":["null","string"]}}},
		{"name":"from","type":["string","null"]},{"name":"to","type":"bytes"}]}`)
	h.encoders.name(h.cfg.Topics)
	for _, o := range h.encoders.all() {
		for id, record := range schemas.Names {
			if record == o.record {
				encoder, err := schemas.NewEncoder(record, id, schemas.Text(record))
				if err != nil {
					f.Fatal(err)
				}
				o.encoder.Store(encoder)
			}
		}
	}
	l := &lane{h: h, topic: topic{name: name, partitions: 9}, working: map[*epoch]struct{}{}, drained: make(chan struct{}, 1), ctx: context.Background()}
	l.letters = newLetters(h, l.topic)
	l.letters.partitions.Store(9)
	p := &path{h: h, lane: l, epoch: l.newEpoch(3), producer: &producer{h: h}}
	f.Cleanup(p.epoch.end)
	return p
}

// FuzzRecord sends a record through decode, queue, batch, the bank's rules and the composition of its answers, or to its dead letter. It
// becomes one of the two, within the brokers' limits, and says what it was.
func FuzzRecord(f *testing.F) {
	paths := map[bool]*path{true: newPath(f, "confirm_money_transfer"), false: newPath(f, "confirm_account_creation")}
	id := bank.ID{1, 2, 3}
	for i, message := range []any{
		&schemas.Heartbeat{Beat: 7}, &bank.ConfirmAccountCreation{ID: id, Type: bank.Manual}, &bank.AccountCreationFailed{ID: id, Reason: "r"},
		&bank.ConfirmMoneyTransfer{ID: id, Token: "token", Amount: 5, From: bank.CompanyIBAN, To: "shop", Description: "d\x00"},
		&bank.ConfirmMoneyTransfer{ID: id, Amount: math.MaxInt64, From: bank.Cash, To: bank.CompanyIBAN, Description: "d"},
	} {
		for number, record := range schemas.Names {
			if record != schemas.Name(message) {
				continue
			}
			encoder, err := schemas.NewEncoder(record, number, schemas.Text(record))
			if err != nil {
				f.Fatal(err)
			}
			wire, err := encoder.Append(nil, message)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(wire, []byte("key"), "traceparent", []byte("00-1-2-01"), i%2 == 0)
			f.Add(wire[:len(wire)-1], []byte(nil), "dead-letter-reason", []byte("why"), true)
			f.Add(append(wire, 0), wire, "dead-letter-offset", []byte("-1"), true)
		}
	}
	f.Add(binary.BigEndian.AppendUint32([]byte{0}, evolvedID), []byte{0xff}, "\xff", []byte{0}, true)
	f.Add(binary.BigEndian.AppendUint32([]byte{0}, 9999), []byte{}, "", []byte{}, false)
	f.Add([]byte(nil), []byte(nil), "dead-letter-headers-cut", []byte("true"), false)
	f.Fuzz(func(t *testing.T, value, key []byte, name string, header []byte, transfers bool) {
		paths[transfers].take(t, value, key, name, header)
	})
}

func (p *path) take(t *testing.T, value, key []byte, name string, header []byte) {
	t.Helper()
	m := &kafka.Message{
		TopicPartition: kafka.TopicPartition{Topic: &p.lane.topic.name, Partition: 3, Offset: 42}, Key: key, Value: value,
		Headers: []kafka.Header{{Key: name, Value: header}, {Key: "correlation-id", Value: value}, {Key: name, Value: key}},
	}
	r, err := p.h.decode(p.lane.topic, m)
	var unknown *unknownSchema
	if errors.As(err, &unknown) {
		p.h.refused.add(unknown.id, refusedFor)
		r, err = p.h.decode(p.lane.topic, m)
	}
	if err != nil || (r.command == nil) == (r.unreadable == "") {
		t.Fatalf("decoded as %+v, %v", r, err)
	}
	r.epoch = p.epoch
	q := newQueue(10, 10, queueBytes)
	q.put(r)
	batch, _ := q.take(nil, free)
	stored := p.lane.batch(batch)
	if len(batch) != 1 || q.bytes != 0 || len(stored.Commands) != 1 && r.command != nil || len(stored.Progress) != 1 || stored.Progress[0].ExecutedTo != 43 {
		t.Fatalf("a batch of %d, %+v", len(batch), stored)
	}
	if r.command == nil {
		p.buried(t, &r)
		return
	}
	r.conclude(decided(t, r.command))
	p.answered(t, &r)
}

// buried checks the dead letter of a record.
func (p *path) buried(t *testing.T, r *record) {
	t.Helper()
	reason, _ := r.letter()
	m := deadLetter(p.lane, r, reason)
	for first := true; ; first = false {
		if n := size(m); n > maxLetter {
			t.Fatalf("a dead letter of %d bytes", n)
		}
		read := &kgo.Record{Topic: *m.TopicPartition.Topic, Key: m.Key, Value: m.Value}
		for _, h := range m.Headers {
			read.Headers = append(read.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		l := deadletter.Parse(read)
		if l.Reason != reason || reason == "" || l.Topic != p.lane.topic.name || l.Partition != 3 || l.Offset != 42 || l.Length != len(r.value) {
			t.Fatalf("%+v is read from %+v", l, m)
		}
		if !l.Cut && (!bytes.Equal(m.Value, r.value) || !bytes.Equal(m.Key, r.key) || len(l.Headers) != len(r.headers)) {
			t.Fatalf("%+v is not what it was", m)
		}
		if _, marked := deadletter.Marked(read); marked {
			t.Fatal("it is taken for a mark")
		}
		if !shorten(m) {
			if first && len(r.value) > 1000 {
				t.Fatal("it can't be shortened")
			}
			return
		}
	}
}

// decided is what the bank says of a command whose sender has an account with that token.
func decided(t *testing.T, command any) *store.Outcome {
	t.Helper()
	accounts := bank.Accounts{bank.CompanyIBAN: bank.Company()}
	transfer, ok := command.(*bank.ConfirmMoneyTransfer)
	if !ok {
		creation := command.(*bank.ConfirmAccountCreation)
		o := accounts.Create(creation, []string{bank.CompanyIBAN, "NL39OPEN0000000001"}, "token")
		return &store.Outcome{Disposition: store.Executed, Reason: o.Reason, IBAN: o.IBAN, Token: o.Token, Type: creation.Type}
	}
	if bank.ValidIBAN(transfer.From) {
		accounts[transfer.From] = &bank.Account{IBAN: transfer.From, Token: transfer.Token, Balance: 1 << 40, Limit: bank.DefaultLimit}
	}
	before := sum(accounts)
	o := accounts.Transfer(transfer)
	flow := int64(0)
	if o.Reason == "" && !o.From.Known {
		flow = transfer.Amount
	} else if o.Reason == "" && !o.To.Known {
		flow = -transfer.Amount
	}
	if after := sum(accounts); after != before+flow || o.Reason == "" && (transfer.Amount <= 0 || transfer.TextReason() != "") {
		t.Fatalf("%+v becomes %+v: %d is there after %d", transfer, o, after, before)
	}
	outcome := &store.Outcome{Disposition: store.Executed, Reason: o.Reason}
	if o.Reason == "" {
		outcome.Events = transfer.AppendEvents(nil, o.From, o.To)
	}
	return outcome
}

func sum(accounts bank.Accounts) (all int64) {
	for _, a := range accounts {
		all += a.Balance // wraps around in the same way on both sides
	}
	return all
}

// answered checks what a command is answered with.
func (p *path) answered(t *testing.T, r *record) {
	t.Helper()
	p.producer.out, p.producer.arena = nil, nil
	if err := p.producer.compose([]record{*r}); err != nil {
		t.Fatalf("%+v can't be answered: %v", r.command, err)
	}
	if len(p.producer.out) != 1+len(r.outcome.Events) {
		t.Fatalf("%d records answer %+v", len(p.producer.out), r.outcome)
	}
	for i := range p.producer.out {
		m := p.producer.assemble(&p.producer.out[i])
		if n := size(m); n > 16<<10 {
			t.Fatalf("a record of %d bytes on %s", n, *m.TopicPartition.Topic)
		}
		if _, err := p.h.decoder.Decode(m.Value); err != nil {
			t.Fatalf("%s gets what nobody can read: %v", *m.TopicPartition.Topic, err)
		}
	}
}
