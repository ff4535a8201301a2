// Package load answers for the commands that a benchmark sends to a bank, and for what must come back. It opens accounts of its
// own through the bank, knows the right answer to each command and the events that follow, sends on a schedule that does not wait
// for answers, and holds everything that it reads to what it knows.
//
//	Book ─ transfers, pre-encoded ─▶ Client.Send     each when it is due, whatever the bank does
//	  ▲                            └▶ Client.Backlog  all at once, held back by a transaction until it is let go
//	  │
//	  └─ answers, BalanceChanged ─── Client.Follow, Client.ReadBetween    committed records alone
//
// Ids are the encryption of a count under a key of the book: spread like random ones, and yet an answer names its command without
// a table. Other clients' commands on the same topics are left out of everything.
package load

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/connect"
	"openbank/registry"
)

// DefaultTopics are the names in the stack.
var DefaultTopics = connect.Topics{
	Creations: "confirm_account_creation", CreationAnswers: "account_creation_feedback",
	Transfers: "confirm_money_transfer", TransferAnswers: "money_transfer_feedback", Events: "balance_changed",
}

// read are the topics that a Client reads.
func read(t connect.Topics) []string { return []string{t.CreationAnswers, t.TransferAnswers, t.Events} }

// clientID is what brokers know the benchmark by.
const clientID = "latency-benchmark"

// Client is a hand on a bank's topics.
type Client struct {
	Topics connect.Topics
	// Schemas are the topics that subjects are named after; those of Topics, unless these are the floor's.
	Schemas connect.Topics

	settings connect.Kafka
	kafka    *kgo.Client // produces, and asks
	admin    *kadm.Client
	registry *registry.Client
	codec    *connect.Codec
}

// NewClient makes a client; it does not connect yet.
func NewClient(kafka connect.Kafka, schemas connect.Registry, topics connect.Topics, logger *slog.Logger) (*Client, error) {
	if err := connect.Check(kafka, schemas); err != nil {
		return nil, err
	}
	producing, err := kafka.Client(clientID, append(producing(),
		// Nothing waits for company: a command is in the log as soon as can be.
		kgo.ProducerLinger(0), kgo.MaxBufferedRecords(1<<20))...)
	if err != nil {
		return nil, err
	}
	registryClient, err := schemas.Client(logger)
	if err != nil {
		producing.Close()
		return nil, err
	}
	return &Client{
		Topics: topics, Schemas: topics, settings: kafka,
		kafka: producing, admin: kadm.NewClient(producing),
		registry: registryClient, codec: connect.NewCodec(registryClient),
	}, nil
}

// producing is how all of the benchmark's producers produce: as the JVM services do, murmur2 of the key.
func producing() []kgo.Opt {
	return []kgo.Opt{kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), kgo.ProducerBatchCompression(kgo.NoCompression())}
}

// Close closes the connections.
func (c *Client) Close() {
	c.kafka.Close()
	c.registry.Close()
}

// SchemaID is the id that a topic's records of this short name are written with.
func (c *Client) SchemaID(ctx context.Context, topic, record string) (int, error) {
	return c.codec.SchemaID(ctx, topic, record)
}

// Offsets are a next offset for each partition of each topic.
type Offsets map[string]map[int32]int64

// total counts what lies below the offsets of a topic.
func (o Offsets) total(topic string) (sum int64) {
	for _, offset := range o[topic] {
		sum += offset
	}
	return sum
}

// Committed is how far a reader of committed records can read by now in the topics that answers and events come on.
func (c *Client) Committed(ctx context.Context) (Offsets, error) {
	return c.committed(ctx, read(c.Topics)...)
}

// Ready says whether the brokers know all the topics: for a while after one was made some of them do not.
func (c *Client) Ready(ctx context.Context) error {
	_, err := c.committed(ctx, append(read(c.Topics), c.Topics.Creations, c.Topics.Transfers)...)
	return err
}

func (c *Client) committed(ctx context.Context, topics ...string) (Offsets, error) {
	listed, err := connect.Offsets(c.admin.ListCommittedOffsets(ctx, topics...))
	if err != nil {
		return nil, fmt.Errorf("asking how far the topics are: %w", err)
	}
	offsets := Offsets{}
	listed.Each(func(o kadm.ListedOffset) {
		if offsets[o.Topic] == nil {
			offsets[o.Topic] = map[int32]int64{}
		}
		offsets[o.Topic][o.Partition] = o.Offset
	})
	for _, topic := range topics {
		if len(offsets[topic]) == 0 {
			return nil, fmt.Errorf("there is no topic %s: run synchronizer apply first, or name the bank's topics", topic)
		}
	}
	return offsets, nil
}

// reader consumes committed records from offsets on.
func (c *Client) reader(from Offsets, more ...kgo.Opt) (*kgo.Client, error) {
	partitions := map[string]map[int32]kgo.Offset{}
	for topic, offsets := range from {
		partitions[topic] = map[int32]kgo.Offset{}
		for partition, offset := range offsets {
			partitions[topic][partition] = kgo.NewOffset().At(offset)
		}
	}
	return c.settings.Client(clientID, append([]kgo.Opt{kgo.ConsumePartitions(partitions)}, more...)...)
}

// Follow reads what comes after from until ctx is done, and hands it to book. Its error is ctx's cause, the brokers', or about
// a record that can't be read.
func (c *Client) Follow(ctx context.Context, from Offsets, book *Book) error {
	reader, err := c.reader(from)
	if err != nil {
		return err
	}
	defer reader.Close()
	for {
		fetches := reader.PollFetches(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := fetchError(fetches); err != nil {
			return err
		}
		now := time.Now()
		if err := book.take(ctx, c, fetches.Records(), func(*kgo.Record) time.Time { return now }); err != nil {
			return err
		}
	}
}

// ReadBetween reads what lies between two positions and hands it to book; at says when a record could be read by others.
func (c *Client) ReadBetween(ctx context.Context, from, to Offsets, book *Book, at func(*kgo.Record) time.Time, progress func(records int64)) error {
	begin := Offsets{}
	open := 0
	for topic, ends := range to {
		begin[topic] = map[int32]int64{}
		for partition, end := range ends {
			if from[topic][partition] < end {
				begin[topic][partition] = from[topic][partition]
				open++
			}
		}
	}
	if open == 0 {
		return nil
	}
	// Where a partition's last record is a transaction's end, that is what says that the reading is done.
	reader, err := c.reader(begin, kgo.KeepControlRecords())
	if err != nil {
		return err
	}
	defer reader.Close()
	var read int64
	for open > 0 {
		fetches := reader.PollFetches(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := fetchError(fetches); err != nil {
			return err
		}
		kept := make([]*kgo.Record, 0, fetches.NumRecords())
		fetches.EachRecord(func(r *kgo.Record) {
			end := to[r.Topic][r.Partition]
			if r.Offset >= end {
				return
			}
			if r.Offset == end-1 {
				open--
			}
			if !r.Attrs.IsControl() {
				kept = append(kept, r)
			}
		})
		if err := book.take(ctx, c, kept, at); err != nil {
			return err
		}
		read += int64(len(kept))
		progress(read)
	}
	return nil
}

func fetchError(fetches kgo.Fetches) error {
	var failed error
	fetches.EachError(func(topic string, partition int32, err error) {
		failed = errors.Join(failed, fmt.Errorf("reading %s, partition %d: %w", topic, partition, err))
	})
	return failed
}
