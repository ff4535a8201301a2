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

func TestEveryKindOfViolationIsFound(t *testing.T) {
	t.Parallel()
	drop := func(what *[]Event, i int) { *what = slices.Delete(*what, i, i+1) }
	for name, c := range map[string]struct {
		plant func(e *Evidence)
		rule  Rule
	}{
		"a record of another type among the answers":           {func(e *Evidence) { e.Foreign = append(e.Foreign, Place{Topic: "x"}) }, Belongs},
		"a record executed on a database that was handed back": {func(e *Evidence) { e.Late = []Place{e.Deliveries[3].Place} }, InCharge},
		"a command without an answer":                          {func(e *Evidence) { e.Answers = e.Answers[:len(e.Answers)-1] }, Answered},
		"a duplicate that was not answered":                    {func(e *Evidence) { e.Deliveries = append(e.Deliveries, copyAt(e.Deliveries[3], 90)) }, Answered},
		"an answer to nobody":                                  {func(e *Evidence) { e.Answers = append(e.Answers, Answer{Command: Key{Transfer, bank.ID{1}}}) }, Asked},
		"an answer of the other kind":                          {func(e *Evidence) { e.Answers[2].Command.Kind = Creation }, Asked},
		"a duplicate with another answer":                      {func(e *Evidence) { e.Answers[len(e.Answers)-1].Reason = "no" }, SameAnswer},
		"a login with another token":                           {func(e *Evidence) { e.Answers = append(e.Answers, otherToken(e.Answers[0])) }, SameAnswer},
		"an account of another type":                           {func(e *Evidence) { e.Answers[0].Opened.Type = bank.Auto }, SameAnswer},
		"an answer that the database doesn't have":             {func(e *Evidence) { e.Outcomes = slices.Delete(e.Outcomes, 3, 4) }, OneOutcome},
		"a database that says otherwise":                       {func(e *Evidence) { e.Outcomes[3].Reason = "no" }, OneOutcome},
		"an outcome of nobody's command": {func(e *Evidence) {
			e.Outcomes = append(e.Outcomes, Outcome{Command: Key{Transfer, bank.ID{1}}, Seq: 99})
		}, OneOutcome},
		"garbage without a dead letter":                 {func(e *Evidence) { e.Letters = e.Letters[:1] }, DeadLettered},
		"a dead letter with other bytes":                {func(e *Evidence) { e.Letters[1].Body.Value[0]++ }, DeadLettered},
		"a dead letter with another key":                {func(e *Evidence) { e.Letters[1].Body.Key = Hash{} }, DeadLettered},
		"a dead letter without a reason":                {func(e *Evidence) { e.Letters[1].Reason = "" }, DeadLettered},
		"a dead letter with other headers":              {func(e *Evidence) { e.Letters[1].Body.Headers[0]++ }, DeadLettered},
		"a dead letter of another time":                 {func(e *Evidence) { e.Letters[1].SourceTime = 7 }, DeadLettered},
		"a dead letter of another topic":                {func(e *Evidence) { e.Letters[1].Source.Topic = "confirm_account_creation" }, DeadLettered},
		"a second dead letter that differs":             {func(e *Evidence) { e.Letters = append(e.Letters, otherReason(e.Letters[1])) }, DeadLettered},
		"only dead letters of an id":                    {func(e *Evidence) { e.Deliveries[len(e.Deliveries)-2].Transfer.ID = bank.ID{1} }, DeadLettered},
		"a row that names another record":               {func(e *Evidence) { e.Outcomes[3].Origin.Offset = 4 }, OneOutcome},
		"a row that names no record":                    {func(e *Evidence) { e.Outcomes[3].Origin = Place{} }, OneOutcome},
		"a row that has lost its place in the order":    {func(e *Evidence) { e.Outcomes[3].Seq, e.Outcomes[3].Unordered = 0, true }, OneOutcome},
		"a row without a fingerprint":                   {func(e *Evidence) { e.Outcomes[3].HasFingerprint = false }, OneOutcome},
		"a row without its content":                     {func(e *Evidence) { e.Outcomes[3].HasContent = false }, OneOutcome},
		"an account with another limit":                 {func(e *Evidence) { e.Accounts[1].Limit -= 7 }, ReplayAgrees},
		"an answered dead letter":                       {answerTheReused, OneOutcome},
		"a login as a dead letter":                      {buryALogin, DeadLettered},
		"a row of another content":                      {func(e *Evidence) { e.Outcomes[3].Fingerprint[0]++ }, OneOutcome},
		"a row with another amount":                     {func(e *Evidence) { e.Outcomes[3].Amount++ }, OneOutcome},
		"a row with another creditor":                   {func(e *Evidence) { e.Outcomes[3].Creditor = "x" }, OneOutcome},
		"two rows of a command":                         {func(e *Evidence) { e.Outcomes = append(e.Outcomes, again(e.Outcomes[3])) }, OneOutcome},
		"an account whose number is none":               {func(e *Evidence) { e.Answers[0].Opened.IBAN, e.Outcomes[0].Opened.IBAN = "NL1", "NL1" }, SameAnswer},
		"an account of another type in its row":         {func(e *Evidence) { e.Accounts[1].Type = bank.Auto }, ReplayAgrees},
		"a dead letter of no record":                    {func(e *Evidence) { e.Letters[1].Source.Offset = 99 }, DeadLettered},
		"a dead letter that doesn't say whence":         {func(e *Evidence) { e.Letters[1].Source = Place{} }, DeadLettered},
		"a good command as a dead letter":               {func(e *Evidence) { e.Letters[0].Reason = "I don't like it" }, DeadLettered},
		"a reused id that was answered":                 {func(e *Evidence) { e.Letters = e.Letters[1:] }, DeadLettered},
		"a duplicate that was dead-lettered":            {func(e *Evidence) { e.Deliveries[len(e.Deliveries)-2].Transfer = e.Deliveries[3].Transfer }, DeadLettered},
		"a dead letter twice":                           {func(e *Evidence) { e.Letters = append(e.Letters, e.Letters[0]) }, EventsOnce},
		"an event without a version":                    {func(e *Evidence) { e.Events[0].HasVersion = false }, Versioned},
		"an event of a version that there is not":       {func(e *Evidence) { e.Events = append(e.Events, earlier(e.Events[0])) }, Versioned},
		"a login that gives an account of another type": {func(e *Evidence) { e.Outcomes[0].Opened.Type, e.Answers[0].Opened.Type = bank.Auto, bank.Auto }, SameAnswer},
		"an event that is missing":                      {func(e *Evidence) { drop(&e.Events, 1) }, Chained},
		"the last event of an account is missing":       {func(e *Evidence) { drop(&e.Events, len(e.Events)-1) }, Chained},
		"an event that doesn't add up":                  {func(e *Evidence) { e.Events[1].Event.NewBalance++ }, Chained},
		"two events of a version":                       {func(e *Evidence) { e.Events = append(e.Events, otherBalance(e.Events[0])) }, Chained},
		"an event of no account":                        {func(e *Evidence) { e.Events[0].Event.IBAN = "x" }, Chained},
		"a row that somebody changed":                   {func(e *Evidence) { e.Accounts[1].Balance++ }, Chained},
		"a row's version that somebody changed":         {func(e *Evidence) { e.Accounts[1].Version++ }, Chained},
		"an event twice":                                {func(e *Evidence) { e.Events = append(e.Events, e.Events[0]) }, EventsOnce},
		"an answer too many":                            {func(e *Evidence) { e.Answers = append(e.Answers, e.Answers[0]) }, EventsOnce},
		"an account below its limit":                    {func(e *Evidence) { e.Accounts[1].Limit = 1_000_000 }, AboveLimit},
		"money out of nothing":                          {func(e *Evidence) { e.Accounts[0].Balance++ }, Conserved},
		"a rejection that should be a confirmation":     {func(e *Evidence) { reject(e, 3) }, ReplayAgrees},
		"a place in the order twice":                    {func(e *Evidence) { e.Outcomes[4].Seq = e.Outcomes[3].Seq }, ReplayAgrees},
		"another order of execution":                    {func(e *Evidence) { e.Outcomes[2], e.Outcomes[3] = e.Outcomes[3], e.Outcomes[2] }, EventsReplayed},
		"a balance recorded that was another":           {func(e *Evidence) { e.Outcomes[3].To.Balance++ }, ReplayAgrees},
		"a rejection that saw another balance":          {func(e *Evidence) { e.Outcomes[5].From.Balance++ }, ReplayAgrees},
		"a rejection that saw another version":          {func(e *Evidence) { e.Outcomes[5].To.Version-- }, ReplayAgrees},
		"a rejection that saw no account":               {func(e *Evidence) { e.Outcomes[5].To = bank.Side{} }, ReplayAgrees},
		"an account that was opened and is gone":        {func(e *Evidence) { e.Accounts = e.Accounts[:2] }, ReplayAgrees},
		"an account that nobody opened":                 {func(e *Evidence) { e.Accounts = append(e.Accounts, Account{Account: bank.Account{IBAN: "NL1"}}) }, Made},
		"an account that nobody opened, with money": {func(e *Evidence) {
			e.Accounts = append(e.Accounts, Account{Account: bank.Account{IBAN: "NL1", Balance: 5}, Opening: 5})
		}, Made},
		"an account whose command is gone":              {func(e *Evidence) { e.Outcomes = e.Outcomes[1:] }, Made},
		"an account of a command that was rejected":     {func(e *Evidence) { e.Outcomes[0].Reason = bank.ReasonNoFreeIBAN }, Made},
		"an account opened a second time":               {func(e *Evidence) { e.Outcomes[1].Opened.IBAN = e.Outcomes[0].Opened.IBAN }, ReplayAgrees},
		"an event that no transfer explains":            {func(e *Evidence) { e.Events = append(e.Events, nextVersion(e.Events[1])) }, EventsReplayed},
		"an event with another counterparty":            {func(e *Evidence) { e.Events[1].Event.FromTo = "x" }, EventsReplayed},
		"an event with another description":             {func(e *Evidence) { e.Events[1].Event.Description = "x" }, EventsReplayed},
		"a confirmed transfer that has no event at all": {func(e *Evidence) { drop(&e.Events, 3) }, EventsReplayed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := healthy()
			c.plant(e)
			report := Check(e, Options{})
			if report.Found[c.rule] == 0 {
				t.Errorf("%q was not found, but %v", c.rule, report.Violations)
			}
		})
	}
}

