//go:build !realkafka

package handler_test

import (
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A client that is told of a damaged batch goes on behind it.
func TestRecordsThatAreDamagedEndTheHandlerAndAreNotSkipped(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	w := b.watch(creationAnswers)
	var n ids
	b.send(b.creations(&n, 2)...)
	// The first record, as a broker whose disk has changed a bit of it gives it out: it does not look into what it sends.
	damaged := kmsg.NewRecordBatch()
	damaged.Magic, damaged.NumRecords, damaged.Records, damaged.CRC = 2, 1, []byte("not what was written"), 1
	damaged.ProducerID, damaged.ProducerEpoch, damaged.FirstSequence, damaged.PartitionLeaderEpoch = -1, -1, -1, -1
	damaged.Length = int32(len(damaged.AppendTo(nil)) - 12)
	var whole atomic.Bool
	topics, err := kadm.NewClient(b.client).ListTopics(t.Context(), creations)
	if err != nil {
		t.Fatal(err)
	}
	b.refuse(kmsg.Fetch, func(request kmsg.Request) kmsg.Response {
		fetch := request.(*kmsg.FetchRequest)
		for _, topic := range fetch.Topics {
			if whole.Load() || topic.TopicID != topics[creations].ID || topic.Partitions[0].FetchOffset != 0 {
				continue
			}
			answer := kmsg.NewFetchResponseTopicPartition()
			answer.HighWatermark, answer.LastStableOffset, answer.LogStartOffset, answer.RecordBatches = 2, 2, 0, damaged.AppendTo(nil)
			of := kmsg.NewFetchResponseTopic()
			of.TopicID, of.Partitions = topic.TopicID, append(of.Partitions, answer)
			response := fetch.ResponseKind().(*kmsg.FetchResponse)
			response.Topics = append(response.Topics, of)
			return response
		}
		return nil
	})
	b.ends("the handler ends", b.start(), "has records of "+creations+" that are damaged")
	if answers := w.of(creationAnswers, ""); len(answers) > 0 {
		t.Errorf("%d answers behind what was not read", len(answers))
	}
	whole.Store(true)
	h := b.start()
	w.wait(creationAnswers, "", 2)
	b.stop(h)
}
