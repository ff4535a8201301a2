package load

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// commitPoll is how often the brokers are asked how far committed records reach, and so how exactly the end of a drain is
	// known.
	commitPoll = 20 * time.Millisecond
	// settled is how long nothing more may be committed until what is there is read.
	settled = 500 * time.Millisecond
)

// Commits is when records of the answers' topic could first be read, by partition, as far as the brokers were asked.
type Commits map[int32][]reach

type reach struct {
	to int64 // next offset
	at time.Time
}

// At is when a record could be read. It is zero for records of other topics.
func (c Commits) At(r *kgo.Record) time.Time {
	reaches := c[r.Partition]
	i, _ := slices.BinarySearchFunc(reaches, r.Offset+1, func(reach reach, offset int64) int { return int(reach.to - offset) })
	if i == len(reaches) {
		return time.Time{}
	}
	return reaches[i].at
}

// Drained watches from outside until n answers more than from are committed and no more come, without reading any: who reads
// takes from the cores that are to be measured. It gives up when nothing is committed for patience.
func (c *Client) Drained(ctx context.Context, from Offsets, n int64, patience time.Duration, progress func(answers int64)) (Commits, error) {
	topic := c.Topics.TransferAnswers
	commits := Commits{}
	base, reached := from.total(topic), int64(0)
	changed := time.Now()
	tick := time.NewTicker(commitPoll)
	defer tick.Stop()
	for {
		now, err := c.committed(ctx, topic)
		if err != nil {
			return commits, err
		}
		at := time.Now()
		for partition, to := range now[topic] {
			if r := commits[partition]; to > from[topic][partition] && (len(r) == 0 || r[len(r)-1].to < to) {
				commits[partition] = append(r, reach{to, at})
			}
		}
		if answers := now.total(topic) - base; answers > reached {
			reached, changed = answers, at
			progress(answers)
		}
		if reached >= n && at.Sub(changed) > settled {
			return commits, nil
		}
		if at.Sub(changed) > patience {
			return commits, fmt.Errorf("nothing was committed for %s: of %d answers at most %d are there", patience, n, reached)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return commits, context.Cause(ctx)
		}
	}
}

// Merge adds what another look found.
func (c Commits) Merge(later Commits) {
	for partition, reaches := range later {
		c[partition] = append(c[partition], reaches...)
	}
}
