package audit

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"openbank/bank"
)

// noon is a time that all clocks of a story show before anything is deleted.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// longStory is one of which each part has the time of its own: minutes after noon.
func longStory() (*Evidence, *bank.ConfirmMoneyTransfer) {
	s := newStory()
	a, b := s.open(), s.open()
	s.transfer(bank.Cash, a, 100000)
	first := s.transfer(a, b, 2500)
	s.transfer(a, b, 1_000_000_000) // insufficient funds
	s.deadLetter(Delivery{Body: body("garbage"), Unreadable: "garbage"}, "magic byte is not 0")
	s.transfer(b, a, 100)
	last := s.transfer(a, b, 300)
	s.again(first)
	e := s.end()
	for i := range e.Deliveries {
		e.Deliveries[i].Time = TimeOf(noon.Add(time.Duration(i) * 10 * time.Minute))
	}
	e.Letters[0].SourceTime = e.Deliveries[5].Time
	return e, last
}

// cut deletes what a topic had before an offset.
func cut(e *Evidence, topic string, before int64, left time.Time) {
	if e.Scope.Starts == nil {
		e.Scope.Starts, e.Scope.Cut, e.Scope.CutLetters = map[Partition]int64{}, map[string]time.Time{}, map[Partition]time.Time{}
	}
	e.Scope.Starts[Partition{topic, 0}] = before
	if source, ok := strings.CutSuffix(topic, ".dead-letter"); ok {
		e.Scope.CutLetters[Partition{source, 0}] = left
	} else {
		e.Scope.Cut[topic] = left
	}
	gone := func(p Place) bool { return p.Topic == topic && p.Offset < before }
	e.Deliveries = slices.DeleteFunc(e.Deliveries, func(d Delivery) bool { return gone(d.Place) })
	e.Answers = slices.DeleteFunc(e.Answers, func(a Answer) bool { return gone(a.Place) })
	e.Events = slices.DeleteFunc(e.Events, func(v Event) bool { return gone(v.Place) })
	e.Letters = slices.DeleteFunc(e.Letters, func(l Letter) bool { return gone(l.Place) })
}

func TestWhatRetentionDeletedIsNotMissedAndCounted(t *testing.T) {
	t.Parallel()
	topics := DefaultTopics()
	at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
	for name, c := range map[string]struct {
		cut  func(e *Evidence)
		want Unchecked
	}{
		"the first transfers": {func(e *Evidence) { cut(e, topics.ConfirmMoneyTransfer, 3, at(50)) }, Unchecked{Commands: 2}},
		"all commands": {func(e *Evidence) {
			cut(e, topics.ConfirmMoneyTransfer, 99, time.Time{})
			cut(e, topics.ConfirmAccountCreation, 99, time.Time{})
		}, Unchecked{Commands: 7, Sources: 1}},
		"the first answers": {func(e *Evidence) { cut(e, topics.MoneyTransferFeedback, 2, at(39)) }, Unchecked{Answers: 2}},
		"the first events":  {func(e *Evidence) { cut(e, topics.BalanceChanged, 3, at(39)) }, Unchecked{Events: 3}},
		"all events":        {func(e *Evidence) { cut(e, topics.BalanceChanged, 99, time.Time{}) }, Unchecked{Events: 7}},
		"the dead letter":   {func(e *Evidence) { cut(e, DeadLetter(topics.ConfirmMoneyTransfer), 1, at(60)) }, Unchecked{Letters: 1}},
		"everything": {func(e *Evidence) {
			for _, topic := range topics.all() {
				cut(e, topic, 99, time.Time{})
			}
		}, Unchecked{Commands: 7, Answers: 7, Events: 7}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, _ := longStory()
			c.cut(e)
			if report := Check(e, Options{}); !report.OK() || report.Unchecked != c.want {
				t.Errorf("%+v, violations %v", report.Unchecked, report.Violations)
			}
			e.Accounts[1].Balance++
			if report := Check(e, Options{}); report.Found[ReplayAgrees] == 0 || report.Found[Conserved] == 0 {
				t.Errorf("an altered balance is not found: %v", report.Violations)
			}
		})
	}
}

// What comes again is younger than the answer and the events of its first time.
func TestARecordThatIsLeftSaysNothingOfTheOneThatWasExecuted(t *testing.T) {
	t.Parallel()
	topics := DefaultTopics()
	tell := func() *Evidence {
		e, _ := longStory() // the second transfer, sent after half an hour, comes again after 80 minutes
		cut(e, topics.ConfirmMoneyTransfer, 2, noon.Add(40*time.Minute))
		cut(e, topics.BalanceChanged, 3, noon.Add(39*time.Minute))
		return e
	}
	if report := Check(tell(), Options{}); !report.OK() || report.Unchecked.Events != 3 {
		t.Errorf("%+v, violations %v", report.Unchecked, report.Violations)
	}
	e := tell()
	e.Events = e.Events[:len(e.Events)-1]
	if report := Check(e, Options{}); report.Found[EventsReplayed] != 1 {
		t.Errorf("a younger event: %v", report.Violations)
	}
}

