package security

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
	"openbank/deadletter"
	"openbank/embedded"
	"openbank/schemas"
)

// A few are enough to have each kind of record, of any size, on each partition; `make memory` sends a million.
func TestHostileRecordsBecomeDeadLetters(t *testing.T) {
	t.Parallel()
	w, around := newEmbedded(t, embedded.Config{})
	h := w.start("command-handler", append(w.environment(around.Certificate("command-handler")), "UNKNOWN_SCHEMA_AFTER=500ms"))
	newHostile(w, 300).send(4000).buried(reasonable)
	t.Logf("peak of resident memory: %d MiB", h.peak()>>20)
	w.send(w.creation(), w.deposit())
	w.answered(creationAnswers, 1)
	w.answered(transferAnswers, 2)
	h.stop()
}

// hostile makes records that no handler can handle, the same ones for the same number. None of them is a command, but for those that say an
// id again with other content.
type hostile struct {
	*world
	every   int // so many records apart are those of 1 MB, and those of a schema id that was not there before
	known   bank.ID
	bombs   []bomb
	samples map[string][]byte // a value of each record that is no command of the topic

	mu   sync.Mutex
	sent map[spot]int // number by place
}

// spot is where a record stands.
type spot struct {
	topic     string
	partition int32
	offset    int64
}

// bomb is a record of a registered schema that is small and would be large in memory.
type bomb struct {
	value []byte
}

func newHostile(w *world, every int) *hostile {
	w.t.Helper()
	h := &hostile{world: w, every: every, known: w.id(), samples: map[string][]byte{}, sent: map[spot]int{}}
	first := w.record(transfers, h.known, &bank.ConfirmMoneyTransfer{ID: h.known, Amount: 5, From: bank.Cash, To: bank.CompanyIBAN})
	w.send(first)
	w.answered(transferAnswers, 1)
	h.samples[creations] = first.Value
	h.samples[transfers] = w.creation().Value
	h.bombs = w.bombs()
	return h
}

// bombs registers schemas and makes a record of each.
func (w *world) bombs() (all []bomb) {
	w.t.Helper()
	record := func(field string) string {
		return strings.Replace(schemas.Text("ConfirmMoneyTransfer"), `"fields": [`, `"fields": [{"name":"more","type":`+field+`},`, 1)
	}
	nulls := make([]string, 900)
	for i := range nulls {
		nulls[i] = fmt.Sprintf(`{"name":"n%d","type":"null"}`, i)
	}
	blocks := func(item string) []byte {
		var b []byte
		for len(b) < 500_000 {
			b = binary.AppendVarint(b, 16000)
			b = append(b, strings.Repeat(item, 16000)...)
		}
		return b
	}
	for field, more := range map[string][]byte{
		`{"type":"array","items":"boolean"}`:                          blocks("\x01"),
		`{"type":"array","items":{"type":"array","items":"boolean"}}`: blocks("\x00"),
		`{"type":"map","values":{"type":"array","items":"int"}}`:      blocks("\x02k\x00"),
		`{"type":"array","items":"string"}`:                           binary.AppendVarint(nil, 1<<60),
		`{"type":"array","items":"bytes"}`:                            binary.AppendVarint(binary.AppendVarint(nil, -1<<62), math.MinInt64),
		`{"type":"array","items":{"type":"record","name":"N","fields":[{"name":"b","type":"boolean"},` + strings.Join(nulls, ",") + `]}}`: blocks("\x01"),
		strings.Repeat(`{"type":"array","items":`, 200) + `"int"` + strings.Repeat("}", 200):                                              bytes.Repeat([]byte{2}, 200),
	} {
		text := record(field)
		if text == schemas.Text("ConfirmMoneyTransfer") {
			w.t.Fatal("the schema has no fields to add one to")
		}
		id, err := w.schemas.Register(w.t.Context(), fmt.Sprintf("hostile-%d", len(all)), text)
		if err != nil {
			w.t.Fatal(err)
		}
		value := binary.BigEndian.AppendUint32([]byte{0}, uint32(id))
		all = append(all, bomb{append(value, more...)})
	}
	return all
}

var strange = []string{"\x00", "\xff\xfe", "'; DROP TABLE balance; --", "\u202e\u2066", strings.Repeat("é", 5000), "%s%n${jndi:ldap://x}", "\r\nlevel=ERROR msg=forged", "\x1b[2J"}

