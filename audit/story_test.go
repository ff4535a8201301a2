package audit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
)

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

// body is that of a record with a key and a header.
func body(value string) Body {
	return NewBody([]byte("k"), []byte(value), []kgo.RecordHeader{{Key: "theirs", Value: []byte("x")}})
}

func (s *story) sent(delivery Delivery) {
	s.evidence.Deliveries = append(s.evidence.Deliveries, delivery)
}

func (s *story) lastSent() Place { return s.evidence.Deliveries[len(s.evidence.Deliveries)-1].Place }

func (s *story) answer(topic string, a Answer) {
	a.Place = s.place(topic)
	s.evidence.Answers = append(s.evidence.Answers, a)
}

func (s *story) open() string {
	command := &bank.ConfirmAccountCreation{ID: s.id(), Type: bank.Manual}
	s.sent(Delivery{Place: s.place(s.topics.ConfirmAccountCreation), Creation: command, Body: body("open")})
	iban := s.iban()
	token := fmt.Sprintf("%020d", len(s.accounts))
	s.accounts.Create(command, []string{iban}, token)
	s.opened = append(s.opened, iban)
	key := Key{Creation, command.ID}
	s.answer(s.topics.AccountCreationFeedback, Answer{Command: key, Opened: &Opened{iban, token, bank.Manual}})
	s.seq++
	s.evidence.Outcomes = append(s.evidence.Outcomes, Outcome{
		Command: key, Seq: s.seq, Opened: &Opened{iban, token, bank.Manual}, Origin: s.lastSent(),
	})
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
	s.sent(Delivery{Place: s.place(s.topics.ConfirmMoneyTransfer), Transfer: command, Body: body("transfer")})
	outcome := s.accounts.Transfer(command)
	key := Key{Transfer, command.ID}
	s.answer(s.topics.MoneyTransferFeedback, Answer{Command: key, Reason: outcome.Reason})
	s.seq++
	row := Outcome{
		Command: key, Seq: s.seq, Reason: outcome.Reason, Origin: s.lastSent(), Amount: amount, HasFingerprint: true, Fingerprint: command.Fingerprint(),
	}
	if command.TextReason() == "" {
		row.From, row.To, row.HasContent, row.Debtor, row.Creditor, row.Text = outcome.From, outcome.To, true, from, to, "d"
	}
	s.evidence.Outcomes = append(s.evidence.Outcomes, row)
	if outcome.Reason == "" {
		for _, event := range command.AppendEvents(nil, outcome.From, outcome.To) {
			s.evidence.Events = append(s.evidence.Events, Event{Place: s.place(s.topics.BalanceChanged), Event: event, HasVersion: true})
		}
	}
	return command
}

// again sends command once more, which is answered as before.
func (s *story) again(command *bank.ConfirmMoneyTransfer) {
	s.sent(Delivery{Place: s.place(s.topics.ConfirmMoneyTransfer), Transfer: command, Body: body("transfer")})
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
		Body: delivery.Body, Length: delivery.Body.Length,
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
		opening, there := s.openings[iban]
		row := Account{Account: *account, Before: there || iban == bank.CompanyIBAN}
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