// A check of a bank at work waits for what it will miss: the answers and events of rows whose command is younger than what is deleted.
func TestWhatIsNotDeletedIsWaitedFor(t *testing.T) {
	t.Parallel()
	topics := DefaultTopics()
	e, last := longStory()
	for _, topic := range []string{topics.MoneyTransferFeedback, topics.AccountCreationFeedback, topics.BalanceChanged} {
		cut(e, topic, 99, noon.Add(65*time.Minute))
	}
	u := newUnpublished(e, topics)
	want := map[eventKey]bool{{last.From, 4}: true, {last.To, 3}: true}
	if len(u.keys) != 1 || !u.keys[Key{Transfer, last.ID}] || !maps.Equal(u.changes, want) {
		t.Errorf("it waits for the answers of %v and for %v", u.keys, u.changes)
	}
	e.Scope.Cut = nil
	if u := newUnpublished(e, topics); len(u.keys) != len(e.Outcomes) {
		t.Errorf("it waits for %d answers of %d", len(u.keys), len(e.Outcomes))
	}
}

func TestWhatIsYoungerThanTheOldestRecordLeftIsMissed(t *testing.T) {
	t.Parallel()
	topics := DefaultTopics()
	for name, c := range map[string]struct {
		plant func(e *Evidence)
		rule  Rule
	}{
		"an answer": {func(e *Evidence) {
			cut(e, topics.MoneyTransferFeedback, 2, noon.Add(35*time.Minute))
			e.Answers = slices.DeleteFunc(e.Answers, func(a Answer) bool { return a.Place == Place{topics.MoneyTransferFeedback, 0, 4} })
		}, Answered},
		"an event": {func(e *Evidence) {
			cut(e, topics.BalanceChanged, 3, noon.Add(35*time.Minute))
			e.Events = slices.DeleteFunc(e.Events, func(v Event) bool { return v.Place.Offset == 5 })
		}, Chained},
		"a dead letter": {func(e *Evidence) {
			cut(e, DeadLetter(topics.ConfirmMoneyTransfer), 1, noon.Add(35*time.Minute))
		}, DeadLettered},
		"a dead letter, although those of another partition are deleted": {func(e *Evidence) {
			e.Scope.CutLetters = map[Partition]time.Time{{topics.ConfirmMoneyTransfer, 7}: {}}
			e.Letters = nil
		}, DeadLettered},
		"a record that its row says is there": {func(e *Evidence) {
			cut(e, topics.ConfirmMoneyTransfer, 1, noon.Add(30*time.Minute))
			e.Deliveries = slices.DeleteFunc(e.Deliveries, func(d Delivery) bool { return d.Place == Place{topics.ConfirmMoneyTransfer, 0, 4} })
		}, OneOutcome},
		"an answer, although dead letters are deleted": {func(e *Evidence) {
			cut(e, DeadLetter(topics.ConfirmMoneyTransfer), 1, time.Time{})
			e.Answers = slices.DeleteFunc(e.Answers, func(a Answer) bool { return a.Place == Place{topics.MoneyTransferFeedback, 0, 0} })
		}, Answered},
		"the answer to a command whose record is deleted": {func(e *Evidence) {
			cut(e, topics.ConfirmMoneyTransfer, 3, noon.Add(50*time.Minute))
			e.Answers = slices.DeleteFunc(e.Answers, func(a Answer) bool { return a.Place == Place{topics.MoneyTransferFeedback, 0, 0} })
		}, Answered},
		"an answer that no row has": {func(e *Evidence) {
			cut(e, topics.ConfirmMoneyTransfer, 99, time.Time{})
			e.Answers = append(e.Answers, Answer{Command: Key{Transfer, bank.ID{7}}})
		}, Asked},
		"an answer that differs from the row of a deleted command": {func(e *Evidence) {
			cut(e, topics.ConfirmMoneyTransfer, 99, time.Time{})
			e.Answers[3].Reason = "x"
		}, OneOutcome},
		"a row that a deleted command's effect contradicts": {func(e *Evidence) {
			cut(e, topics.ConfirmMoneyTransfer, 99, time.Time{})
			e.Outcomes[3].Amount++
		}, ReplayAgrees},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, _ := longStory()
			c.plant(e)
			if report := Check(e, Options{}); report.Found[c.rule] == 0 {
				t.Errorf("%q is not found, but %v", c.rule, report.Violations)
			}
		})
	}
}

