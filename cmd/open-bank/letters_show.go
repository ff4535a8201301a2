package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/connect"
	"openbank/deadletter"
	"openbank/progress"
	"openbank/schemas"
)

type showLetterCommand struct {
	lettersReach
	Letter     position `arg:"" help:"The dead letter as list names it, TOPIC/PARTITION/OFFSET, or so the record that it was."`
	ShowTokens bool     `help:"Show the token of an account, which whoever has it can move money with. Bytes that can't be read may hold one, and are shown with it alone."`
}

// Run prints the letter with its headers and its value: the fields if it can be read now, else its length and hash, or its bytes.
func (c *showLetterCommand) Run(s *session) error {
	ctx, r, done, err := c.open(s)
	if err != nil {
		return err
	}
	defer done()
	if c.Letter.isRecord() {
		if c.Letter, err = r.letterOf(ctx, &c.lettersReach, c.Letter); err != nil {
			return c.why(ctx, s, err)
		}
	}
	record, err := r.readOne(ctx, c.Kafka, c.Letter)
	if err != nil {
		return c.why(ctx, s, err)
	}
	if offset, ok := deadletter.Marked(record); ok {
		return fmt.Errorf("%s is no dead letter but the mark that %s was replayed", c.Letter, position{c.Letter.topic, c.Letter.partition, offset})
	}
	message, unreadable, err := r.decode(ctx, record.Value)
	if err != nil {
		return c.why(ctx, s, err)
	}
	var text strings.Builder
	letter := deadletter.Parse(record)
	line := func(name, value string) { fmt.Fprintf(&text, "%-12s%s\n", name, value) }
	line("letter", c.Letter.String())
	line("time", clock(record.Timestamp))
	line("reason", oneLine(letter.Reason))
	if letter.Topic != "" {
		line("was", position{letter.Topic, letter.Partition, letter.Offset}.String())
	}
	if _, err := deadletter.Again(record); err != nil {
		line("replay", "not possible: "+oneLine(err.Error()))
	}
	line("key", oneLine(string(record.Key)))
	for _, h := range record.Headers {
		line("header", oneLine(h.Key)+" = "+oneLine(string(h.Value)))
	}
	switch {
	case unreadable == "":
		fields, err := json.MarshalIndent(avroFields(message, c.ShowTokens), "", "  ")
		if err != nil {
			return err
		}
		line("value", schemas.Name(message)+" "+string(fields))
	case record.Value == nil:
		line("value", "null")
	default:
		line("unreadable", oneLine(unreadable))
		line("value", progress.Counted(len(record.Value), "byte")+bytesOf(record.Value, c.ShowTokens))
	}
	_, err = fmt.Fprint(s.stdout, text.String())
	return err
}

// bytesOf dumps a value that can't be read; without leave to show tokens, which may be among its bytes, it names them by their hash.
func bytesOf(value []byte, showTokens bool) string {
	if showTokens {
		return "\n" + hex.Dump(value)
	}
	return fmt.Sprintf(" with SHA-256 %x; --show-tokens shows them, and the token that may be among them", sha256.Sum256(value))
}

// letterOf is the latest dead letter that a record has become.
func (r *reach) letterOf(ctx context.Context, c *lettersReach, record position) (letter position, err error) {
	entries, err := r.readLetters(ctx, c.Kafka, c.Topics)
	if err != nil {
		return letter, err
	}
	for i := range entries {
		if entries[i].was() == record {
			letter = entries[i].position
		}
	}
	if letter.topic == "" {
		return letter, fmt.Errorf("no dead letter was made of the record %s", record)
	}
	return letter, nil
}

// readOne reads one record. Errors: ctx's, the brokers', that there is none.
func (r *reach) readOne(ctx context.Context, kafka connect.Kafka, p position) (*kgo.Record, error) {
	if err := r.knows(ctx, p.topic); err != nil {
		return nil, err
	}
	admin := kadm.NewClient(r.kafka)
	starts, err := admin.ListStartOffsets(ctx, p.topic)
	if err != nil {
		return nil, fmt.Errorf("looking where %s starts: %w", p.topic, err)
	}
	ends, err := admin.ListCommittedOffsets(ctx, p.topic)
	if err != nil {
		return nil, fmt.Errorf("looking where %s ends: %w", p.topic, err)
	}
	start, ok := starts.Lookup(p.topic, p.partition)
	end, _ := ends.Lookup(p.topic, p.partition)
	switch {
	case !ok:
		return nil, fmt.Errorf("topic %s has no partition %d", p.topic, p.partition)
	case start.Offset >= end.Offset:
		return nil, fmt.Errorf("there is nothing at %s: that partition is empty", p)
	case p.offset < start.Offset || p.offset >= end.Offset:
		return nil, fmt.Errorf("there is nothing at %s: that partition has the offsets from %d up to %d", p, start.Offset, end.Offset-1)
	}
	client, err := kafka.Client("open-bank", kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{p.topic: {p.partition: kgo.NewOffset().At(p.offset)}}))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	left := &unread{map[position]int64{{topic: p.topic, partition: p.partition}: p.offset + 1}, time.Now()}
	for len(left.ends) > 0 {
		records, err := left.next(ctx, client)
		if err != nil {
			return nil, err
		}
		for _, record := range records {
			if record.Offset == p.offset && !record.Attrs.IsControl() {
				return record, nil
			}
			if record.Offset == p.offset {
				return nil, fmt.Errorf("there is no record at %s: the end of a transaction has that offset", p)
			}
			return nil, fmt.Errorf("there is no record at %s; what comes next is at offset %d", p, record.Offset)
		}
	}
	return nil, fmt.Errorf("there is nothing at %s any more", p)
}
