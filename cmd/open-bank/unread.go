package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/connect"
)

// lookAgain is how long it takes until it is looked again what retention has deleted.
const lookAgain = 2 * time.Second

// unread is what is left to be read of topics, up to the ends that they had once.
type unread struct {
	ends   map[position]int64 // of partitions, each with the offset behind the last record
	looked time.Time
}

// unread looks what committed records topics have, and at which offset each partition begins that has some.
func (r *reach) unread(ctx context.Context, topics ...string) (*unread, map[string]map[int32]kgo.Offset, error) {
	admin := kadm.NewClient(r.kafka)
	starts, err := connect.Offsets(admin.ListStartOffsets(ctx, topics...))
	if err != nil {
		return nil, nil, fmt.Errorf("looking where the topics start: %w", err)
	}
	ends, err := connect.Offsets(admin.ListCommittedOffsets(ctx, topics...))
	if err != nil {
		return nil, nil, fmt.Errorf("looking where the topics end: %w", err)
	}
	left, from := &unread{map[position]int64{}, time.Now()}, map[string]map[int32]kgo.Offset{}
	ends.Each(func(end kadm.ListedOffset) {
		start, ok := starts.Lookup(end.Topic, end.Partition)
		if !ok || start.Offset >= end.Offset {
			return
		}
		left.ends[position{topic: end.Topic, partition: end.Partition}] = end.Offset
		if from[end.Topic] == nil {
			from[end.Topic] = map[int32]kgo.Offset{}
		}
		from[end.Topic][end.Partition] = kgo.NewOffset().At(start.Offset)
	})
	return left, from, nil
}

// takes says whether a record is one of those, and notes how far its partition is read.
func (u *unread) takes(record *kgo.Record) bool {
	p := position{topic: record.Topic, partition: record.Partition}
	end, ok := u.ends[p]
	if ok && record.Offset+1 >= end {
		delete(u.ends, p)
	}
	return ok && record.Offset < end
}

// next waits for records, any that client reads; for none when nothing is left. Errors: ctx's, or the brokers'.
func (u *unread) next(ctx context.Context, client *kgo.Client) ([]*kgo.Record, error) {
	for len(u.ends) > 0 {
		limited, cancel := context.WithDeadline(ctx, u.looked.Add(lookAgain))
		fetches := client.PollFetches(limited)
		over := limited.Err() != nil
		cancel()
		if over && ctx.Err() == nil {
			u.skipDeleted(ctx, client)
			if fetches.Empty() {
				continue
			}
		}
		return recordsOf(ctx, fetches)
	}
	return nil, nil
}

// skipDeleted leaves out the partitions of which nothing is there any more up to their ends: of those nothing comes. Brokers that are away do
// not say, and are waited for.
func (u *unread) skipDeleted(ctx context.Context, client *kgo.Client) {
	limited, cancel := context.WithTimeout(ctx, lookAgain)
	defer cancel()
	var topics []string
	for p := range u.ends {
		topics = append(topics, p.topic)
	}
	starts, err := connect.Offsets(kadm.NewClient(client).ListStartOffsets(limited, topics...))
	u.looked = time.Now()
	if err != nil {
		return
	}
	for p, end := range u.ends {
		if start, ok := starts.Lookup(p.topic, p.partition); ok && start.Offset >= end {
			delete(u.ends, p)
		}
	}
}

// readTo gives each record that is left.
func (u *unread) readTo(ctx context.Context, client *kgo.Client, each func(*kgo.Record) error) error {
	for len(u.ends) > 0 {
		records, err := u.next(ctx, client)
		if err != nil {
			return err
		}
		for _, record := range records {
			if !u.takes(record) || record.Attrs.IsControl() {
				continue
			}
			if err := each(record); err != nil {
				return err
			}
		}
	}
	return nil
}