// atWork is a bank whose tables were read before its last transfer was executed, after which everything was published.
func atWork() *Evidence {
	e, last := longStory()
	e.Scope.Live, e.Scope.Due = true, map[Partition]int64{}
	for i := range e.Deliveries {
		d := &e.Deliveries[i]
		if d.Transfer != nil && d.Transfer.ID == last.ID {
			e.Scope.Due[d.Place.partition()] = d.Place.Offset
		}
		if d.Creation != nil {
			e.Scope.Due[d.Place.partition()] = d.Place.Offset + 1
		}
	}
	e.Outcomes = slices.DeleteFunc(e.Outcomes, func(o Outcome) bool { return o.Command.ID == last.ID })
	for i := range e.Accounts {
		a := &e.Accounts[i]
		switch a.IBAN {
		case last.From:
			a.Balance, a.Version = a.Balance+last.Amount, a.Version-1
		case last.To:
			a.Balance, a.Version = a.Balance-last.Amount, a.Version-1
		}
	}
	return e
}

func TestEvidenceCanBeKeptAsJSON(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(atWork())
	if err != nil || !strings.Contains(string(text), `"confirm_money_transfer/0":`) || !strings.Contains(string(text), `"money transfer"`) {
		t.Errorf("%v %s", err, text)
	}
}

func TestWhatIsUnderWayIsLeftToTheNextCheck(t *testing.T) {
	t.Parallel()
	if report := Check(atWork(), Options{}); !report.OK() || report.Unchecked.UnderWay != 1 {
		t.Errorf("%+v, violations %v", report.Unchecked, report.Violations)
	}
	late := atWork()
	late.Deliveries[len(late.Deliveries)-1].Transfer = nil // garbage, not buried yet
	late.Answers = late.Answers[:len(late.Answers)-1]
	if report := Check(late, Options{}); !report.OK() || report.Unchecked.UnderWay != 2 {
		t.Errorf("%+v, violations %v", report.Unchecked, report.Violations)
	}
	for name, c := range map[string]struct {
		plant func(e *Evidence)
		rule  Rule
	}{
		"a due command without an answer":  {func(e *Evidence) { e.Answers = slices.Delete(e.Answers, 4, 5) }, Answered},
		"a due command without an outcome": {func(e *Evidence) { e.Outcomes = slices.Delete(e.Outcomes, 4, 5) }, OneOutcome},
		"a later event that nothing under way explains": {func(e *Evidence) {
			e.Events = append(e.Events, Event{Event: bank.BalanceChanged{IBAN: bank.CompanyIBAN, Version: 1}, HasVersion: true})
		}, EventsReplayed},
		"an event that what is executed lacks": {func(e *Evidence) { e.Events = slices.Delete(e.Events, 3, 4) }, EventsReplayed},
		"an executed command's answer": {func(e *Evidence) {
			e.Scope.Due[Partition{DefaultTopics().ConfirmMoneyTransfer, 0}] = 0
			e.Answers = slices.Delete(e.Answers, 4, 5)
		}, Answered},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := atWork()
			c.plant(e)
			if report := Check(e, Options{}); report.Found[c.rule] == 0 {
				t.Errorf("%q is not found, but %v", c.rule, report.Violations)
			}
		})
	}
}

// A handler that begins too late, with another group or offset, or does not read a partition at all.
func TestWhatNeitherHandlerHandledIsMissed(t *testing.T) {
	t.Parallel()
	for name, elsewhere := range map[string]int32{"between the two": 0, "on a partition of its own": 7} {
		s := newStory()
		a, b := s.open(), s.open()
		s.sent(Delivery{Place: s.place(s.topics.ConfirmMoneyTransfer), Transfer: &bank.ConfirmMoneyTransfer{ID: s.id(), Amount: 1, From: a, To: b}, Body: body("before either")})
		s.transfer(bank.Cash, a, 100000)
		s.takeOver(true)
		skipped := Delivery{Place: s.place(s.topics.ConfirmMoneyTransfer), Transfer: &bank.ConfirmMoneyTransfer{ID: s.id(), Amount: 1, From: a, To: b}, Body: body("skipped")}
		skipped.Place.Partition = elsewhere
		s.sent(skipped)
		s.transfer(a, b, 500)
		report := Check(s.end(), Options{})
		if report.Found[Answered] != 1 || len(report.Violations) != 1 {
			t.Errorf("%s: %+v", name, report.Violations)
		}
	}
}

