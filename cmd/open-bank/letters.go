package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
	"openbank/connect"
	"openbank/deadletter"
)

type lettersCommand struct {
	List   listLettersCommand   `cmd:"" help:"List the dead letters that there are."`
	Show   showLetterCommand    `cmd:"" help:"Show one of them with all its headers and its value."`
	Replay replayLettersCommand `cmd:"" help:"Send them to their topics again, after what kept them from being handled is mended."`
}

// lettersReach is what the three need.
type lettersReach struct {
	Kafka    connect.Kafka    `embed:""`
	Registry connect.Registry `embed:""`
	Topics   connect.Topics   `embed:""`
	Timeout  time.Duration    `default:"1h" help:"How long all of it may take."`
}

// open reaches the bank, as long as the command may take.
func (c *lettersReach) open(s *session) (context.Context, *reach, func(), error) {
	if err := s.bank.check(kafkaPart, registryPart); err != nil {
		return nil, nil, nil, err
	}
	if c.Timeout <= 0 {
		return nil, nil, nil, errors.New("--timeout is a duration such as 1h")
	}
	if err := c.Topics.Check(); err != nil {
		return nil, nil, nil, err
	}
	r, err := reachBank(c.Kafka, c.Registry, slog.New(slog.NewTextHandler(s.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return nil, nil, nil, err
	}
	ctx, cancel := context.WithTimeoutCause(s.ctx, c.Timeout, fmt.Errorf("it took longer than %s (--timeout)", c.Timeout))
	return ctx, r, func() { cancel(); r.close() }, nil
}

// why is the reason of err: when ctx has ended, that of ctx.
func (c *lettersReach) why(ctx context.Context, s *session, err error) error {
	switch {
	case err == nil || errors.Is(err, errInterrupted):
		return err
	case s.ctx.Err() != nil:
		return errInterrupted
	case ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)):
		return context.Cause(ctx)
	}
	return err
}

// position names a letter, as TOPIC/PARTITION/OFFSET.
type position struct {
	topic     string
	partition int32
	offset    int64
}

func (p position) String() string { return fmt.Sprintf("%s/%d/%d", p.topic, p.partition, p.offset) }

// isRecord says that it is no letter's, but that of a record which may have become one.
func (p position) isRecord() bool { return !strings.HasSuffix(p.topic, deadletter.TopicOf("")) }

// UnmarshalText reads what String writes.
func (p *position) UnmarshalText(text []byte) error {
	fields := strings.Split(string(text), "/")
	if len(fields) == 3 {
		partition, partitionErr := strconv.ParseInt(fields[1], 10, 32)
		offset, offsetErr := strconv.ParseInt(fields[2], 10, 64)
		if fields[0] != "" && partitionErr == nil && offsetErr == nil && partition >= 0 && offset >= 0 {
			*p = position{fields[0], int32(partition), offset}
			return nil
		}
	}
	return fmt.Errorf("%q is no dead letter: name it as list does, TOPIC/PARTITION/OFFSET, or so the record that it was", text)
}

func letterTopic(topic string) string {
	if strings.HasSuffix(topic, deadletter.TopicOf("")) {
		return topic
	}
	return deadletter.TopicOf(topic)
}

// entry is a dead letter without its value.
type entry struct {
	position
	time     time.Time // when it became a letter
	letter   deadletter.Letter
	command  string // the id, if it can be read now
	replayed time.Time
	refusal  string // why it can't be sent again
}

// was is where the record was that became the letter; nothing when the headers don't tell.
func (e *entry) was() position {
	if e.letter.Topic == "" {
		return position{}
	}
	return position{e.letter.Topic, e.letter.Partition, e.letter.Offset}
}

// chosen says which letters are meant.
type chosen struct {
	Topic  string `placeholder:"NAME" help:"Only those of this command topic, or on this dead letter topic."`
	Reason string `placeholder:"TEXT" help:"Only those whose reason contains this, as it is or as list shows it."`
	Since  string `placeholder:"WHEN" help:"Only those that came since then: a duration before now such as 2h, or a time such as 2026-11-21T08:00:00Z."`

	since time.Time
}

