// Package deadletter says what the records of a <topic>.dead-letter topic mean to those who read them: which record a letter was, why
// it could not be handled, how to send it again, and that it was sent again. It is pure, and it has nothing of the handler's, which
// writes the letters: what it says here is what docs and clients rely on.
//
// A letter is the record as it came (key, value, headers), followed by headers of its own, dead-letter-reason the first of them. A
// replay leaves a mark beside the letter, in the same partition and in the same transaction as the record that is sent again: a
// record without a value that names the letter's offset. So the topic itself remembers, for as long as it keeps the letters.
package deadletter

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/environment"
)

// The headers.
const (
	prefix = "dead-letter-"

	Reason     = prefix + "reason"
	Topic      = prefix + "topic"
	Partition  = prefix + "partition"
	Offset     = prefix + "offset"
	Timestamp  = prefix + "timestamp"     // the record's, in milliseconds since 1970
	Length     = prefix + "value-length"  // bytes; only when the value was cut
	SHA256     = prefix + "value-sha256"  // of the whole value, hexadecimal; as above
	HeadersCut = prefix + "headers-cut"   // headers and a part of the key are missing
	Replayed   = prefix + "replayed"      // only of a mark: the letter's offset in the mark's partition
	From       = prefix + "replayed-from" // only of a record that was sent again: TOPIC/PARTITION/OFFSET of the letter
)

// TopicOf is the name of a command topic's dead letter topic.
func TopicOf(topic string) string { return topic + environment.DeadLetterSuffix }

// Letter is what a letter's own headers say.
type Letter struct {
	Reason    string
	Topic     string // "" when the headers don't tell where it was
	Partition int32
	Offset    int64
	Time      time.Time          // of the record that it was; zero when not told
	Length    int                // bytes of the value that it was
	SHA256    string             // of that value, when it was cut; "" otherwise
	Cut       bool               // something of it is missing: value, key or headers
	Headers   []kgo.RecordHeader // those that the record had
}

// Parse reads a record of a dead letter topic that is no mark.
func Parse(r *kgo.Record) Letter {
	own := len(r.Headers)
	for i, h := range r.Headers {
		if h.Key == Reason {
			own = i // the last one: a record that was sent again may have been a letter of an earlier letter
		}
	}
	l := Letter{Headers: r.Headers[:own], Length: len(r.Value), Partition: -1, Offset: -1}
	for _, h := range r.Headers[own:] {
		value := string(h.Value)
		switch h.Key {
		case Reason:
			l.Reason = value
		case Topic:
			l.Topic = value
		case Partition:
			if n, err := strconv.ParseInt(value, 10, 32); err == nil {
				l.Partition = int32(n)
			}
		case Offset:
			if n, err := strconv.ParseInt(value, 10, 64); err == nil {
				l.Offset = n
			}
		case Timestamp:
			if n, err := strconv.ParseInt(value, 10, 64); err == nil {
				l.Time = time.UnixMilli(n)
			}
		case Length:
			if n, err := strconv.Atoi(value); err == nil {
				l.Length, l.Cut = n, true
			}
		case SHA256:
			l.SHA256, l.Cut = value, true
		case HeadersCut:
			l.Cut = true
		}
	}
	if l.Partition < 0 || l.Offset < 0 {
		l.Topic = ""
	}
	return l
}

// Marked tells which letter of its partition a record marks as sent again.
func Marked(r *kgo.Record) (offset int64, ok bool) {
	if r.Value != nil || len(r.Headers) != 1 || r.Headers[0].Key != Replayed {
		return 0, false // a letter has a reason and more, whatever headers it came with
	}
	offset, err := strconv.ParseInt(string(r.Headers[0].Value), 10, 64)
	return offset, err == nil
}

// Mark is the record that says that the letter r was sent again.
func Mark(r *kgo.Record) *kgo.Record {
	return &kgo.Record{
		Topic: r.Topic, Partition: r.Partition, Key: r.Key,
		Headers: []kgo.RecordHeader{{Key: Replayed, Value: strconv.AppendInt(nil, r.Offset, 10)}},
	}
}

// Again is the record that the letter r was, for the same topic and partition: the same key and value and the same headers, but those of
// an earlier replay, and From. Errors: what is missing of it, in a sentence.
func Again(r *kgo.Record) (*kgo.Record, error) {
	l := Parse(r)
	switch {
	case l.Topic == "":
		return nil, fmt.Errorf("its headers do not say which record it was")
	case TopicOf(l.Topic) != r.Topic:
		return nil, fmt.Errorf("it says that it was a record of %s, whose dead letters are on %s", l.Topic, TopicOf(l.Topic))
	case l.Cut:
		return nil, fmt.Errorf("it was cut: %d of %d bytes are left, or headers or key are missing, so the original can't be sent; its sender can", len(r.Value), l.Length)
	}
	again := &kgo.Record{Topic: l.Topic, Partition: l.Partition, Key: r.Key, Value: r.Value}
	for _, h := range l.Headers {
		if !strings.HasPrefix(h.Key, prefix) {
			again.Headers = append(again.Headers, h)
		}
	}
	from := fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset)
	again.Headers = append(again.Headers, kgo.RecordHeader{Key: From, Value: []byte(from)})
	return again, nil
}
