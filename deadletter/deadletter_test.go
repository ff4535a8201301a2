package deadletter_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"openbank/deadletter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func headers(pairs ...string) []kgo.RecordHeader {
	var all []kgo.RecordHeader
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, kgo.RecordHeader{Key: pairs[i], Value: []byte(pairs[i+1])})
	}
	return all
}

// own are the headers that a handler adds.
func own(more ...string) []string {
	return append([]string{
		"dead-letter-reason", "why", "dead-letter-topic", "commands", "dead-letter-partition", "3", "dead-letter-offset", "17", "dead-letter-timestamp", "1700000000000",
	}, more...)
}

func letter(pairs ...string) *kgo.Record {
	return &kgo.Record{Topic: "commands.dead-letter", Partition: 3, Offset: 5, Key: []byte("k"), Value: []byte("value"), Headers: headers(pairs...)}
}

func TestALetterSaysWhatItWasAndIsSentAgainAsThat(t *testing.T) {
	t.Parallel()
	r := letter(append([]string{"theirs", "x", "dead-letter-reason", "of an earlier letter", "dead-letter-replayed-from", "commands.dead-letter/3/1", "theirs", "y"}, own()...)...)
	l := deadletter.Parse(r)
	if l.Reason != "why" || l.Topic != "commands" || l.Partition != 3 || l.Offset != 17 || !l.Time.Equal(time.UnixMilli(1700000000000)) || l.Cut || l.Length != 5 || len(l.Headers) != 4 {
		t.Errorf("%+v", l)
	}
	again, err := deadletter.Again(r)
	if err != nil {
		t.Fatal(err)
	}
	want := headers("theirs", "x", "theirs", "y", "dead-letter-replayed-from", "commands.dead-letter/3/5")
	if again.Topic != "commands" || again.Partition != 3 || string(again.Key) != "k" || string(again.Value) != "value" || fmt.Sprint(again.Headers) != fmt.Sprint(want) {
		t.Errorf("%+v", again)
	}
	if _, ok := deadletter.Marked(r); ok {
		t.Error("it is no mark")
	}
	if offset, ok := deadletter.Marked(deadletter.Mark(r)); !ok || offset != 5 {
		t.Errorf("the mark is of %d", offset)
	}
}

func TestWhatIsNotWholeIsNotSentAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pairs []string
		want  string
	}{
		"no headers":           {nil, "do not say which record it was"},
		"no offset":            {own()[:6], "do not say which record it was"},
		"an offset of letters": {append(own()[:6], "dead-letter-offset", "x"), "do not say which record it was"},
		"a cut value":          {own("dead-letter-value-length", "2000000", "dead-letter-value-sha256", "00"), "it was cut: 5 of 2000000 bytes are left"},
		"cut headers":          {own("dead-letter-headers-cut", "true"), "headers or key are missing"},
		"another topic's":      {append([]string{"dead-letter-reason", "why", "dead-letter-topic", "others"}, own()[4:]...), "whose dead letters are on others.dead-letter"},
	} {
		if _, err := deadletter.Again(letter(c.pairs...)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A sender may give a record without a value any headers: its letter is none of our marks.
func TestALetterThatLooksLikeAMarkIsNone(t *testing.T) {
	t.Parallel()
	r := letter(append([]string{"dead-letter-replayed", "4"}, own()...)...)
	r.Value = nil
	if offset, ok := deadletter.Marked(r); ok {
		t.Errorf("it passes for a mark of %d", offset)
	}
}

// FuzzLetter reads records that anybody may have written to a dead letter topic.
func FuzzLetter(f *testing.F) {
	f.Add("transfers", "dead-letter-reason", "why", "dead-letter-offset", "7", []byte("value"))
	f.Add("t.dead-letter", "dead-letter-topic", "t", "dead-letter-partition", "-1", []byte(nil))
	f.Add("t.dead-letter", "dead-letter-replayed", "9999999999999999999", "", "\xff", []byte(nil))
	f.Add("t.dead-letter", "dead-letter-value-length", "-5", "dead-letter-timestamp", "1e9", []byte{0})
	f.Fuzz(func(t *testing.T, topic, name, text, other, more string, value []byte) {
		r := &kgo.Record{Topic: topic, Value: value, Headers: []kgo.RecordHeader{
			{Key: name, Value: []byte(text)}, {Key: other, Value: []byte(more)}, {Key: name, Value: []byte(more)}, {Key: other, Value: []byte(text)},
		}}
		l := deadletter.Parse(r)
		if l.Topic != "" && (l.Partition < 0 || l.Offset < 0) {
			t.Fatalf("%+v", l)
		}
		again, err := deadletter.Again(r)
		if err == nil && (deadletter.TopicOf(again.Topic) != topic || l.Cut) {
			t.Fatalf("%+v is sent to %s again", l, again.Topic)
		}
		if _, marked := deadletter.Marked(deadletter.Mark(r)); !marked {
			t.Fatal("a mark is not taken for one")
		}
	})
}
