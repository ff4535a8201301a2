package audit

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
)

func TestAKeyLeadsWhereTheJVMClientsPutIt(t *testing.T) {
	t.Parallel()
	jvm := kgo.StickyKeyPartitioner(nil).ForTopic("")
	keys := []string{bank.CompanyIBAN, bank.ID{7}.String(), "\xff\xfe\xfd"}
	for i := range 200 {
		keys = append(keys, fmt.Sprintf("%0*d", 1+i%40, i))
	}
	for _, key := range keys {
		for n := 1; n < 40; n++ {
			if got, want := int(keyHash(key))%n, jvm.Partition(&kgo.Record{Key: []byte(key)}, n); got != want {
				t.Fatalf("%q leads to partition %d of %d, not to %d", key, got, n, want)
			}
		}
	}
}

// wideStory is the long one with three partitions of answers to transfers and of events, before an offset of the topic one. What an
// answer or event has to do with is as old as its command.
func wideStory(narrow int64) *Evidence {
	s := newStory()
	a, b := s.open(), s.open()
	s.transfer(bank.Cash, a, 100000)
	for range 12 {
		s.transfer(a, b, 10)
		s.transfer(bank.CompanyIBAN, b, 5)
	}
	e := s.end()
	times := map[Key]Time{}
	for i := range e.Deliveries {
		d := &e.Deliveries[i]
		d.Time = TimeOf(noon.Add(time.Duration(i) * 10 * time.Minute))
		key, _ := d.command()
		times[key] = d.Time
	}
	topics := DefaultTopics()
	e.Scope.Partitions = map[string]int32{topics.MoneyTransferFeedback: 3, topics.BalanceChanged: 3}
	ends := map[Partition]int64{}
	move := func(p *Place, key string) {
		n := uint32(3)
		if p.Offset < narrow {
			n = 1
		}
		p.Partition = int32(keyHash(key) % n)
		p.Offset = ends[p.partition()]
		ends[p.partition()]++
	}
	for i := range e.Answers {
		if v := &e.Answers[i]; v.Command.Kind == Transfer {
			v.Time = times[v.Command]
			move(&v.Place, v.Command.ID.String())
		}
	}
	changes := map[eventKey]Time{}
	for _, o := range e.Outcomes {
		changes[eventKey{o.Debtor, o.From.Version}], changes[eventKey{o.Creditor, o.To.Version}] = times[o.Command], times[o.Command]
	}
	for i := range e.Events {
		v := &e.Events[i]
		v.Time = changes[eventKey{v.Event.IBAN, v.Event.Version}]
		move(&v.Place, v.Event.IBAN)
	}
	return e
}

// empty deletes what a partition has.
func empty(e *Evidence, p Partition) (answers, events int) {
	answers, events = len(e.Answers), len(e.Events)
	e.Answers = slices.DeleteFunc(e.Answers, func(a Answer) bool { return a.Place.partition() == p })
	e.Events = slices.DeleteFunc(e.Events, func(v Event) bool { return v.Place.partition() == p })
	answers, events = answers-len(e.Answers), events-len(e.Events)
	e.Scope.Starts = map[Partition]int64{p: int64(answers + events)}
	e.Scope.Cut, e.Scope.CutKeyed = map[string]time.Time{p.Topic: {}}, map[Partition]time.Time{p: {}}
	return answers, events
}

func TestAPartitionThatWasEmptiedExcusesWhatItsKeysLeadTo(t *testing.T) {
	t.Parallel()
	topics := DefaultTopics()
	for _, narrow := range []int64{0, 4, 9} {
		for p := range int32(3) {
			for _, topic := range []string{topics.MoneyTransferFeedback, topics.BalanceChanged} {
				t.Run(fmt.Sprintf("%s %d, the first %d in one", topic, p, narrow), func(t *testing.T) {
					t.Parallel()
					e := wideStory(narrow)
					answers, events := empty(e, Partition{topic, p})
					report := Check(e, Options{})
					if !report.OK() {
						t.Fatalf("violations %v", report.Violations)
					}
					if u := report.Unchecked; u.Answers != answers || u.Events != events {
						t.Errorf("of %d answers and %d events that are deleted it misses none, and takes %+v for deleted", answers, events, u)
					}
					if n := newUnpublished(e, topics).look(); n != 0 {
						t.Errorf("it waits for %d records that are deleted", n)
					}
				})
			}
		}
	}
}

func TestWhatAnEmptiedPartitionCannotHaveHadIsMissed(t *testing.T) {
	t.Parallel()
	topics := DefaultTopics()
	for _, emptied := range []int32{0, 1, 2} {
		for _, kept := range []int32{0, 1, 2} {
			if kept == emptied {
				continue
			}
			t.Run(fmt.Sprintf("%d is emptied, and one of %d lost", emptied, kept), func(t *testing.T) {
				t.Parallel()
				e := wideStory(0)
				empty(e, Partition{topics.MoneyTransferFeedback, emptied})
				last := lastIndex(e.Answers, func(a Answer) bool { return a.Place.partition() == Partition{topics.MoneyTransferFeedback, kept} })
				lost := e.Answers[last].Command
				e.Answers = slices.Delete(e.Answers, last, last+1)
				report := Check(e, Options{})
				if report.Found[Answered] != 1 || report.Violations[0].Command != lost.ID.String() {
					t.Errorf("the answer to %s: %v", lost, report.Violations)
				}
				if u := newUnpublished(e, topics); u.look() != 1 || !u.keys[lost] {
					t.Errorf("it waits for %v", u.keys)
				}

				e = wideStory(0)
				partition := func(i int32) Partition { return Partition{topics.BalanceChanged, i} }
				there := lastIndex(e.Events, func(v Event) bool { return v.Place.partition() == partition(kept) })
				if there < 0 {
					return // no account's
				}
				empty(e, partition(emptied))
				last = lastIndex(e.Events, func(v Event) bool { return v.Place.partition() == partition(kept) })
				e.Events = slices.Delete(e.Events, last, last+1)
				if report := Check(e, Options{}); report.Found[EventsReplayed] != 1 || report.Found[Chained] != 1 {
					t.Errorf("an event: %v", report.Violations)
				}
			})
		}
	}
}

func lastIndex[T any](of []T, is func(T) bool) int {
	for i := len(of) - 1; i >= 0; i-- {
		if is(of[i]) {
			return i
		}
	}
	return -1
}

// A predecessor may have hashed in another way, so that nobody knows where the keys led.
func TestARecordWhereItsKeyDoesNotLeadMakesThePartitionsUnknown(t *testing.T) {
	t.Parallel()
	topic := DefaultTopics().MoneyTransferFeedback
	e := wideStory(0)
	empty(e, Partition{topic, 0})
	lost := lastIndex(e.Answers, func(a Answer) bool { return a.Command.Kind == Transfer })
	e.Answers = slices.Delete(e.Answers, lost, lost+1)
	strange := &e.Answers[lastIndex(e.Answers, func(a Answer) bool {
		hash := keyHash(a.Command.ID.String())
		return a.Command.Kind == Transfer && hash%3 == 1 && hash%2 == 0
	})]
	strange.Place.Partition = 2
	if report := Check(e, Options{}); !report.OK() || report.Unchecked.Answers == 0 {
		t.Errorf("%+v, violations %v", report.Unchecked, report.Violations)
	}
}
