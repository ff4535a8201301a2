package handler_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"openbank/bank"
)

// commitAt sets the group's offset, as an operator would while no handler runs.
func (b *bundle) commitAt(topic string, partition int32, at int64) {
	b.t.Helper()
	var offsets kadm.Offsets
	offsets.AddOffset(topic, partition, at, -1)
	b.eventually("the group's offset is set", reasonableTimeout, func() error {
		result, err := kadm.NewClient(b.client).CommitOffsets(b.t.Context(), "command-handler", offsets)
		if err == nil {
			err = result.Error()
		}
		return err
	})
}

// trim deletes the records below an offset, as retention does.
func (b *bundle) trim(topic string, partition int32, below int64) {
	b.t.Helper()
	var offsets kadm.Offsets
	offsets.AddOffset(topic, partition, below, -1)
	result, err := kadm.NewClient(b.client).DeleteRecords(b.t.Context(), offsets)
	if err == nil {
		err = result.Error()
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// A partition that starts where its log begins has lost nothing when that is not at zero.
func TestALogThatWasTrimmedBeforeAnybodyReadItIsReadFromItsBeginning(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	var n ids
	b.send(b.creations(&n, 10)...)
	b.trim(creations, 0, 5)
	h := b.start()
	w := b.watch(creationAnswers)
	w.wait(creationAnswers, "", 5)
	b.open(w, n.next())
	b.stop(h)
}

func (b *bundle) creations(n *ids, count int) []*kgo.Record {
	records := make([]*kgo.Record, count)
	for i := range records {
		records[i] = b.command(&bank.ConfirmAccountCreation{ID: n.next(), Type: bank.Manual})
	}
	return records
}

func TestALogThatDoesNotBeginAtZeroIsReadFromTheCommittedOffset(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	var n ids
	b.send(b.creations(&n, 10)...)
	b.trim(creations, 0, 5)
	b.commitAt(creations, 0, 7)
	h := b.start()
	w := b.watch(creationAnswers)
	w.wait(creationAnswers, "", 3)
	b.open(w, n.next())
	if answers := len(w.of(creationAnswers, "")); answers != 4 {
		t.Errorf("%d answers", answers)
	}
	b.stop(h)
}

func TestWhatTheLogNoLongerOrNotYetHasEndsTheHandler(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		trim, commit int64
		says         string
	}{
		"retention has deleted commands":     {8, 3, "begins at 8"},
		"the offset is beyond the log's end": {0, 1000, "ends at 10"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.synchronize()
			var n ids
			b.send(b.creations(&n, 10)...)
			if c.trim > 0 {
				b.trim(creations, 0, c.trim)
			}
			b.commitAt(creations, 0, c.commit)
			b.ends(name, b.start(), c.says)
		})
	}
}

func TestOffsetsThatWereSetBackBringAnswersAndNoEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	h := b.start("MAX_BATCH=1")
	w := b.watch(creationAnswers, transferAnswers, events)
	var n ids
	account := b.open(w, n.next())
	const count = 60
	for range count {
		b.send(b.command(&bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 1, From: bank.Cash, To: account.IBAN}))
	}
	w.wait(transferAnswers, "", count)
	b.stop(h)
	for p := range int32(9) {
		b.commitAt(transfers, p, 0)
	}
	h = b.start("MAX_BATCH=1")
	w.wait(transferAnswers, "", 2*count)
	b.stop(h)
	last := b.start() // what a clean stop left in the topics is all there is
	after := bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 1, From: bank.Cash, To: account.IBAN}
	b.send(b.command(&after))
	w.wait(transferAnswers, after.ID.String(), 1)
	if published := len(w.wait(events, "", count+1)); published != count+1 || len(w.of(events, "")) != count+1 {
		t.Errorf("%d events for %d changes", len(w.of(events, "")), count+1)
	}
	b.stop(last)
}

// refuse has the embedded Kafka answer a request itself while refuse returns a response.
func (b *bundle) refuse(key kmsg.Key, refuse func(kmsg.Request) kmsg.Response) {
	cluster := b.bank.Kafka.Cluster()
	cluster.ControlKey(int16(key), func(request kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		response := refuse(request)
		return response, nil, response != nil
	})
}

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

// A dead letter topic that takes nothing stalls the partition that the dead letter is from, and nothing else.
func TestADeadLetterThatIsRefusedStallsItsPartitionAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	var allowed atomic.Bool
	var refused atomic.Int64
	b.refuse(kmsg.Produce, func(request kmsg.Request) kmsg.Response {
		asked := request.(*kmsg.ProduceRequest)
		response := asked.ResponseKind().(*kmsg.ProduceResponse)
		letter := func(at kmsg.ProduceRequestTopic) bool {
			return strings.HasSuffix(at.Topic, deadLetterSuffix)
		}
		if allowed.Load() || !slices.ContainsFunc(asked.Topics, letter) {
			return nil
		}
		refused.Add(1)
		for _, at := range asked.Topics {
			code := kerr.NotEnoughReplicas.Code // what came along with the dead letter is to be sent again
			if letter(at) {
				code = kerr.TopicAuthorizationFailed.Code
			}
			topic := kmsg.NewProduceResponseTopic()
			topic.Topic, topic.TopicID = at.Topic, at.TopicID
			for _, p := range at.Partitions {
				partition := kmsg.NewProduceResponseTopicPartition()
				partition.Partition, partition.ErrorCode = p.Partition, code
				topic.Partitions = append(topic.Partitions, partition)
			}
			response.Topics = append(response.Topics, topic)
		}
		return response
	})
	h := b.start()
	w := b.watch(creationAnswers, transferAnswers, transfers+deadLetterSuffix)
	manual := b.manual()
	var n ids
	transfer := func(partition int32) *kgo.Record {
		r := b.command(&bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 5, From: bank.Cash, To: bank.CompanyIBAN})
		r.Partition = partition
		return r
	}
	before, after, other := transfer(4), transfer(4), transfer(5)
	garbage := &kgo.Record{Topic: transfers, Partition: 4, Key: []byte("garbage"), Value: []byte("garbage")}
	if err := manual.ProduceSync(t.Context(), before, garbage, after, other).FirstErr(); err != nil {
		t.Fatal(err)
	}
	b.eventually("the refusal is logged", reasonableTimeout, h.says("a dead letter is refused"))
	b.open(w, n.next())
	w.wait(transferAnswers, string(before.Key), 1)
	w.wait(transferAnswers, string(other.Key), 1)
	b.eventually("it is tried again and refused again", reasonableTimeout, func() error {
		if refused.Load() < 3 {
			return fmt.Errorf("refused %d times", refused.Load())
		}
		return nil
	})
	if len(w.of(transfers+deadLetterSuffix, "")) > 0 || len(w.of(transferAnswers, string(after.Key))) > 0 {
		t.Error("the dead letter, or what comes behind it, is there")
	}
	allowed.Store(true)
	w.wait(transfers+deadLetterSuffix, "garbage", 1)
	w.wait(transferAnswers, string(after.Key), 1)
	if report := b.answered(reasonableTimeout, false); report.Repeats != 0 {
		t.Errorf("%d repeats, though nobody was killed", report.Repeats)
	}
	if lines := strings.Count(h.text(), "a dead letter is refused"); lines != 1 {
		t.Error(fmt.Sprint("the refusal is logged ", lines, " times"))
	}
	b.stop(h)
}
