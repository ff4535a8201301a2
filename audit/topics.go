package audit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
	"openbank/connect"
	"openbank/schemas"
)

// quiet is how long a partition may give nothing before it is given up; brokers that restart take less.
const quiet = 60 * time.Second

// ReadTopics reads all of the topics, to the end that they have at the moment of the call, into a new Evidence. progress, if not
// nil, is told how many records were read of how many. Errors: ctx's, the brokers', the registry's, a topic that is not there.
func ReadTopics(ctx context.Context, kafka connect.Kafka, codec *connect.Codec, topics Topics, progress func(read, all int64)) (*Evidence, error) {
	r := &reader{topics: topics, codec: codec, evidence: &Evidence{}, ends: map[string]map[int32]int64{}}
	client, err := kafka.Client("open-bank-audit",
		kgo.KeepControlRecords(), // a partition may end in one: without it the end would never be reached
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{}),
	)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if err := r.findEnds(ctx, client); err != nil {
		return nil, err
	}
	if err := r.read(ctx, client, progress); err != nil {
		return nil, err
	}
	return r.evidence, nil
}

type reader struct {
	topics   Topics
	codec    *connect.Codec
	evidence *Evidence
	ends     map[string]map[int32]int64 // partitions that are still to be read, and to where
	all      int64
}

func (r *reader) findEnds(ctx context.Context, client *kgo.Client) error {
	t := r.topics
	names := []string{
		t.ConfirmAccountCreation, t.AccountCreationFeedback, t.ConfirmMoneyTransfer, t.MoneyTransferFeedback, t.BalanceChanged,
		DeadLetter(t.ConfirmAccountCreation), DeadLetter(t.ConfirmMoneyTransfer),
	}
	admin := kadm.NewClient(client)
	starts, err := admin.ListStartOffsets(ctx, names...)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return fmt.Errorf("reading where the topics start: %w", err)
	}
	ends, err := admin.ListCommittedOffsets(ctx, names...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("reading where the topics end: %w", err)
	}
	from := map[string]map[int32]kgo.Offset{}
	ends.Each(func(end kadm.ListedOffset) {
		start, ok := starts.Lookup(end.Topic, end.Partition)
		if !ok || start.Offset >= end.Offset {
			return
		}
		if from[end.Topic] == nil {
			from[end.Topic], r.ends[end.Topic] = map[int32]kgo.Offset{}, map[int32]int64{}
		}
		from[end.Topic][end.Partition] = kgo.NewOffset().At(start.Offset)
		r.ends[end.Topic][end.Partition] = end.Offset
		r.all += end.Offset - start.Offset
	})
	client.AddConsumePartitions(from)
	return nil
}

func (r *reader) read(ctx context.Context, client *kgo.Client, progress func(read, all int64)) error {
	var read int64
	for len(r.ends) > 0 {
		fetches, err := poll(ctx, client)
		if err != nil {
			return err
		}
		var failed error
		fetches.EachError(func(topic string, partition int32, err error) {
			failed = errors.Join(failed, fmt.Errorf("reading %s, partition %d: %w", topic, partition, err))
		})
		fetches.EachRecord(func(record *kgo.Record) {
			if failed != nil || record.Offset >= r.ends[record.Topic][record.Partition] {
				return
			}
			read++
			if !record.Attrs.IsControl() {
				failed = r.take(ctx, record)
			}
			if record.Offset+1 >= r.ends[record.Topic][record.Partition] {
				delete(r.ends[record.Topic], record.Partition)
				if len(r.ends[record.Topic]) == 0 {
					delete(r.ends, record.Topic)
				}
			}
		})
		if failed != nil {
			return failed
		}
		if progress != nil {
			progress(read, r.all)
		}
	}
	return nil
}

func poll(ctx context.Context, client *kgo.Client) (kgo.Fetches, error) {
	limited, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	fetches := client.PollFetches(limited)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("reading the topics: %w", ctx.Err())
	}
	if limited.Err() != nil {
		return nil, fmt.Errorf("reading the topics: nothing came for %s", quiet)
	}
	return fetches, nil
}