func (c *chosen) check(t connect.Topics) error {
	if topics := letterTopics(t); c.Topic != "" && !slices.Contains(topics, letterTopic(c.Topic)) {
		return fmt.Errorf("--topic: %s has no dead letters; these have: %s and %s", c.Topic, t.Creations, t.Transfers)
	}
	if c.Since == "" {
		return nil
	}
	if before, err := time.ParseDuration(c.Since); err == nil && before >= 0 {
		c.since = time.Now().Add(-before)
		return nil
	}
	var err error
	if c.since, err = time.Parse(time.RFC3339, c.Since); err != nil {
		return fmt.Errorf("--since: %q is neither a duration such as 2h nor a time such as 2026-11-21T08:00:00Z", c.Since)
	}
	return nil
}

func (c *chosen) holds(e *entry) bool {
	return (c.Topic == "" || letterTopic(c.Topic) == e.topic) && (strings.Contains(e.letter.Reason, c.Reason) || strings.Contains(oneLine(e.letter.Reason), c.Reason)) && !e.time.Before(c.since)
}

func letterTopics(t connect.Topics) []string {
	return []string{deadletter.TopicOf(t.Creations), deadletter.TopicOf(t.Transfers)}
}

// readLetters reads which letters there are, in the order of their positions.
func (r *reach) readLetters(ctx context.Context, kafka connect.Kafka, topics connect.Topics) ([]entry, error) {
	if err := r.knows(ctx, topics.Creations, topics.Transfers); err != nil { // without its dead letter topic one has none, but it has to be the bank's
		return nil, err
	}
	var entries []entry
	replayed := map[position]time.Time{}
	err := r.scan(ctx, kafka, letterTopics(topics), func(record *kgo.Record) error {
		at := position{record.Topic, record.Partition, record.Offset}
		if offset, ok := deadletter.Marked(record); ok {
			at.offset = offset
			replayed[at] = record.Timestamp
			return nil
		}
		e := entry{position: at, time: record.Timestamp, letter: deadletter.Parse(record)}
		e.letter.Headers = nil // they alias the record
		if _, err := deadletter.Again(record); err != nil {
			e.refusal = err.Error()
		}
		id, err := r.commandID(ctx, record.Value)
		e.command = id
		entries = append(entries, e)
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range entries {
		entries[i].replayed = replayed[entries[i].position]
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition), cmp.Compare(a.offset, b.offset))
	})
	return entries, nil
}

// commandID is the id of the command that value holds, "" if it holds none that can be read.
func (r *reach) commandID(ctx context.Context, value []byte) (string, error) {
	message, unreadable, err := r.decode(ctx, value)
	if err != nil || unreadable != "" {
		return "", err
	}
	switch m := message.(type) {
	case *bank.ConfirmAccountCreation:
		return m.ID.String(), nil
	case *bank.ConfirmMoneyTransfer:
		return m.ID.String(), nil
	}
	return "", nil
}

// scan reads topics from their beginning to the end that they have now, and leaves out those that are not there.
func (r *reach) scan(ctx context.Context, kafka connect.Kafka, topics []string, each func(*kgo.Record) error) error {
	there, err := kadm.NewClient(r.kafka).ListTopics(ctx, topics...)
	if err != nil {
		return fmt.Errorf("looking at the topics: %w", connect.Explain(err))
	}
	topics = slices.DeleteFunc(slices.Clone(topics), func(t string) bool { return !there.Has(t) })
	if len(topics) == 0 {
		return errors.New("there is no dead letter topic: a command handler makes them when it starts")
	}
	left, from, err := r.unread(ctx, topics...)
	if err != nil {
		return err
	}
	client, err := kafka.Client("open-bank", kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.ConsumePartitions(from))
	if err != nil {
		return err
	}
	defer client.Close()
	return left.readTo(ctx, client, each)
}
