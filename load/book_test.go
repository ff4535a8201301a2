package load

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"openbank/bank"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// told is a book with two accounts and one transfer of 5 cents between them, and what a bank says to that.
type told struct {
	book     *Book
	transfer *bank.ConfirmMoneyTransfer
	events   []bank.BalanceChanged
}

func newTold(t *testing.T, wrongToken bool) *told {
	t.Helper()
	b, err := NewBook(Bank)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Invent(2); err != nil {
		t.Fatal(err)
	}
	for i := range b.accounts {
		b.byIBAN[b.accounts[i].iban] = int32(i)
	}
	transfer := b.note(0, 1, 5, wrongToken)
	return &told{b, transfer, transfer.AppendEvents(nil, bank.Side{Known: true, Balance: -5, Version: 1}, bank.Side{Known: true, Balance: 5, Version: 1})}
}

func (s *told) hear(messages ...any) {
	for _, m := range messages {
		s.book.read(&kgo.Record{Topic: "answers"}, m, nil, time.Now())
	}
}

func TestTheRightAnswersArePlausible(t *testing.T) {
	t.Parallel()
	s := newTold(t, false)
	s.hear(&bank.MoneyTransferConfirmed{ID: s.transfer.ID}, &s.events[1], &s.events[0])
	// What other clients do is nothing to this book.
	s.hear(&bank.MoneyTransferFailed{ID: bank.ID{1, 2, 3}, Reason: "whatever"}, &bank.BalanceChanged{IBAN: bank.CompanyIBAN, ChangedBy: 1, Description: "rent"})
	if state := s.book.State(); !state.Complete() || state.Delivery != "at-least-once" {
		t.Errorf("%+v", state)
	}
	s.book.Settle()
	if state := s.book.State(); state.Wrong != 0 {
		t.Errorf("%+v", state)
	}
}

func TestWhatIsWrongIsFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		wrongToken bool
		say        func(s *told)
		found      string
	}{
		"no answer":             {false, func(s *told) { s.hear(&s.events[0], &s.events[1]) }, "was not answered"},
		"a refusal":             {false, func(s *told) { s.hear(&bank.MoneyTransferFailed{ID: s.transfer.ID, Reason: "no"}) }, `was answered "no" and should have been "confirmed"`},
		"another reason":        {true, func(s *told) { s.hear(&bank.MoneyTransferFailed{ID: s.transfer.ID, Reason: "no"}) }, `should have been "invalid token"`},
		"a confirmation":        {true, func(s *told) { s.hear(&bank.MoneyTransferConfirmed{ID: s.transfer.ID}) }, `was answered "confirmed"`},
		"an event of a refusal": {true, func(s *told) { s.hear(&s.events[0]) }, "was to be refused and changed account"},
		"no event":              {false, func(s *told) { s.hear(&bank.MoneyTransferConfirmed{ID: s.transfer.ID}, &s.events[0]) }, "changed 0 times and should have 1 times"},
		"another amount":        {false, func(s *told) { s.events[0].ChangedBy--; s.hear(&s.events[0]) }, "by -6"},
		"another party":         {false, func(s *told) { s.events[1].FromTo = bank.Cash; s.hear(&s.events[1]) }, `with "cash"`},
		"another balance":       {false, func(s *told) { s.events[1].NewBalance = 6; s.hear(&s.events[0], &s.events[1]) }, "ends with a balance of 6 and should have 5"},
		"a command never sent":  {false, func(s *told) { s.events[1].Description = "benchmark 7"; s.hear(&s.events[1]) }, `for a command "benchmark 7"`},
		"another account": {false, func(s *told) {
			s.book.byIBAN["NL1"] = 7
			s.book.accounts = append(s.book.accounts, make([]account, 6)...)
			s.events[1].IBAN = "NL1"
			s.hear(&s.events[1])
		}, "which it does not name"},
		"garbage": {false, func(s *told) { s.hear(nil) }, "is no answer and no event"},
		"no account": {false, func(s *told) {
			s.book.opening[bank.ID{9}] = true
			s.hear(&bank.AccountCreationFailed{ID: bank.ID{9}, Reason: "full"})
		}, "was refused: full"},
		"an account of another's": {false, func(s *told) {
			s.book.opening[bank.ID{9}] = true
			s.hear(&bank.AccountCreationConfirmed{ID: bank.ID{9}, IBAN: s.events[0].IBAN})
		}, "which is another one's"},
		"no chain": {false, func(s *told) {
			second := s.book.note(0, 1, 1, false)
			more := second.AppendEvents(nil, bank.Side{Known: true, Balance: -6, Version: 2}, bank.Side{Known: true, Balance: 6, Version: 2})
			s.events[0].NewBalance = -50
			s.hear(&s.events[0], &s.events[1], &more[0], &more[1])
		}, "the balances of its events are no chain"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTold(t, c.wrongToken)
			c.say(s)
			s.book.Settle()
			state := s.book.State()
			if state.Wrong == 0 || !strings.Contains(strings.Join(state.Faults, "\n"), c.found) {
				t.Errorf("%+v", state)
			}
		})
	}
}

