package audit

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"openbank/bank"
)

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
