package audit

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"openbank/bank"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// healthy is a story with everything in it. The accounts are, in this order, the company's and the two that were opened.
func healthy() *Evidence {
	s := newStory()
	a, b := s.open(), s.open()
	s.transfer(bank.Cash, a, 100000)
	first := s.transfer(a, b, 2500)
	s.transfer(a, "Albert Heijn BV", 1000)
	s.transfer(a, b, 1_000_000_000) // insufficient funds
	s.transfer(bank.CompanyIBAN, b, 250000)
	s.again(first)
	other := *first
	other.Amount++
	s.deadLetter(Delivery{Body: body("other"), Transfer: &other}, "id reused with other content")
	s.deadLetter(Delivery{Body: body("garbage"), Unreadable: "garbage"}, "magic byte is not 0")
	return s.end()
}

func TestAHealthyBankHasNoViolation(t *testing.T) {
	t.Parallel()
	report := Check(healthy(), Options{})
	if !report.OK() {
		t.Fatalf("violations: %v", report.Violations)
	}
	got := *report
	got.Violations, got.Found = nil, nil
	want := Report{
		Deliveries: 10, Commands: 7, Duplicates: 1, Reused: 1, Answers: 8, Confirmed: 6, Rejected: 1, Events: 6, DeadLetters: 2, Accounts: 3,
		Balances: bank.CompanyBalance + 99000, Openings: bank.CompanyBalance, Flows: 99000,
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestWhatWasBeforeATakeOverIsHistory(t *testing.T) {
	t.Parallel()
	for name, predecessors := range map[string]bool{"a predecessor's": true, "its own": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tell := func() *story {
				s := newStory()
				a, b := s.open(), s.open()
				s.transfer(bank.Cash, a, 100000)
				first := s.transfer(a, b, 2500)
				s.transfer(a, b, 1_000_000_000) // insufficient funds
				s.takeOver(predecessors)
				s.transfer(a, b, 500)
				s.transfer(b, s.open(), 700)
				s.again(first)
				return s
			}
			report := Check(tell().end(), Options{})
			old, events := 0, 7
			if predecessors {
				old, events = 3, 4
			}
			if !report.OK() || report.Old != old || report.Events != events || report.Flows != 0 || report.Openings != bank.CompanyBalance+100000 {
				t.Errorf("%+v", report)
			}

			unknown := tell().end()
			unknown.Events = append(unknown.Events, Event{Event: bank.BalanceChanged{IBAN: unknown.Accounts[0].IBAN, ChangedBy: 1}})
			if report := Check(unknown, Options{}); report.Found[Versioned] != 1 {
				t.Errorf("an event of no old command: %+v", report)
			}
			opening := tell().end()
			opening.Accounts[1].Opening++
			if report := Check(opening, Options{}); report.Found[Chained] == 0 || report.Found[Conserved] == 0 {
				t.Errorf("an opening that somebody changed: %+v", report)
			}
		})
	}
}

// Partitions are executed in any order: the record that was executed is not always the one that is read first.
func TestAnIDThatAsksForTwoTypesGetsTheOneThatWasExecuted(t *testing.T) {
	t.Parallel()
	for name, plant := range map[string]func(e *Evidence){
		"executed from the other partition": func(e *Evidence) {
			e.Deliveries[0].Place.Partition = 1
			login := *e.Deliveries[0].Creation
			login.Type = bank.Auto
			first := Delivery{Place: Place{Topic: e.Deliveries[0].Place.Topic}, Creation: &login, Body: body("open")}
			e.Deliveries = append([]Delivery{first}, e.Deliveries...)
			e.Outcomes[0].Origin.Partition = 1
		},
		"an earlier handler's": func(e *Evidence) {
			e.Deliveries[0].Creation = &bank.ConfirmAccountCreation{ID: e.Deliveries[0].Creation.ID, Type: bank.Auto}
			e.Deliveries = append(e.Deliveries, copyAt(e.Deliveries[0], 90))
			e.Outcomes[0].Origin = Place{}
			e.Outcomes[0].Seq = 0
			e.Accounts[1].OpeningVersion, e.Accounts[1].Before = 0, true
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := healthy()
			plant(e)
			e.Answers = append(e.Answers, e.Answers[0])
			report := Check(e, Options{})
			if report.Found[SameAnswer]+report.Found[ReplayAgrees]+report.Found[OneOutcome]+report.Found[Answered] > 0 {
				t.Errorf("violations: %v", report.Violations)
			}
		})
	}
}

// Offsets were set back to a dead letter whose cause is mended, instead of replaying it.
func TestADeadLetterThatWasMendedMayBeExecutedWhereItStands(t *testing.T) {
	t.Parallel()
	tell := func() *Evidence {
		s := newStory()
		a, b := s.open(), s.open()
		s.transfer(bank.Cash, a, 100000)
		s.transfer(a, b, 2500)
		e := s.end()
		late := &e.Deliveries[len(e.Deliveries)-1]
		late.Schema = 7
		e.Letters = append(e.Letters, Letter{
			Place: s.place(DeadLetter(s.topics.ConfirmMoneyTransfer)), Source: late.Place, Reason: "schema id 7 is unknown to the registry", Body: late.Body, Length: late.Body.Length,
		})
		return e
	}
	if report := Check(tell(), Options{}); !report.OK() || report.Mended != 1 {
		t.Errorf("%+v", report)
	}
	unanswered := tell()
	unanswered.Answers = unanswered.Answers[:len(unanswered.Answers)-1]
	if report := Check(unanswered, Options{}); report.Found[Answered] != 1 {
		t.Errorf("without its answer: %+v", report)
	}
}

