package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// quiet is how long a partition may give nothing before it is given up; brokers that restart take less.
	quiet = 60 * time.Second
	// lookAgain is how long nothing comes before it is asked whether there is anything left.
	lookAgain = 2 * time.Second
	// pollTime is how long records are waited for before it is looked at again what is missing.
	pollTime = 100 * time.Millisecond
)

// reach reads until every partition is read to its end.
func (r *reader) reach(ctx context.Context, ends map[Partition]int64) error {
	open, all := map[Partition]int64{}, r.read
	for p, end := range ends {
		if r.next[p] < end {
			open[p] = end
			all += end - r.next[p]
		}
	}
	moved := time.Now()
	looked := moved
	for len(open) > 0 {
		before := r.position(open)
		if err := r.poll(ctx); err != nil {
			return err
		}
		if time.Since(looked) > lookAgain {
			r.skipDeleted(ctx, open)
			looked = time.Now()
		}
		switch {
		case r.position(open) > before:
			moved = time.Now()
			looked = moved
		case time.Since(moved) > quiet:
			for p, end := range open {
				return fmt.Errorf("reading the topics: nothing came of %s, partition %d, for %s: it is read to offset %d and ends at %d", p.Topic, p.Number, quiet, r.next[p], end)
			}
		}
		maps.DeleteFunc(open, func(p Partition, end int64) bool { return r.next[p] >= end })
		if r.progress != nil {
			r.progress(r.read, max(all, r.read))
		}
	}
	return nil
}

// position is how far partitions are read, all together.
func (r *reader) position(of map[Partition]int64) (sum int64) {
	for p := range of {
		sum += r.next[p]
	}
	return sum
}

// skipDeleted goes on behind what was deleted before it was read, perhaps up to the end: of that nothing comes. Brokers that are away do not
// say; reach waits for them.
func (r *reader) skipDeleted(ctx context.Context, open map[Partition]int64) {
	limited, cancel := context.WithTimeout(ctx, lookAgain)
	defer cancel()
	starts, err := offsets(limited, kadm.NewClient(r.client).ListStartOffsets, r.topics.all())
	if err != nil {
		return
	}
	for p := range open {
		if starts[p] > r.next[p] {
			r.next[p], r.behind[p] = starts[p], starts[p]
		}
	}
}

// poll takes what comes within pollTime.
func (r *reader) poll(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	fetches := r.client.PollFetches(limited)
	if ctx.Err() != nil {
		return fmt.Errorf("reading the topics: %w", ctx.Err())
	}
	if limited.Err() != nil && fetches.Empty() {
		return nil
	}
	var failed error
	fetches.EachError(func(topic string, partition int32, err error) {
		if !errors.Is(err, context.DeadlineExceeded) { // that is limited's
			failed = errors.Join(failed, fmt.Errorf("reading %s, partition %d: %w", topic, partition, err))
		}
	})
	fetches.EachRecord(func(record *kgo.Record) {
		if failed == nil {
			failed = r.take(ctx, record)
		}
	})
	return failed
}

func (r *reader) take(ctx context.Context, record *kgo.Record) error {
	p := Partition{record.Topic, record.Partition}
	if limit, limited := r.limit[p]; limited && record.Offset >= limit {
		return nil
	}
	if record.Offset < r.next[p] || r.ignored && !slices.Contains(r.topics.commands(), p.Topic) {
		return nil
	}
	if record.Offset > r.next[p] {
		r.behind[p] = record.Offset
	}
	r.next[p] = record.Offset + 1
	r.read++
	if record.Attrs.IsControl() {
		return nil
	}
	if offset, ok := r.behind[p]; ok || len(r.resumed[p]) == 0 {
		if !ok {
			offset = record.Offset
		}
		r.resumed[p] = append(r.resumed[p], resumption{offset, record.Timestamp})
		delete(r.behind, p)
	}
	return r.file(ctx, record)
}
