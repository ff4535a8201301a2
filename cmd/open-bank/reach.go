package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/connect"
	"openbank/registry"
)

// reach is an open hand on a bank's topics.
type reach struct {
	kafka    *kgo.Client
	registry *registry.Client
	codec    *connect.Codec
}

// reachBank makes the clients. The Kafka client produces as the JVM services do, murmur2 of the key, so that all records of a
// key are on one partition; and it consumes what follow asks for.
func reachBank(kafka connect.Kafka, schemas connect.Registry, logger *slog.Logger, more ...kgo.Opt) (*reach, error) {
	if err := connect.Check(kafka, schemas); err != nil {
		return nil, err
	}
	options := append([]kgo.Opt{
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{}),
	}, more...)
	client, err := kafka.Client("open-bank", options...)
	if err != nil {
		return nil, err
	}
	registryClient, err := schemas.Client(logger)
	if err != nil {
		client.Close()
		return nil, err
	}
	return &reach{client, registryClient, connect.NewCodec(registryClient)}, nil
}

func (r *reach) close() {
	r.kafka.Close()
	r.registry.Close()
}

// follow makes the client consume topics: from their beginning, or what comes after this call and nothing before.
func (r *reach) follow(ctx context.Context, fromBeginning bool, topics ...string) error {
	admin := kadm.NewClient(r.kafka)
	list := admin.ListEndOffsets
	if fromBeginning {
		list = admin.ListStartOffsets
	}
	offsets, err := connect.Offsets(list(ctx, topics...))
	if err != nil {
		return fmt.Errorf("looking at the topics: %w", err)
	}
	from := map[string]map[int32]kgo.Offset{}
	offsets.Each(func(o kadm.ListedOffset) {
		if from[o.Topic] == nil {
			from[o.Topic] = map[int32]kgo.Offset{}
		}
		from[o.Topic][o.Partition] = kgo.NewOffset().At(o.Offset)
	})
	r.kafka.AddConsumePartitions(from)
	return nil
}

// next waits for records. Errors: ctx's, or the brokers'.
func (r *reach) next(ctx context.Context) ([]*kgo.Record, error) {
	return recordsOf(ctx, r.kafka.PollFetches(ctx))
}

func recordsOf(ctx context.Context, fetches kgo.Fetches) ([]*kgo.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var failed error
	fetches.EachError(func(topic string, partition int32, err error) {
		failed = errors.Join(failed, fmt.Errorf("reading %s, partition %d: %w", topic, partition, err))
	})
	return fetches.Records(), failed
}