func TestARepetitionIsWrongInTransactionsAlone(t *testing.T) {
	t.Parallel()
	s := newTold(t, false)
	s.hear(&bank.MoneyTransferConfirmed{ID: s.transfer.ID}, &bank.MoneyTransferConfirmed{ID: s.transfer.ID}, &s.events[0], &s.events[0], &s.events[1])
	s.book.Settle()
	if state := s.book.State(); state.Wrong != 0 || state.Repeated != 2 {
		t.Errorf("%+v", state)
	}
	s.book.transactional = true
	s.hear(&bank.MoneyTransferConfirmed{ID: s.transfer.ID})
	if state := s.book.State(); state.Wrong != 1 || !strings.Contains(state.Faults[0], "was answered twice, and its answers are published in transactions") {
		t.Errorf("%+v", state)
	}
}

func TestLatencyCountsFromWhenACommandWasDue(t *testing.T) {
	t.Parallel()
	b, err := NewBook(Echo)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Invent(2); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	timed := b.Time(1, 4, 100, start)
	for range 6 { // one before the stretch, one behind it
		transfer := b.note(0, 1, 1, false)
		b.read(&kgo.Record{}, &bank.MoneyTransferConfirmed{ID: transfer.ID}, nil, start.Add(2*time.Second))
	}
	if timed.Answered() != 4 || timed.Latency.TotalCount() != 4 {
		t.Fatalf("%d timed", timed.Answered())
	}
	// They were due at 0, 10, 20 and 30 ms.
	if least, most := timed.Latency.At(0), timed.Latency.At(100); least.Round(10*time.Millisecond) != 1970*time.Millisecond || most.Round(10*time.Millisecond) != 2*time.Second {
		t.Errorf("from %s to %s", least, most)
	}
}

func TestHotTransfersTakePartOnOneAccount(t *testing.T) {
	t.Parallel()
	b, err := NewBook(Bank)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Invent(100); err != nil {
		t.Fatal(err)
	}
	from, to := 0, 0
	for range 1000 {
		c := b.next(Mix{Hot: 1})
		if c.From == c.To {
			t.Fatal("from and to are the same")
		}
		if c.From == b.accounts[0].iban {
			from++
		}
		if c.To == b.accounts[0].iban {
			to++
		}
	}
	if from+to != 1000 || from < 400 || to < 400 {
		t.Errorf("%d from it, %d to it", from, to)
	}
}

func TestIdsAreSpreadAndNameTheirCommand(t *testing.T) {
	t.Parallel()
	b, err := NewBook(Echo)
	if err != nil {
		t.Fatal(err)
	}
	first := map[byte]bool{}
	for n := range 1000 {
		b.commands = append(b.commands, command{})
		id := b.id(n)
		first[id[0]] = true
		if got, ours := b.number(id); !ours || got != n {
			t.Fatalf("command %d is taken for %d", n, got)
		}
	}
	if len(first) < 200 {
		t.Errorf("1000 ids begin with %d bytes", len(first))
	}
	if _, ours := b.number(bank.ID{1}); ours {
		t.Error("an id of another's is taken for one of ours")
	}
}