// take files one record. The only errors are the registry's and ctx's.
func (r *reader) take(ctx context.Context, record *kgo.Record) error {
	place := Place{record.Topic, record.Partition, record.Offset}
	switch record.Topic {
	case DeadLetter(r.topics.ConfirmAccountCreation), DeadLetter(r.topics.ConfirmMoneyTransfer):
		r.evidence.Letters = append(r.evidence.Letters, letter(place, record))
		return nil
	}
	message, err := r.codec.Decode(ctx, record.Value)
	var unreadable *schemas.UnreadableError
	if err != nil && !errors.As(err, &unreadable) {
		return fmt.Errorf("decoding %s: %w", place, err)
	}
	switch record.Topic {
	case r.topics.ConfirmAccountCreation, r.topics.ConfirmMoneyTransfer:
		delivery := Delivery{Place: place, Time: record.Timestamp, Key: record.Key, Value: record.Value}
		switch command := message.(type) {
		case *bank.ConfirmAccountCreation:
			if record.Topic == r.topics.ConfirmAccountCreation {
				delivery.Creation = command
			}
		case *bank.ConfirmMoneyTransfer:
			if record.Topic == r.topics.ConfirmMoneyTransfer {
				delivery.Transfer = command
			}
		}
		if _, ok := delivery.command(); !ok {
			delivery.Unreadable = "a record of another type"
			if unreadable != nil {
				delivery.Unreadable = unreadable.Reason
			}
		}
		r.evidence.Deliveries = append(r.evidence.Deliveries, delivery)
		return nil
	}
	if !r.takeOutput(place, record, message) {
		r.evidence.Foreign = append(r.evidence.Foreign, fmt.Sprintf("%s: not a record of this topic", place))
	}
	return nil
}

func (r *reader) takeOutput(place Place, record *kgo.Record, message any) bool {
	e := r.evidence
	answer := func(topic string, a Answer) bool {
		a.Place, a.Time = place, record.Timestamp
		e.Answers = append(e.Answers, a)
		return record.Topic == topic
	}
	switch m := message.(type) {
	case *bank.AccountCreationConfirmed:
		return answer(r.topics.AccountCreationFeedback, Answer{Command: Key{Creation, m.ID}, IBAN: m.IBAN, Token: m.Token, Type: m.Type})
	case *bank.AccountCreationFailed:
		return answer(r.topics.AccountCreationFeedback, Answer{Command: Key{Creation, m.ID}, Reason: m.Reason})
	case *bank.MoneyTransferConfirmed:
		return answer(r.topics.MoneyTransferFeedback, Answer{Command: Key{Transfer, m.ID}})
	case *bank.MoneyTransferFailed:
		return answer(r.topics.MoneyTransferFeedback, Answer{Command: Key{Transfer, m.ID}, Reason: m.Reason})
	case *bank.BalanceChanged:
		event := Event{Place: place, Event: *m}
		version, err := strconv.ParseInt(header(record, "account-version"), 10, 64)
		event.Event.Version, event.HasVersion = version, err == nil
		e.Events = append(e.Events, event)
		return record.Topic == r.topics.BalanceChanged
	default:
		return false
	}
}

func letter(place Place, record *kgo.Record) Letter {
	l := Letter{
		Place: place, Key: record.Key, Value: record.Value, Length: len(record.Value),
		Reason: header(record, "dead-letter-reason"), SHA256: header(record, "dead-letter-value-sha256"),
	}
	partition, partitionErr := strconv.ParseInt(header(record, "dead-letter-partition"), 10, 32)
	offset, offsetErr := strconv.ParseInt(header(record, "dead-letter-offset"), 10, 64)
	if partitionErr == nil && offsetErr == nil {
		l.Source = Place{header(record, "dead-letter-topic"), int32(partition), offset}
	}
	if length, err := strconv.Atoi(header(record, "dead-letter-value-length")); err == nil {
		l.Length = length
	}
	return l
}

// header is the last header of that name: a dead letter's own come after those of the record it was.
func header(record *kgo.Record, name string) string {
	value := ""
	for _, h := range record.Headers {
		if h.Key == name {
			value = string(h.Value)
		}
	}
	return value
}

func (p Place) String() string { return fmt.Sprintf("%s %d@%d", p.Topic, p.Partition, p.Offset) }
