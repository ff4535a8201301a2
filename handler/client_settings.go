package handler

import (
	"maps"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// ConsumerSettings are those of the handler's consumers. The benchmark's floor works with the same ones.
func ConsumerSettings(k Kafka, clientID, group string, exactlyOnce bool, logs chan kafka.LogEvent) kafka.ConfigMap {
	cfg := k.config(clientID, logs)
	maps.Copy(cfg, kafka.ConfigMap{
		"group.id":                      group,
		"partition.assignment.strategy": assignor,
		"session.timeout.ms":            6000, // the brokers' minimum: how long a dead member's partitions stand still
		"heartbeat.interval.ms":         2000,
		"auto.offset.reset":             "error",      // start offsets are chosen on assignment
		"check.crcs":                    true,         // a bit that flipped on a broker's disk may be an amount's
		"enable.partition.eof":          true,         // the end may be beyond the last record
		"enable.auto.offset.store":      false,        // stored once published
		"enable.auto.commit":            !exactlyOnce, // commits what is stored, for partitions that are ours only
		"auto.commit.interval.ms":       100,
		// Small prefetch: memory outside of Go's heap, some 400 bytes for each record that waits there besides its own. A larger record is
		// fetched all the same. With small queues the back-off of 1 s would stall the fetcher.
		"queued.min.messages":        1000,
		"queued.max.messages.kbytes": 512,
		"max.partition.fetch.bytes":  32 << 10,
		// A fetch has room for the share of each of 512 partitions of a broker. With room for only some, librdkafka begins with the same ones
		// whenever its queue has been full, and the others are left behind.
		"fetch.max.bytes":        16 << 20,
		"message.max.bytes":      256 << 10, // of what it sends; fetch.max.bytes can't be less
		"fetch.queue.backoff.ms": 5,
		"fetch.error.backoff.ms": 50,
	})
	return cfg
}

// ProducerSettings are those of the handler's producer, which is transactional when it has an id. The records go with acks=all.
// Without a transaction they never time out locally: a record given up and sent again later could overtake others.
func ProducerSettings(k Kafka, clientID, transactionalID string, logs chan kafka.LogEvent) kafka.ConfigMap {
	cfg := k.config(clientID, logs)
	guarantee := kafka.ConfigMap{"enable.idempotence": true, "message.timeout.ms": 0}
	if transactionalID != "" {
		guarantee = kafka.ConfigMap{
			"transactional.id":       transactionalID,
			"transaction.timeout.ms": int(transactionTimeout.Milliseconds()),
			// The next transaction's first request meets the last one's markers being written, and waits this long.
			"retry.backoff.ms": 1,
			// The commit sends at once what waits by then: few requests instead of one for every few records.
			"linger.ms": 100,
		}
	}
	maps.Copy(cfg, kafka.ConfigMap{
		"linger.ms":                    0,
		"partitioner":                  "murmur2_random", // as the JVM clients: one key stays on one partition, whoever writes
		"message.max.bytes":            maxRecord,
		"batch.size":                   128 << 10, // a topic that takes less than a full batch would refuse it for ever
		"queue.buffering.max.kbytes":   16384,     // what does not fit waits: it is outside of Go's heap
		"queue.buffering.max.messages": 100000,
		"go.events.channel.size":       1000,
		"go.produce.channel.size":      0,
		"go.delivery.report.fields":    "none",
	})
	maps.Copy(cfg, guarantee)
	return cfg
}