// A rejected command leaves the accounts as it found them, and its row says how; where its texts are unfit it has neither them nor the accounts.
func TestARejectionsRowHasTheAccountsAsTheyWere(t *testing.T) {
	t.Parallel()
	tell := func() *story {
		s := newStory()
		a := s.open()
		s.transfer(bank.Cash, a, 100000)
		for _, to := range []string{a, "Albert Heijn BV", bank.CompanyIBAN} {
			s.transfer(a, to, 1_000_000_000)
		}
		s.transfer(a, bank.CompanyIBAN, -5)
		s.transfer("x", bank.CompanyIBAN, 5)
		s.transfer(a, "not text: \x00", 5)
		return s
	}
	deleted := func(e *Evidence) { cut(e, DefaultTopics().ConfirmMoneyTransfer, 99, time.Time{}) }
	for name, prepare := range map[string]func(*Evidence){"": func(*Evidence) {}, ", whose record is deleted": deleted} {
		t.Run("right"+name, func(t *testing.T) {
			t.Parallel()
			e := tell().end()
			prepare(e)
			if report := Check(e, Options{}); !report.OK() || report.Rejected+report.Unchecked.Commands < 6 {
				t.Errorf("%+v", report)
			}
		})
		for i := 3; i <= 7; i++ {
			t.Run(fmt.Sprint("wrong", i, name), func(t *testing.T) {
				t.Parallel()
				e := tell().end()
				prepare(e)
				e.Outcomes[i].From = bank.Side{Known: true, Balance: 7, Version: 7}
				if report := Check(e, Options{}); report.Found[ReplayAgrees] != 1 || len(report.Found) != 1 {
					t.Errorf("%v", report.Violations)
				}
			})
		}
	}
}

