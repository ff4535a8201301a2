package audit

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"openbank/bank"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// story tells the evidence of a bank that does everything right, a command at a time.
type story struct {
	evidence Evidence
	accounts bank.Accounts
	opened   []string
	topics   Topics
	offsets  map[string]int64
	openings map[string]Account // of the accounts that were there when the database was taken over
	seq      int64
	ids      byte
}

func newStory() *story {
	return &story{topics: DefaultTopics(), offsets: map[string]int64{}, accounts: bank.Accounts{bank.CompanyIBAN: bank.Company()}}
}

func (s *story) place(topic string) Place {
	s.offsets[topic]++
	return Place{topic, 0, s.offsets[topic] - 1}
}

func (s *story) id() bank.ID {
	s.ids++
	return bank.ID{15: s.ids}
}

func (s *story) sent(delivery Delivery) {
	s.evidence.Deliveries = append(s.evidence.Deliveries, delivery)
}

func (s *story) answer(topic string, a Answer) {
	a.Place = s.place(topic)
	s.evidence.Answers = append(s.evidence.Answers, a)
}

func (s *story) open() string {
	command := &bank.ConfirmAccountCreation{ID: s.id(), Type: bank.Manual}
	s.sent(Delivery{Place: s.place(s.topics.ConfirmAccountCreation), Creation: command, Value: []byte("open")})
	iban := s.iban()
	token := fmt.Sprintf("%020d", len(s.accounts))
	s.accounts.Create(command, []string{iban}, token)
	s.opened = append(s.opened, iban)
	key := Key{Creation, command.ID}
	s.answer(s.topics.AccountCreationFeedback, Answer{Command: key, IBAN: iban, Token: token, Type: bank.Manual})
	s.seq++
	s.evidence.Outcomes = append(s.evidence.Outcomes, Outcome{Command: key, Seq: s.seq, IBAN: iban, Token: token})
	return iban
}

func (s *story) iban() string {
	for check := range 100 {
		if iban := fmt.Sprintf("NL%02dOPEN%010d", check, len(s.opened)+1); bank.ValidIBAN(iban) {
			return iban
		}
	}
	panic("no check digits fit")
}

func (s *story) transfer(from, to string, amount int64) *bank.ConfirmMoneyTransfer {
	command := &bank.ConfirmMoneyTransfer{ID: s.id(), Amount: amount, From: from, To: to, Description: "d"}
	if account, ok := s.accounts[from]; ok {
		command.Token = account.Token
	}
	s.sent(Delivery{Place: s.place(s.topics.ConfirmMoneyTransfer), Transfer: command, Value: []byte("transfer")})
	outcome := s.accounts.Transfer(command)
	key := Key{Transfer, command.ID}
	s.answer(s.topics.MoneyTransferFeedback, Answer{Command: key, Reason: outcome.Reason})
	s.seq++
	s.evidence.Outcomes = append(s.evidence.Outcomes, Outcome{Command: key, Seq: s.seq, Reason: outcome.Reason, From: outcome.From, To: outcome.To})
	if outcome.Reason == "" {
		for _, event := range command.AppendEvents(nil, outcome.From, outcome.To) {
			s.evidence.Events = append(s.evidence.Events, Event{Place: s.place(s.topics.BalanceChanged), Event: event, HasVersion: true})
		}
	}
	return command
}

// again sends command once more, which is answered as before.
func (s *story) again(command *bank.ConfirmMoneyTransfer) {
	s.sent(Delivery{Place: s.place(s.topics.ConfirmMoneyTransfer), Transfer: command, Value: []byte("transfer")})
	for _, answer := range s.evidence.Answers {
		if answer.Command == (Key{Transfer, command.ID}) {
			s.answer(s.topics.MoneyTransferFeedback, answer)
			return
		}
	}
}

func (s *story) deadLetter(delivery Delivery, reason string) {
	delivery.Place = s.place(s.topics.ConfirmMoneyTransfer)
	s.sent(delivery)
	s.evidence.Letters = append(s.evidence.Letters, Letter{
		Place: s.place(DeadLetter(s.topics.ConfirmMoneyTransfer)), Source: delivery.Place, Reason: reason,
		Key: delivery.Key, Value: delivery.Value, Length: len(delivery.Value),
	})
}

// takeOver makes history of all that was so far: a predecessor's, which knows no versions, or the handler's own before it
// handed the database back.
func (s *story) takeOver(predecessors bool) {
	for i := range s.evidence.Outcomes {
		s.evidence.Outcomes[i].Seq = 0
	}
	s.openings = map[string]Account{}
	for iban, account := range s.accounts {
		if predecessors {
			account.Version = 0
		}
		s.openings[iban] = Account{Opening: account.Balance, OpeningVersion: account.Version}
	}
	for i := range s.evidence.Events {
		if predecessors {
			s.evidence.Events[i].HasVersion, s.evidence.Events[i].Event.Version = false, 0
		}
	}
}

