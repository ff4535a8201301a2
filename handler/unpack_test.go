//go:build !realkafka

package handler_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The client asks for a batch that it can't unpack again and again, and says nothing else.
func TestABatchThatCannotBeUnpackedStopsItsPartitionAloneAndIsTold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	h := b.start(serving)
	w := b.watch(creationAnswers, transferAnswers)
	var n ids
	b.open(w, n.next())
	b.pack(transfers, 4)
	behind, other := b.deposit(&n, 4), b.deposit(&n, 5)
	if err := b.manual().ProduceSync(t.Context(), behind, other).FirstErr(); err != nil {
		t.Fatal(err)
	}
	w.wait(transferAnswers, string(other.Key), 1)
	b.eventually("it is told of which partition, and what to do", reasonableTimeout, h.says("records of confirm_money_transfer can't be unpacked, and their partition stands still (4 at offset 0):"))
	b.eventually("it is not ready", reasonableTimeout, b.is(h, "/readyz", http.StatusServiceUnavailable, "can't be unpacked"))
	if len(w.of(transferAnswers, string(behind.Key))) > 0 {
		t.Error("what was not read was passed over")
	}
	b.stop(h)
	admin := kadm.NewClient(b.client)
	var offset kadm.Offsets
	offset.AddOffset(transfers, 4, 1, -1)
	b.eventually("the offset is set behind it", reasonableTimeout, func() error {
		set, err := admin.CommitOffsets(t.Context(), "command-handler", offset)
		return errors.Join(err, set.Error())
	})
	h = b.start(serving, "SKIP_AHEAD=true")
	w.wait(transferAnswers, string(behind.Key), 1)
	b.eventually("it is ready", reasonableTimeout, b.is(h, "/readyz", http.StatusOK, "ready"))
	b.stop(h)
}

// pack writes a batch of one record that says that it is packed, and isn't.
func (b *bundle) pack(topic string, partition int32) {
	b.t.Helper()
	const zstd = 4
	batch := kmsg.NewRecordBatch()
	batch.Magic, batch.NumRecords, batch.Records, batch.Attributes = 2, 1, []byte("not packed at all"), zstd
	batch.ProducerID, batch.ProducerEpoch, batch.FirstSequence, batch.PartitionLeaderEpoch = -1, -1, -1, -1
	topics, err := kadm.NewClient(b.client).ListTopics(b.t.Context(), topic)
	if err != nil {
		b.t.Fatal(err)
	}
	request := kmsg.NewPtrProduceRequest()
	request.Acks, request.TimeoutMillis = -1, 5000
	to := kmsg.NewProduceRequestTopic()
	to.Topic, to.TopicID = topic, topics[topic].ID
	records := kmsg.NewProduceRequestTopicPartition()
	records.Partition, records.Records = partition, sealed(batch)
	to.Partitions = append(to.Partitions, records)
	request.Topics = append(request.Topics, to)
	answer, err := b.client.Broker(int(topics[topic].Partitions[partition].Leader)).Request(b.t.Context(), request)
	if err == nil {
		err = kerr.ErrorForCode(answer.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}