// It was handed the database back, and dropped what this handler would have buried; then it was relieved once more.
func TestAPredecessorsOmissionsBetweenTwoTenuresAreNotThisHandlers(t *testing.T) {
	t.Parallel()
	s := newStory()
	a, b := s.open(), s.open()
	s.transfer(bank.Cash, a, 100000)
	s.deadLetter(Delivery{Body: body("garbage"), Unreadable: "garbage"}, "magic byte is not 0")
	s.sent(Delivery{Place: s.place(s.topics.ConfirmMoneyTransfer), Body: body("dropped"), Unreadable: "garbage"})
	s.takeOver(true)
	s.transfer(a, b, 500)
	if report := Check(s.end(), Options{}); !report.OK() {
		t.Errorf("violations %v", report.Violations)
	}
}

func TestAPredecessorsOmissionsAreNotThisHandlers(t *testing.T) {
	t.Parallel()
	tell := func() *Evidence {
		s := newStory()
		a, b := s.open(), s.open()
		s.transfer(bank.Cash, a, 100000)
		s.transfer(a, b, 2500)
		s.sent(Delivery{Place: s.place(s.topics.ConfirmMoneyTransfer), Body: body("garbage"), Unreadable: "garbage"})
		s.takeOver(true)
		s.transfer(a, b, 500)
		s.deadLetter(Delivery{Body: body("garbage"), Unreadable: "garbage"}, "magic byte is not 0")
		e := s.end()
		e.Answers = slices.Delete(e.Answers, 2, 3) // a crash took it
		return e
	}
	e := tell()
	if report := Check(e, Options{}); !report.OK() {
		t.Errorf("violations %v", report.Violations)
	}
	e = tell()
	e.Letters = nil
	if report := Check(e, Options{}); report.Found[DeadLettered] != 1 {
		t.Errorf("garbage after the take-over: %v", report.Violations)
	}
}

func TestADeadLetterWhoseCauseWasMendedIsRight(t *testing.T) {
	t.Parallel()
	tell := func(change func(d *Delivery, l *Letter)) *Report {
		s := newStory()
		command := &bank.ConfirmMoneyTransfer{ID: s.id(), Amount: 5, From: bank.Cash, To: bank.CompanyIBAN}
		s.deadLetter(Delivery{Body: body("later"), Transfer: command, Schema: 7}, "schema id 7 is unknown to the registry")
		e := s.end()
		change(&e.Deliveries[0], &e.Letters[0])
		return Check(e, Options{})
	}
	if r := tell(func(*Delivery, *Letter) {}); !r.OK() || r.Mended != 1 {
		t.Errorf("%v", r.Violations)
	}
	if r := tell(func(d *Delivery, _ *Letter) { d.Schema = 8 }); r.Found[DeadLettered] != 1 {
		t.Errorf("the id of another schema: %v", r.Violations)
	}
	if r := tell(func(_ *Delivery, l *Letter) { l.Reason = "the database refused it" }); r.Found[DeadLettered] != 1 {
		t.Errorf("for another reason: %v", r.Violations)
	}
	if r := tell(func(_ *Delivery, l *Letter) { l.Reason, l.Replayed = "the database refused it", true }); !r.OK() || r.Replayed != 1 {
		t.Errorf("replayed: %v", r.Violations)
	}
}

func TestWhatWasOnATopicThatWasMadeAnewIsNotMissed(t *testing.T) {
	t.Parallel()
	topic := DefaultTopics().ConfirmMoneyTransfer
	tell := func() *Evidence {
		e, _ := longStory()
		e.Deliveries = slices.DeleteFunc(e.Deliveries, func(d Delivery) bool { return d.Place.Topic == topic })
		e.Scope.Former = map[string]bool{topic: true}
		for i := range e.Outcomes {
			e.Outcomes[i].Former = e.Outcomes[i].Command.Kind == Transfer
		}
		// On the new topic a record has the place of one that was buried on the former.
		place, garbage := e.Letters[0].Source, Delivery{Time: TimeOf(noon.Add(24 * time.Hour)), Body: body("new garbage"), Unreadable: "garbage"}
		garbage.Place = place
		e.Deliveries = append(e.Deliveries, garbage)
		e.Letters = append(e.Letters, Letter{
			Place: Place{DeadLetter(topic), 0, 9}, Source: place, SourceTime: garbage.Time, Reason: "garbage", Body: garbage.Body, Length: garbage.Body.Length,
		})
		return e
	}
	if report := Check(tell(), Options{}); !report.OK() || report.Unchecked != (Unchecked{Commands: 5, Sources: 1}) {
		t.Errorf("%+v, violations %v", report.Unchecked, report.Violations)
	}
	e := tell()
	e.Letters = e.Letters[:1]
	if report := Check(e, Options{}); report.Found[DeadLettered] != 1 {
		t.Errorf("the former record's letter passes for the new one's: %v", report.Violations)
	}
	e = tell()
	e.Outcomes[4].Former = false
	if report := Check(e, Options{}); report.Found[OneOutcome] != 1 {
		t.Errorf("a row of the new topic without a record: %v", report.Violations)
	}
}
