package handler_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/linkedin/goavro/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
	"openbank/schemas"
)

// wire frames an Avro payload.
func wire(id int, payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(id)), payload...)
}

// register registers a schema and returns its id.
func (b *bundle) register(subject, text string) int {
	b.t.Helper()
	id, err := b.registry.Register(b.t.Context(), subject, text)
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

// otherID is the schema of a transfer whose id is too short.
func otherID() string {
	return strings.Replace(schemas.Text("ConfirmMoneyTransfer"), `"size": 16`, `"size": 12`, 1)
}

func TestWhatCanNeverBeHandledBecomesADeadLetter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	h := b.start("UNKNOWN_SCHEMA_AFTER=300ms")
	w := b.watch(creationAnswers, transferAnswers, creations+deadLetterSuffix, transfers+deadLetterSuffix)
	var n ids
	account := b.open(w, n.next())
	good := bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 1, From: bank.Cash, To: account.IBAN}
	b.send(b.command(&good))
	reused := good
	reused.Amount = 2
	goodWire := b.command(&good).Value
	if otherID() == schemas.Text("ConfirmMoneyTransfer") {
		t.Fatal("the schema of a transfer is not written as this test expects")
	}
	short := b.register("test-short", otherID())
	codec, err := goavro.NewCodec(otherID())
	if err != nil {
		t.Fatal(err)
	}
	shortID, err := codec.BinaryFromNative(nil, map[string]any{
		"id": make([]byte, 12), "token": "", "amount": int64(1), "from": "cash", "to": account.IBAN, "description": "",
	})
	if err != nil {
		t.Fatal(err)
	}

	for i, c := range []struct {
		name   string
		topic  string
		value  []byte
		reason string
	}{
		{"a null value", transfers, nil, "null"},
		{"an empty value", creations, []byte{}, ""},
		{"text", transfers, []byte("hello"), ""},
		{"a record cut short", transfers, goodWire[:len(goodWire)-3], ""},
		{"a record with more behind it", transfers, append(bytes.Clone(goodWire), 0), ""},
		{"a schema id that nobody knows", transfers, wire(987654, goodWire[5:]), "987654"},
		{"an id of the wrong length", transfers, wire(short, shortID), "id"},
		{"a transfer among the account creations", creations, goodWire, "ConfirmMoneyTransfer"},
		{"an account creation among the transfers", transfers, b.command(&bank.ConfirmAccountCreation{ID: n.next(), Type: bank.Auto}).Value, "ConfirmAccountCreation"},
		{"an id used before for another transfer", transfers, b.command(&reused).Value, "id reused with other content"},
	} {
		key := fmt.Appendf(nil, "garbage-%d", i)
		sent := &kgo.Record{Topic: c.topic, Key: key, Value: c.value, Headers: []kgo.RecordHeader{{Key: "theirs", Value: []byte("h")}}}
		b.send(sent)
		letter := w.wait(c.topic+deadLetterSuffix, string(key), 1)[0]
		if !bytes.Equal(letter.Value, c.value) || (letter.Value == nil) != (c.value == nil) {
			t.Errorf("%s: the value is %q, it was %q", c.name, letter.Value, c.value)
		}
		for name, want := range map[string]string{
			"theirs": "h", "dead-letter-topic": c.topic,
			"dead-letter-partition": strconv.Itoa(int(sent.Partition)), "dead-letter-offset": strconv.FormatInt(sent.Offset, 10),
		} {
			if got := header(letter, name); got != want {
				t.Errorf("%s: the header %s is %q, want %q", c.name, name, got, want)
			}
		}
		if millis, err := strconv.ParseInt(header(letter, "dead-letter-timestamp"), 10, 64); err != nil || millis != sent.Timestamp.UnixMilli() {
			t.Errorf("%s: the header dead-letter-timestamp is %q, the record is of %d", c.name, header(letter, "dead-letter-timestamp"), sent.Timestamp.UnixMilli())
		}
		if reason := header(letter, "dead-letter-reason"); reason == "" || !strings.Contains(reason, c.reason) {
			t.Errorf("%s: the reason is %q", c.name, reason)
		}
		if letter.Partition != sent.Partition {
			t.Errorf("%s: came from partition %d, went to %d", c.name, sent.Partition, letter.Partition)
		}
	}
	// And on it goes, on the same partitions.
	for range 20 {
		deposit := bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 1, From: bank.Cash, To: account.IBAN}
		b.send(b.command(&deposit))
		w.wait(transferAnswers, deposit.ID.String(), 1)
	}
	b.open(w, n.next())
	if letters := strings.Count(h.text(), `msg="dead letter"`); letters != 10 {
		t.Errorf("%d dead letters are logged", letters)
	}
	if answers := w.of(transferAnswers, good.ID.String()); len(answers) != 1 {
		t.Errorf("an id that was reused has %d answers", len(answers))
	}
	b.stop(h)
}