// answerTheReused answers an id that has dead letters only.
func answerTheReused(e *Evidence) {
	d := &e.Deliveries[len(e.Deliveries)-2]
	only := *d.Transfer
	only.ID = bank.ID{1}
	d.Transfer = &only
	e.Answers = append(e.Answers, Answer{Command: Key{Transfer, only.ID}})
}

// buryALogin makes a dead letter of a login, with a reason that there is for transfers alone.
func buryALogin(e *Evidence) {
	login := copyAt(e.Deliveries[0], 90)
	e.Deliveries = append(e.Deliveries, login)
	e.Letters = append(e.Letters, Letter{
		Place: Place{Topic: DeadLetter(login.Place.Topic)}, Source: login.Place, Reason: reasonReused, Body: login.Body, Length: login.Body.Length,
	})
}

func copyAt(d Delivery, offset int64) Delivery {
	d.Place.Offset = offset
	return d
}

func otherReason(l Letter) Letter {
	l.Reason = "x"
	return l
}

func again(o Outcome) Outcome {
	o.Seq += 100
	return o
}

func otherToken(a Answer) Answer {
	opened := *a.Opened
	opened.Token = "x"
	a.Opened = &opened
	return a
}

func otherBalance(e Event) Event {
	e.Event.NewBalance++
	return e
}

func earlier(e Event) Event {
	e.Event.Version = -7
	return e
}

func nextVersion(e Event) Event {
	e.Event.Version += 100
	return e
}

func reject(e *Evidence, outcome int) {
	e.Outcomes[outcome].Reason = bank.ReasonInsufficientFunds
	for i := range e.Answers {
		if e.Answers[i].Command == e.Outcomes[outcome].Command {
			e.Answers[i].Reason = bank.ReasonInsufficientFunds
		}
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
