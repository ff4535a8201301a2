package handler

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"testing"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"pgregory.net/rapid"
)

// header is the last one of that name: a record may come with any.
func header(m *kafka.Message, key string) (value string) {
	for _, h := range m.Headers {
		if h.Key == key {
			value = string(h.Value)
		}
	}
	return value
}

// Between two tries the topic looks as if it took dead letters; what has the handler unready is that a partition waits.
func TestARefusalLastsForAsLongAsAPartitionWaits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		then  func(*letters, *epoch)
		ready bool
	}{
		"the topic is there":                 {func(d *letters, _ *epoch) { d.partitions.Store(9) }, false},
		"another one's dead letter is taken": {func(d *letters, _ *epoch) { d.taken(); d.passed(5, 100) }, false},
		"what is before it is published":     {func(d *letters, e *epoch) { d.passed(e.partition, 7) }, false},
		"it is published":                    {func(d *letters, e *epoch) { d.passed(e.partition, 8) }, true},
		"the partition goes":                 {func(d *letters, e *epoch) { d.left(e.partition) }, true},
		"one of two partitions goes": {func(d *letters, e *epoch) {
			other := e.lane.newEpoch(5)
			d.refuse(&letter{epoch: other, offset: 2}, errors.New("denied"))
			other.retire()
			d.left(e.partition)
		}, false},
		"the partition had gone": {func(d *letters, e *epoch) {
			d.left(e.partition)
			e.retire()
			d.refuse(&letter{epoch: e, offset: 7}, errors.New("denied"))
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := Config{}.withDefaults()
			d := newLetters(&Handler{cfg: cfg, log: slog.New(slog.DiscardHandler)}, topic{name: "t"})
			l := &lane{ctx: t.Context()}
			e := l.newEpoch(4)
			defer e.end()
			d.refuse(&letter{epoch: e, offset: 7}, errors.New("denied"))
			if want := "kafka: dead letters of t are refused by t.dead-letter: denied (for 0s)"; !slices.Equal(cfg.Health.Missing(), []string{want}) {
				t.Errorf("missing %q, want %q", cfg.Health.Missing(), want)
			}
			if c.then(d, e); cfg.Health.Ready() != c.ready {
				t.Errorf("ready: %v, want %v", !c.ready, c.ready)
			}
		})
	}
}

func TestCutDeadLetterFitsAndSaysWhatItWas(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		bytesOf := func(name string, most int) []byte {
			return bytes.Repeat([]byte{7}, rapid.IntRange(0, most).Draw(t, name))
		}
		value := bytesOf("value", 3000)
		m := kafka.Message{
			Key: bytesOf("key", 3000), Value: value,
			Headers: []kafka.Header{{Key: rapid.SampledFrom([]string{"theirs", "dead-letter-reason", "dead-letter-value-sha256", "dead-letter-headers-cut"}).Draw(t, "theirs"), Value: bytesOf("header", 3000)}, {Key: "dead-letter-reason", Value: []byte("why")}},
		}
		const limit = 2000
		cut(&m, limit)
		if n := size(&m); n > limit {
			t.Fatalf("%d bytes after a cut to %d", n, limit)
		}
		hash := sha256.Sum256(value)
		if got := header(&m, "dead-letter-value-sha256"); got != hex.EncodeToString(hash[:]) {
			t.Errorf("hash %q", got)
		}
		if got := header(&m, "dead-letter-value-length"); got != strconv.Itoa(len(value)) {
			t.Errorf("length %q, want %d", got, len(value))
		}
		if header(&m, "dead-letter-reason") != "why" {
			t.Error("the reason is gone")
		}
		if !bytes.HasPrefix(value, m.Value) {
			t.Error("what is left is not the beginning of the value")
		}
		for last := size(&m); shorten(&m); last = size(&m) { // further cuts keep the first one's hash
			if size(&m) >= last {
				t.Fatalf("shortened from %d to %d bytes", last, size(&m))
			}
		}
		ours := slices.IndexFunc(m.Headers, func(h kafka.Header) bool { return h.Key == "dead-letter-reason" && string(h.Value) == "why" })
		m.Headers = m.Headers[ours:]
		if marks := slices.IndexFunc(m.Headers, func(h kafka.Header) bool { return h.Key == "dead-letter-headers-cut" }); marks >= 0 &&
			slices.ContainsFunc(m.Headers[marks+1:], func(h kafka.Header) bool { return h.Key == "dead-letter-headers-cut" }) {
			t.Error("the cut of the headers is marked twice")
		}
		if got := header(&m, "dead-letter-value-sha256"); got != hex.EncodeToString(hash[:]) {
			t.Errorf("hash %q after further cuts", got)
		}
	})
}