// end writes the tables and hands the evidence over.
func (s *story) end() *Evidence {
	for iban, account := range s.accounts {
		row := Account{Account: *account}
		opening, there := s.openings[iban]
		switch {
		case there:
			row.Opening, row.OpeningVersion = opening.Opening, opening.OpeningVersion
		case iban == bank.CompanyIBAN:
			row.Opening = bank.CompanyBalance
		}
		s.evidence.Accounts = append(s.evidence.Accounts, row)
	}
	slices.SortFunc(s.evidence.Accounts, func(a, b Account) int { return strings.Compare(a.IBAN, b.IBAN) })
	return &s.evidence
}

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
	s.deadLetter(Delivery{Key: []byte("k"), Value: []byte("other"), Transfer: &other}, "id reused with other content")
	s.deadLetter(Delivery{Key: []byte("k"), Value: []byte("garbage"), Unreadable: "garbage"}, "magic byte is not 0")
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
		"a record of another type among the answers": {func(e *Evidence) { e.Foreign = append(e.Foreign, "x") }, Belongs},
		"a command without an answer":                {func(e *Evidence) { e.Answers = e.Answers[:len(e.Answers)-1] }, Answered},
		"a duplicate that was not answered":          {func(e *Evidence) { e.Deliveries = append(e.Deliveries, copyAt(e.Deliveries[3], 90)) }, Answered},
		"an answer to nobody":                        {func(e *Evidence) { e.Answers = append(e.Answers, Answer{Command: Key{Transfer, bank.ID{1}}}) }, Asked},
		"an answer of the other kind":                {func(e *Evidence) { e.Answers[2].Command.Kind = Creation }, Asked},
		"a duplicate with another answer":            {func(e *Evidence) { e.Answers[len(e.Answers)-1].Reason = "no" }, SameAnswer},
		"a login with another token":                 {func(e *Evidence) { e.Answers = append(e.Answers, otherToken(e.Answers[0])) }, SameAnswer},
		"an account of another type":                 {func(e *Evidence) { e.Answers[0].Type = bank.Auto }, SameAnswer},
		"an answer that the database doesn't have":   {func(e *Evidence) { e.Outcomes = slices.Delete(e.Outcomes, 3, 4) }, OneOutcome},
		"a database that says otherwise":             {func(e *Evidence) { e.Outcomes[3].Reason = "no" }, OneOutcome},
		"an outcome of nobody's command": {func(e *Evidence) {
			e.Outcomes = append(e.Outcomes, Outcome{Command: Key{Transfer, bank.ID{1}}, Seq: 99})
		}, OneOutcome},
		"garbage without a dead letter":                 {func(e *Evidence) { e.Letters = e.Letters[:1] }, DeadLettered},
		"a dead letter with other bytes":                {func(e *Evidence) { e.Letters[1].Value = []byte("x") }, DeadLettered},
		"a dead letter with another key":                {func(e *Evidence) { e.Letters[1].Key = nil }, DeadLettered},
		"a dead letter without a reason":                {func(e *Evidence) { e.Letters[1].Reason = "" }, DeadLettered},
		"a dead letter of no record":                    {func(e *Evidence) { e.Letters[1].Source.Offset = 99 }, DeadLettered},
		"a dead letter that doesn't say whence":         {func(e *Evidence) { e.Letters[1].Source = Place{} }, DeadLettered},
		"a good command as a dead letter":               {func(e *Evidence) { e.Letters[0].Reason = "I don't like it" }, DeadLettered},
		"a reused id that was answered":                 {func(e *Evidence) { e.Letters = e.Letters[1:] }, DeadLettered},
		"a duplicate that was dead-lettered":            {func(e *Evidence) { e.Deliveries[len(e.Deliveries)-2].Transfer = e.Deliveries[3].Transfer }, DeadLettered},
		"a dead letter twice":                           {func(e *Evidence) { e.Letters = append(e.Letters, e.Letters[0]) }, EventsOnce},
		"an event without a version":                    {func(e *Evidence) { e.Events[0].HasVersion = false }, Versioned},
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
		"an account that was opened and is gone":        {func(e *Evidence) { e.Accounts = e.Accounts[:2] }, ReplayAgrees},
		"an account opened a second time":               {func(e *Evidence) { e.Outcomes[1].IBAN = e.Outcomes[0].IBAN }, ReplayAgrees},
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

func copyAt(d Delivery, offset int64) Delivery {
	d.Place.Offset = offset
	return d
}

func otherToken(a Answer) Answer {
	a.Token = "x"
	return a
}

func otherBalance(e Event) Event {
	e.Event.NewBalance++
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

func TestALookBesideAnAccountThatIsJustBeingOpenedMayMissIt(t *testing.T) {
	t.Parallel()
	s := newStory()
	a := s.open()
	s.transfer(bank.Cash, a, 100000)
	b := s.open()
	hidden := s.accounts[b]
	delete(s.accounts, b)
	s.transfer(a, b, 500) // paid to somebody outside, as far as the handler saw
	s.accounts[b] = hidden
	e := s.end()
	told := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	e.Answers[2].Time = told
	sent := &e.Deliveries[3].Time
	*sent = told.Add(-time.Millisecond)
	if report := Check(e, Options{}); !report.OK() {
		t.Errorf("violations %v", report.Violations)
	}
	*sent = told.Add(time.Millisecond) // the sender knew the account: so must the handler
	if report := Check(e, Options{}); report.Found[ReplayAgrees] == 0 {
		t.Errorf("violations %v", report.Violations)
	}
}

func TestAReportOfManyViolationsIsShort(t *testing.T) {
	t.Parallel()
	e := healthy()
	for range 100 {
		e.Foreign = append(e.Foreign, "x")
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
	e.Deliveries[last].Value = []byte("t")
	e.Letters[1].Value, e.Letters[1].SHA256, e.Letters[1].Length = nil, hash, 1
	if report := Check(e, Options{}); !report.OK() {
		t.Errorf("violations %v", report.Violations)
	}
	e.Deliveries[last].Value = []byte("u")
	if report := Check(e, Options{}); report.Found[DeadLettered] != 1 {
		t.Errorf("violations %v", report.Violations)
	}
}
