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

// Replicas that are not in sync lack the last records; one that is elected as the leader nevertheless has others at their offsets soon.
func TestALogThatWasCutOffAndWrittenAnewEndsTheHandler(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		epoch int32
		end   int64
		says  string
	}{
		"some records":              {0, 2, "was cut off at 2"},
		"all of the leader's epoch": {-1, -1, "has others now"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.synchronize()
			b.askableForLeaderEpochs()
			w := b.watch(creationAnswers)
			h := b.start()
			var n ids
			for range 4 {
				b.open(w, n.next())
			}
			b.refuse(kmsg.OffsetForLeaderEpoch, func(request kmsg.Request) kmsg.Response {
				asked := request.(*kmsg.OffsetForLeaderEpochRequest)
				response := asked.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
				for _, topic := range asked.Topics {
					of := kmsg.NewOffsetForLeaderEpochResponseTopic()
					of.Topic = topic.Topic
					for _, p := range topic.Partitions {
						answer := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
						answer.Partition, answer.LeaderEpoch, answer.EndOffset = p.Partition, c.epoch, c.end
						of.Partitions = append(of.Partitions, answer)
					}
					response.Topics = append(response.Topics, of)
				}
				return response
			})
			cluster := b.bank.Kafka.Cluster()
			if err := cluster.MoveTopicPartition(creations, 0, cluster.LeaderFor(creations, 0)); err != nil { // a new epoch
				t.Fatal(err)
			}
			b.ends(name, h, "records were read up to offset 4, but the log "+c.says)
		})
	}
}

// askableForLeaderEpochs has the broker say that it answers requests for the end of a leader epoch as librdkafka asks them, with version 2,
// which real ones do and this one does not.
func (b *bundle) askableForLeaderEpochs() {
	b.t.Helper()
	answer, err := b.client.Request(b.t.Context(), kmsg.NewPtrApiVersionsRequest())
	if err != nil {
		b.t.Fatal(err)
	}
	keys := answer.(*kmsg.ApiVersionsResponse).ApiKeys
	for i := range keys {
		if kmsg.Key(keys[i].ApiKey) == kmsg.OffsetForLeaderEpoch {
			keys[i].MinVersion = 2
		}
	}
	b.refuse(kmsg.ApiVersions, func(request kmsg.Request) kmsg.Response {
		response := request.ResponseKind().(*kmsg.ApiVersionsResponse)
		response.ApiKeys = keys
		return response
	})
}