// The row of an earlier handler says nothing of the content.
func TestAnEarlierHandlersIDMayComeWithAnyContent(t *testing.T) {
	t.Parallel()
	s := newStory()
	a, b := s.open(), s.open()
	s.transfer(bank.Cash, a, 100000)
	first := s.transfer(a, b, 2500)
	s.takeOver(true)
	other := *first
	other.Amount++
	s.again(&other)
	s.transfer(a, b, 500)
	e := s.end()
	for i := range e.Outcomes {
		if e.Outcomes[i].Seq == 0 {
			e.Outcomes[i].HasFingerprint, e.Outcomes[i].HasContent = false, false
		}
	}
	if report := Check(e, Options{}); !report.OK() {
		t.Errorf("violations: %v", report.Violations)
	}
}

func TestEqualRepeatsAreCountedWhenTheyAreAllowed(t *testing.T) {
	t.Parallel()
	e := healthy()
	e.Events = append(e.Events, e.Events[0])
	e.Answers = append(e.Answers, e.Answers[0])
	e.Letters = append(e.Letters, e.Letters[0])
	report := Check(e, Options{AllowRepeats: true})
	if !report.OK() || report.Repeats != 3 {
		t.Errorf("%d repeats, violations %v", report.Repeats, report.Violations)
	}
}

func TestEventsOutOfVersionOrderAreCountedAndFine(t *testing.T) {
	t.Parallel()
	e := healthy()
	slices.Reverse(e.Events)
	report := Check(e, Options{})
	if !report.OK() || report.OutOfOrder == 0 {
		t.Errorf("%d out of order, violations %v", report.OutOfOrder, report.Violations)
	}
}

// storyOfAMissedAccount has a transfer to an account that was opened right before it, and that the handler did not find.
func storyOfAMissedAccount() *story {
	s := newStory()
	a := s.open()
	s.transfer(bank.Cash, a, 100000)
	b := s.open()
	hidden := s.accounts[b]
	delete(s.accounts, b)
	s.transfer(a, b, 500) // paid to somebody outside, as far as the handler saw
	s.accounts[b] = hidden
	return s
}

func TestALookBesideAnAccountThatIsJustBeingOpenedMayMissIt(t *testing.T) {
	t.Parallel()
	s := storyOfAMissedAccount()
	e := s.end()
	told := TimeOf(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	e.Answers[2].Time = told
	sent := &e.Deliveries[3].Time
	*sent = told - 1
	if report := Check(e, Options{}); !report.OK() {
		t.Errorf("violations %v", report.Violations)
	}
	*sent = told + 1 // the sender knew the account: so must the handler
	if report := Check(e, Options{}); report.Found[ReplayAgrees] == 0 {
		t.Errorf("violations %v", report.Violations)
	}
}

// The clock of a handler may be wrong by more than there is between an account and what is sent to it; that of another one tells.
func TestAnAccountIsNoYoungerThanTheAnswersThatFollowItsOwn(t *testing.T) {
	t.Parallel()
	tell := func(sent time.Time) *Report {
		s := storyOfAMissedAccount()
		s.open()
		e := s.end()
		e.Answers[0].Time = TimeOf(noon)
		e.Answers[2].Time = TimeOf(noon.Add(51 * time.Minute)) // in truth, one
		e.Answers[4].Time = TimeOf(noon.Add(2 * time.Minute))
		e.Deliveries[3].Time = TimeOf(sent)
		return Check(e, Options{})
	}
	if report := tell(noon.Add(time.Minute)); !report.OK() {
		t.Errorf("before the answer could be read: %v", report.Violations)
	}
	if report := tell(noon.Add(10 * time.Minute)); report.Found[ReplayAgrees] == 0 {
		t.Errorf("after it: %v", report.Violations)
	}
}

func TestAReportOfManyViolationsIsShort(t *testing.T) {
	t.Parallel()
	e := healthy()
	for range 100 {
		e.Foreign = append(e.Foreign, Place{Topic: "x"})
	}
	report := Check(e, Options{})
	if report.Found[Belongs] != 100 || len(report.Violations) != maxPerRule {
		t.Errorf("found %d, listed %d", report.Found[Belongs], len(report.Violations))
	}
}

func TestACutDeadLetterIsComparedByItsHash(t *testing.T) {
	t.Parallel()
	const hash = "e3b98a4da31a127d4bde6e43033f66ba274cab0eb7eb1c70ec41402bf6273dd8" // of "t"
	e := healthy()
	last := len(e.Deliveries) - 1
	e.Deliveries[last].Body = body("t")
	e.Letters[1].Body, e.Letters[1].Cut, e.Letters[1].SHA256, e.Letters[1].Length = NewBody(nil, []byte(""), nil), true, hash, 1
	if report := Check(e, Options{}); !report.OK() {
		t.Errorf("violations %v", report.Violations)
	}
	e.Deliveries[last].Body = body("u")
	if report := Check(e, Options{}); report.Found[DeadLettered] != 1 {
		t.Errorf("violations %v", report.Violations)
	}
}