// record is the hostile record of a number.
func (h *hostile) record(i int) *kgo.Record {
	random := rand.New(rand.NewPCG(7, uint64(i)))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for j := range b {
			b[j] = byte(random.Uint32())
		}
		if n > 0 {
			b[0] |= 1 // not the byte that a schema id follows
		}
		return b
	}
	header := func(id uint32) []byte { return binary.BigEndian.AppendUint32([]byte{0}, id) }
	rare := i%h.every < kinds
	r := &kgo.Record{Topic: transfers, Key: []byte(strconv.Itoa(i))}
	if i/kinds%10 == 0 {
		r.Topic = creations
	}
	command := slices.Clone(h.samples[map[string]string{creations: transfers, transfers: creations}[r.Topic]])
	switch i % kinds {
	case 0:
		r.Value = noise(random.IntN(400))
	case 1:
		r.Value = command[:random.IntN(len(command))]
	case 2: // a text that says that it is longer than memory, or shorter than nothing
		length := []int64{math.MaxInt64, math.MaxInt32, 1 << 40, -1, math.MinInt64}[random.IntN(5)]
		r.Topic = transfers
		r.Value = append(binary.AppendVarint(slices.Clone(h.samples[creations][:5+16]), length), "text"...)
	case 3: // a schema that nobody registered
		id := uint32(900_000 + random.IntN(5))
		if rare {
			id = 1_000_000 + uint32(i)
		} else if random.IntN(4) == 0 {
			id = math.MaxUint32 - uint32(random.IntN(1000))
		}
		r.Value = append(header(id), noise(50)...)
	case 4:
		r.Value = nil
	case 5:
		r.Value = h.samples[r.Topic]
	case 6:
		r.Value = noise(4096)
		if rare {
			r.Value = noise(maxRecord - 200)
		}
	case 7:
		r.Value = slices.Concat(command, noise(1+random.IntN(100)))
	case 8:
		r.Key, r.Value = noise(random.IntN(2000)), noise(10)
	case 9:
		r.Value = noise(10)
		for range random.IntN(100) {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: string(noise(random.IntN(50))), Value: noise(random.IntN(50))})
		}
		for _, name := range []string{deadletter.Topic, deadletter.Offset, deadletter.Reason, deadletter.Replayed, "traceparent", strange[random.IntN(len(strange))]} {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: []byte("7")})
		}
		if rare {
			r.Headers = []kgo.RecordHeader{{Key: "dead-letter-" + strings.Repeat("x", random.IntN(500_000)), Value: noise(500_000)}}
		}
	case 10:
		r.Value = h.bombs[random.IntN(len(h.bombs))].value
		if !rare && len(r.Value) > 1000 {
			r.Value = r.Value[:1000]
		}
	case 11: // an id with other content than it came with first, and that of every kind
		r.Topic = transfers
		of := func() string { return strange[random.IntN(len(strange))] }
		r = h.world.record(r.Topic, h.known, &bank.ConfirmMoneyTransfer{ID: h.known, Token: of(), Amount: int64(i), From: of(), To: of(), Description: of()})
	}
	return r
}

const kinds = 12

// send sends n of them and notes where each went.
func (h *hostile) send(n int) *hostile {
	h.t.Helper()
	var failed error
	for i := range n {
		h.client.Produce(h.t.Context(), h.record(i), func(r *kgo.Record, err error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("record %d: %w", i, err))
				return
			}
			h.sent[spot{r.Topic, r.Partition, r.Offset}] = i
		})
	}
	if err := errors.Join(h.client.Flush(h.t.Context()), failed); err != nil {
		h.t.Fatal(err)
	}
	return h
}

// buried waits until each of them is a dead letter, committed, and wants it to be one, with what it was.
func (h *hostile) buried(within time.Duration) {
	h.t.Helper()
	found, of := map[spot]bool{}, map[int]int{}
	each := func(r *kgo.Record) {
		l := deadletter.Parse(r)
		at := spot{l.Topic, l.Partition, l.Offset}
		i, ours := h.sent[at]
		switch {
		case !ours:
			h.t.Errorf("%s/%d/%d is a dead letter of %v, which nobody sent", r.Topic, r.Partition, r.Offset, at)
		case found[at]:
			h.t.Errorf("record %d has two dead letters", i)
		}
		found[at] = true
		of[i%kinds]++
		if err := same(l, r, h.record(i)); err != nil {
			h.t.Errorf("the dead letter of record %d, of kind %d: %v", i, i%kinds, err)
		}
	}
	err := h.read([]string{creations + deadLetter, transfers + deadLetter}, within, each, func() bool { return len(found) == len(h.sent) })
	if err != nil {
		h.t.Fatalf("%d of %d hostile records are dead letters: %v; of each kind %v", len(found), len(h.sent), err, of)
	}
	h.t.Logf("%d dead letters, of each kind %v", len(found), of)
}

// same wants a letter to hold what the record was, or to say what was cut of it.
func same(l deadletter.Letter, letter, record *kgo.Record) error {
	if l.Reason == "" || len(l.Reason) > 1000 {
		return fmt.Errorf("its reason has %d bytes", len(l.Reason))
	}
	if !l.Cut {
		if !bytes.Equal(letter.Key, record.Key) || !bytes.Equal(letter.Value, record.Value) || (letter.Value == nil) != (record.Value == nil) || len(l.Headers) != len(record.Headers) {
			return fmt.Errorf("key, value or headers are others: %d, %d bytes, %d headers", len(letter.Key), len(letter.Value), len(l.Headers))
		}
		return nil
	}
	sum := sha256.Sum256(record.Value)
	if l.SHA256 != hex.EncodeToString(sum[:]) || l.Length != len(record.Value) || !bytes.HasPrefix(record.Value, letter.Value) {
		return fmt.Errorf("%d of %d bytes with the sum %s", len(letter.Value), l.Length, l.SHA256)
	}
	return nil
}

var highWater = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peak is the most memory that the program has had resident so far, in bytes.
func (p *program) peak() int64 {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		p.t.Fatal(err)
	}
	match := highWater.FindSubmatch(status)
	if match == nil {
		p.t.Fatalf("no VmHWM in %s", status)
	}
	kilobytes, _ := strconv.ParseInt(string(match[1]), 10, 64)
	return kilobytes << 10
}
