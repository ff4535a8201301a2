package handler_test

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

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

// trim deletes the creations below an offset, as retention does.
func (b *bundle) trim(below int64) {
	b.t.Helper()
	var offsets kadm.Offsets
	offsets.AddOffset(creations, 0, below, -1)
	result, err := kadm.NewClient(b.client).DeleteRecords(b.t.Context(), offsets)
	if err == nil {
		err = result.Error()
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// makeAnew deletes a topic of one partition and creates it.
func (b *bundle) makeAnew(topic string) {
	b.t.Helper()
	admin := kadm.NewClient(b.client)
	if _, err := admin.DeleteTopics(b.t.Context(), topic); err != nil {
		b.t.Fatal(err)
	}
	b.eventually("the topic is made again", reasonableTimeout, func() error { // a broker may not have deleted it yet
		_, err := admin.CreateTopic(b.t.Context(), 1, 1, nil, topic)
		return err
	})
	b.client.PurgeTopicsFromClient(topic) // it knows the old one's id
}

// A partition that starts where its log begins has lost nothing when that is not at zero.
func TestALogThatWasTrimmedBeforeAnybodyReadItIsReadFromItsBeginning(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	var n ids
	b.send(b.creations(&n, 10)...)
	b.trim(5)
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
	b.trim(5)
	b.commitAt(creations, 0, 7)
	h := b.start()
	w := b.watch(creationAnswers)
	w.wait(creationAnswers, "", 3)
	if !strings.Contains(h.text(), "the group is further than this database has ever been") {
		t.Errorf("it does not say what it takes for handled: %s", h.text())
	}
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
		says, goOnAt string
	}{
		"retention has deleted commands":     {8, 3, "begins at 8", "of group command-handler to 8 "},
		"the offset is beyond the log's end": {0, 1000, "ends at 10", "Set it to 10 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.synchronize()
			var n ids
			b.send(b.creations(&n, 10)...)
			if c.trim > 0 {
				b.trim(c.trim)
			}
			b.commitAt(creations, 0, c.commit)
			h := b.start()
			b.ends(name, h, c.says)
			if last := tail(h.log, 1); !strings.Contains(last, c.goOnAt) {
				t.Errorf("the last line does not say where to go on: %s", last)
			}
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
