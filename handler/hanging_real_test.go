//go:build realkafka

package handler_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// The brokers have ended a handler's transactions, and partitions never heard of it, as after the death of all brokers in the middle of it.
// Whoever is assigned such a partition waits for its offset until handlers end the transaction there too, as one that was committed; the other
// partitions do not wait for that.
func TestWhatHangsOfATransactionIsCommitted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	admin := kadm.NewClient(b.client)
	// Kafka verifies since 3.6 that a producer's coordinator knows of its transaction.
	_, err := admin.AlterBrokerConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "transaction.partition.verification.enable", Value: kadm.StringPtr("false")}})
	if err != nil {
		t.Fatal(err)
	}
	h := b.start("DELIVERY=exactly-once", "LEAVE_ON_STOP=true")
	w := b.watch(creationAnswers, transferAnswers, events)
	l := &load{b: b, random: rand.New(rand.NewPCG(31, 31))}
	l.open(w, 20)
	spread := func(rounds int) {
		var records []*kgo.Record
		for range rounds {
			for partition := range int32(partitions) {
				c := l.transfer()
				r := b.command(&c)
				r.Partition = partition
				records = append(records, r)
			}
		}
		if err := b.manual().ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	spread(3)
	b.answered(reasonableTimeout, false)
	b.stop(h)
	b.eventually("the group is empty", reasonableTimeout, func() error {
		groups, err := admin.DescribeGroups(t.Context(), "command-handler")
		if err == nil && groups["command-handler"].State != "Empty" {
			err = errors.New(groups["command-handler"].State)
		}
		return err
	})

	old, err := b.kafka.Client("hanging", kgo.MaxVersions(kversion.V3_6_0()))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	// The last commit of each of two partitions hangs, and with it an event.
	for partition, id := range map[int32]string{2: "command-handler-0", 5: "command-handler-1"} {
		event := w.of(events, "")[partition]
		hang(t, old, id, partition, event)
	}

	h = b.start("DELIVERY=exactly-once")
	spread(2)
	b.eventually("other partitions are answered at once", reasonableTimeout, func() error {
		offsets, err := admin.FetchOffsetsForTopics(t.Context(), "command-handler", transfers)
		if err != nil {
			return err
		}
		for partition := range int32(partitions) {
			if o, _ := offsets.Lookup(transfers, partition); partition != 2 && partition != 5 && o.At < 5 {
				return fmt.Errorf("partition %d is at %d", partition, o.At)
			}
		}
		return nil
	})
	if offsets, err := admin.FetchOffsetsForTopics(t.Context(), "command-handler", transfers); err != nil {
		t.Error(err)
	} else if o, _ := offsets.Lookup(transfers, 2); o.At >= 5 {
		t.Error("they have waited for it")
	}
	report := b.answered(2*reasonableTimeout, true)
	if report.Repeats != 2 {
		t.Errorf("%d repeats, where two events were sent again by this test, and nothing by the handler", report.Repeats)
	}
	b.stop(h)
}

// hang leaves a group's offset and an event in a transaction that is ended.
func hang(t *testing.T, client *kgo.Client, id string, partition int32, event *kgo.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), reasonableTimeout)
	defer cancel()
	admin := kadm.NewClient(client)
	offsets, err := admin.FetchOffsetsForTopics(ctx, "command-handler", transfers)
	if err != nil {
		t.Fatal(err)
	}
	was, _ := offsets.Lookup(transfers, partition)
	back := kadm.Offsets{}
	back.AddOffset(transfers, partition, was.At-1, -1)
	if err := admin.CommitAllOffsets(ctx, "command-handler", back); err != nil {
		t.Fatal(err)
	}

	init := kmsg.NewPtrInitProducerIDRequest()
	init.TransactionalID, init.TransactionTimeoutMillis = &id, 20000
	var us *kmsg.InitProducerIDResponse
	for {
		if us, err = init.RequestWith(ctx, client); err != nil {
			t.Fatal(err)
		}
		if err = kerr.ErrorForCode(us.ErrorCode); !errors.Is(err, kerr.ConcurrentTransactions) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	offset := kmsg.NewPtrTxnOffsetCommitRequest()
	offset.TransactionalID, offset.Group, offset.ProducerID, offset.ProducerEpoch, offset.Generation = id, "command-handler", us.ProducerID, us.ProducerEpoch, -1
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	topic.Topic = transfers
	one := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	one.Partition, one.Offset = partition, was.At
	topic.Partitions = append(topic.Partitions, one)
	offset.Topics = append(offset.Topics, topic)
	taken, err := offset.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(taken.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		t.Fatalf("leaving an offset in a transaction of %s: %v", id, err)
	}

	produce := kmsg.NewPtrProduceRequest()
	produce.TransactionID, produce.Acks, produce.TimeoutMillis = &id, -1, 10000
	to := kmsg.NewProduceRequestTopic()
	to.Topic = events
	records := kmsg.NewProduceRequestTopicPartition()
	records.Partition, records.Records = event.Partition, batch(us.ProducerID, us.ProducerEpoch, event)
	to.Partitions = append(to.Partitions, records)
	produce.Topics = append(produce.Topics, to)
	produced, err := produce.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(produced.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		t.Fatalf("leaving an event in a transaction of %s: %v", id, err)
	}
}

// batch is a record as a transactional producer sends it first (kafka.apache.org/documentation, "Record Batch").
func batch(producer int64, epoch int16, r *kgo.Record) []byte {
	record := kmsg.Record{Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		record.Headers = append(record.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
	}
	record.Length = int32(len(record.AppendTo(nil)) - 1) // less the length itself, a byte yet
	body := record.AppendTo(nil)
	now := time.Now().UnixMilli()
	return sealed(kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: 0x10, FirstTimestamp: now, MaxTimestamp: now,
		ProducerID: producer, ProducerEpoch: epoch, NumRecords: 1, Records: body,
	})
}
