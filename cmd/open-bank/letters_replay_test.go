package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Retention may take letters while a person reads what would be sent.
func TestALetterThatIsGoneWhenItIsToBeSentIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	j := join(t)
	var letters []listed
	for range 2 {
		letters = append(letters, j.buried(j.produce(&kgo.Record{Topic: transfers, Partition: 3, Value: []byte("\x07garbage")})))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	asked, ask, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = asked.Close() }()
	var stdout bytes.Buffer
	replay := command(ctx, j.dir, j.environment, "dead-letters", "replay", "--all", "--wait=10m") // longer than this test may take
	replay.Stdout, replay.Stderr = &stdout, ask
	answer, err := replay.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := replay.Start(); err != nil {
		t.Fatal(err)
	}
	_ = ask.Close()
	said := bufio.NewReader(asked)
	if question, err := said.ReadString(']'); err != nil {
		t.Fatalf("%s: %v", question, err)
	}
	var first position
	if err := first.UnmarshalText([]byte(letters[0].Letter)); err != nil {
		t.Fatal(err)
	}
	before := kadm.Offsets{}
	before.AddOffset(first.topic, first.partition, first.offset+1, -1)
	if deleted, err := kadm.NewClient(j.kafka).DeleteRecords(t.Context(), before); err != nil || deleted.Error() != nil {
		t.Fatalf("%v %v", err, deleted.Error())
	}
	if _, err := answer.Write([]byte("yes\n")); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(said)
	if err := replay.Wait(); err == nil || !strings.Contains(string(rest), "2 of 2 dead letters not handled") {
		t.Errorf("%v: %s", err, rest)
	}
	for _, want := range []string{
		letters[0].Letter + "  -  it is gone from the topic and was not sent\n", letters[1].Letter + "  -  came back as the dead letter ",
		"1 dead letter sent: 0 answered, 1 came back, 0 without an answer\n",
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("%q is not in %s", want, &stdout)
		}
	}
}

// At least once a handler that dies may leave two dead letters of a record.
func TestOfTwoDeadLettersOfARecordOneIsReplayed(t *testing.T) {
	t.Parallel()
	j := join(t)
	letter := j.buried(j.produce(&kgo.Record{Topic: transfers, Partition: 3, Value: []byte("\x07garbage")}))
	var first position
	if err := first.UnmarshalText([]byte(letter.Letter)); err != nil {
		t.Fatal(err)
	}
	j.kafka.AddConsumePartitions(map[string]map[int32]kgo.Offset{first.topic: {first.partition: kgo.NewOffset().At(first.offset)}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	records := j.kafka.PollFetches(ctx).Records()
	if len(records) == 0 {
		t.Fatal("the dead letter can't be read: ", ctx.Err())
	}
	j.produce(&kgo.Record{Topic: first.topic, Partition: first.partition, Key: records[0].Key, Value: records[0].Value, Headers: records[0].Headers})
	if got := j.do("dead-letters", "replay", "--all", "--yes"); !strings.Contains(got.stdout+got.stderr, "1 dead letter left out, of a record that another one is of") ||
		!strings.Contains(got.stdout, "1 dead letter sent: 0 answered, 1 came back, 0 without an answer\n") {
		t.Errorf("%+v", got)
	}
	// The mark of the one that was sent holds for both.
	if got := j.do("dead-letters", "replay", "--yes", letter.Letter); !strings.Contains(got.stdout+got.stderr, "left out") {
		t.Errorf("%+v", got)
	}
}

func TestATextIsShownAsItIsButForWhatATerminalObeys(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`id "a\\b" of {"x": 1} – é`:       `id "a\\b" of {"x": 1} – é`,
		`the text "\x1b[2J" is no UUID`:   `the text "\x1b[2J" is no UUID`, // quoted already by whoever wrote it
		"a\x1b[2J\r\nb\tc":                `a\x1b[2J\r\nb\tc`,
		"\x9b1m \u009b1m \u202e\x7f \xff": `\x9b1m \u009b1m \u202e\x7f \xff`,
		`\`:                               `\`, `"`: `"`, `'`: `'`, "": "",
	} {
		if got := oneLine(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}
