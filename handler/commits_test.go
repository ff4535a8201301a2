//go:build !realkafka

package handler_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"openbank/bank"
)

func TestCommittedOffsetsThatCannotBeReadAreNotTakenForNone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	h := b.start()
	w := b.watch(creationAnswers)
	var n ids
	for range 5 {
		b.open(w, n.next())
	}
	b.stop(h)
	var refused atomic.Int64
	b.refuse(kmsg.OffsetFetch, func(request kmsg.Request) kmsg.Response {
		asked := request.(*kmsg.OffsetFetchRequest)
		if refused.Add(1) > 2 {
			return nil
		}
		response := asked.ResponseKind().(*kmsg.OffsetFetchResponse)
		for _, g := range asked.Groups {
			group := kmsg.NewOffsetFetchResponseGroup()
			group.Group = g.Group
			for _, at := range g.Topics {
				topic := kmsg.NewOffsetFetchResponseGroupTopic()
				topic.Topic, topic.TopicID = at.Topic, at.TopicID
				for _, p := range at.Partitions {
					partition := kmsg.NewOffsetFetchResponseGroupTopicPartition()
					partition.Partition, partition.Offset, partition.ErrorCode = p, -1, kerr.TopicAuthorizationFailed.Code
					topic.Partitions = append(topic.Partitions, partition)
				}
				group.Topics = append(group.Topics, topic)
			}
			response.Groups = append(response.Groups, group)
		}
		for _, at := range asked.Topics {
			topic := kmsg.NewOffsetFetchResponseTopic()
			topic.Topic = at.Topic
			for _, p := range at.Partitions {
				partition := kmsg.NewOffsetFetchResponseTopicPartition()
				partition.Partition, partition.Offset, partition.ErrorCode = p, -1, kerr.TopicAuthorizationFailed.Code
				topic.Partitions = append(topic.Partitions, partition)
			}
			response.Topics = append(response.Topics, topic)
		}
		return response
	})
	h = b.start()
	b.open(w, n.next())
	if answers := len(w.of(creationAnswers, "")); answers != 6 {
		t.Errorf("%d answers to 6 commands", answers)
	}
	if refused.Load() <= 2 {
		t.Error("nothing was refused")
	}
	b.stop(h)
}

// notCommitted answers a request to commit offsets with an error that the client is to try again after.
func notCommitted(asked *kmsg.OffsetCommitRequest) kmsg.Response {
	response := asked.ResponseKind().(*kmsg.OffsetCommitResponse)
	for _, at := range asked.Topics {
		topic := kmsg.NewOffsetCommitResponseTopic()
		topic.Topic, topic.TopicID = at.Topic, at.TopicID
		for _, p := range at.Partitions {
			partition := kmsg.NewOffsetCommitResponseTopicPartition()
			partition.Partition, partition.ErrorCode = p.Partition, kerr.CoordinatorLoadInProgress.Code
			topic.Partitions = append(topic.Partitions, partition)
		}
		response.Topics = append(response.Topics, topic)
	}
	return response
}

// notInTransaction answers a request to take offsets into a transaction with an error for all of them.
func notInTransaction(asked *kmsg.TxnOffsetCommitRequest, why *kerr.Error) kmsg.Response {
	response := asked.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
	for _, at := range asked.Topics {
		topic := kmsg.NewTxnOffsetCommitResponseTopic()
		topic.Topic = at.Topic
		for _, p := range at.Partitions {
			partition := kmsg.NewTxnOffsetCommitResponseTopicPartition()
			partition.Partition, partition.ErrorCode = p.Partition, why.Code
			topic.Partitions = append(topic.Partitions, partition)
		}
		response.Topics = append(response.Topics, topic)
	}
	return response
}

// Without transactions offsets are committed after the output is out. A crash in between, at idle, must not leave a published_to beyond the
// committed offset: that is how offsets look that somebody has set back, and the events would be missing from what is sent again.
func TestWhatIsPublishedIsNotWrittenDownBeforeItsOffsetsAreCommitted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	h := b.start("DELIVERY=at-least-once")
	w := b.watch(transferAnswers, events)
	var n ids
	w.wait(transferAnswers, b.pay(n.next()), 1)
	db := b.connected(b.bank.Postgres.URL(""))
	published := func() (to int64, err error) {
		return to, db.QueryRowContext(t.Context(), `SELECT published_to FROM progress WHERE topic = $1 AND partition = 0`, transfers).Scan(&to)
	}
	b.eventually("the first is written down", reasonableTimeout, func() error {
		if to, err := published(); err != nil || to != 1 {
			return fmt.Errorf("published to %d, %w", to, err)
		}
		return nil
	})
	var refused atomic.Int64
	b.refuse(kmsg.OffsetCommit, func(request kmsg.Request) kmsg.Response {
		asked := request.(*kmsg.OffsetCommitRequest)
		if refused.Load() < 0 {
			return nil
		}
		refused.Add(1)
		return notCommitted(asked)
	})
	second := b.pay(n.next())
	w.wait(transferAnswers, second, 1)
	w.wait(events, bank.CompanyIBAN, 2)
	before := refused.Load()
	b.eventually("commits are refused for longer than a handler waits at idle", reasonableTimeout, func() error {
		if n := refused.Load(); n < before+8 { // one each 100 ms
			return fmt.Errorf("%d so far", n-before)
		}
		return nil
	})
	if to, err := published(); err != nil || to != 1 {
		t.Errorf("published to %d before the offset is committed (%v)", to, err)
	}
	h.Kill()
	refused.Store(-1000000)
	h = b.start("DELIVERY=at-least-once")
	w.wait(transferAnswers, second, 2)
	w.wait(events, bank.CompanyIBAN, 3)
	if h.says("was set back")() == nil {
		t.Error("a crash is taken for offsets that somebody set back")
	}
	b.stop(h)
	if to, err := published(); err != nil || to != 2 {
		t.Errorf("after a stop published to %d (%v)", to, err)
	}
}