// newWriter is a schema that nobody has registered yet: a transfer with one more field.
func newWriter(extra string) string {
	return strings.Replace(schemas.Text("ConfirmMoneyTransfer"), `"fields": [`,
		`"fields": [ { "name": "`+extra+`", "type": "string", "default": "" },`, 1)
}

func (b *bundle) written(text string, id int, c *bank.ConfirmMoneyTransfer) *kgo.Record {
	b.t.Helper()
	codec, err := goavro.NewCodec(text)
	if err != nil {
		b.t.Fatal(err)
	}
	payload, err := codec.BinaryFromNative(nil, map[string]any{
		"id": c.ID[:], "token": c.Token, "amount": c.Amount, "from": c.From, "to": c.To, "description": c.Description, "extra": "more",
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return &kgo.Record{Topic: transfers, Key: []byte(c.ID.String()), Value: wire(id, payload)}
}

// A registry that does not answer, and one that answers 404 without saying that the schema is unknown, delay a record with a
// schema that is new to the handler; they never make it a dead letter. The other partitions go on.
func TestARegistryThatDoesNotAnswerStallsOnePartition(t *testing.T) {
	t.Parallel()
	for name, takeAway := range map[string]func(b *bundle, id int) (env string, giveBack func()){
		"away": func(b *bundle, _ int) (string, func()) {
			return "SCHEMA_REGISTRY_URL=" + b.bank.Registry.URL(), func() {
				if err := b.bank.Registry.Start(b.t.Context()); err != nil {
					b.t.Error(err)
				}
			}
		},
		"answering 404 in HTML": func(b *bundle, id int) (string, func()) {
			broken := make(chan struct{})
			real := b.bank.Registry.URL()
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				select {
				case <-broken:
					http.Redirect(w, r, real+r.URL.Path, http.StatusTemporaryRedirect)
				default:
					if r.URL.Path == fmt.Sprint("/schemas/ids/", id) {
						http.Error(w, "<html>not found</html>", http.StatusNotFound)
						return
					}
					http.Redirect(w, r, real+r.URL.Path, http.StatusTemporaryRedirect)
				}
			}))
			b.t.Cleanup(proxy.Close)
			return "SCHEMA_REGISTRY_URL=" + proxy.URL, func() { close(broken) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.synchronize()
			text := newWriter("extra")
			id := b.register("test-extra", text)
			w := b.watch(creationAnswers, transferAnswers, transfers+deadLetterSuffix)
			var n ids

			env, giveBack := takeAway(b, id)
			h := b.start(env, "UNKNOWN_SCHEMA_AFTER=200ms")
			stalled := &bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 7, From: bank.Cash, To: bank.CompanyIBAN}
			record := b.written(text, id, stalled)
			record.Partition = 3
			var others []*kgo.Record
			for p := range int32(9) {
				c := &bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 7, From: bank.Cash, To: bank.CompanyIBAN}
				r := b.command(c)
				r.Partition = p
				others = append(others, r)
			}
			manual := b.manual()
			first := &bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 7, From: bank.Cash, To: bank.CompanyIBAN}
			b.send(b.command(first))
			w.wait(transferAnswers, first.ID.String(), 1) // the handler knows the ordinary schema now
			if name == "away" {
				if err := b.bank.Registry.Stop(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := manual.ProduceSync(t.Context(), append([]*kgo.Record{record}, others...)...).FirstErr(); err != nil {
				t.Fatal(err)
			}
			for _, r := range others {
				if r.Partition != 3 {
					w.wait(transferAnswers, string(r.Key), 1)
				}
			}
			b.eventually("the registry's failure is logged", reasonableTimeout, h.says("registry"))
			if len(w.of(transferAnswers, string(record.Key))) > 0 || len(w.of(transferAnswers, string(others[3].Key))) > 0 {
				t.Error("the stalled partition went on")
			}
			giveBack()
			w.wait(transferAnswers, string(record.Key), 1)
			w.wait(transferAnswers, string(others[3].Key), 1)
			if letters := w.of(transfers+deadLetterSuffix, ""); len(letters) > 0 {
				t.Errorf("%d dead letters", len(letters))
			}
			b.answered(reasonableTimeout, false)
			b.stop(h)
		})
	}
}

// manual is a producer to partitions that records name.
func (b *bundle) manual(more ...kgo.Opt) *kgo.Client {
	b.t.Helper()
	client, err := b.kafka.Client("test", append(more, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(client.Close)
	return client
}
