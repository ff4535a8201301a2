package bank_test

import (
	"maps"
	"math"
	"strings"
	"testing"

	"openbank/bank"
)

const (
	alice = "NL39OPEN0000000001"
	bob   = "NL12OPEN0000000002"
	carol = "NL82OPEN0000000003" // valid, and no account here
	token = "01234567890123456789"
)

func payment() *bank.ConfirmMoneyTransfer {
	return &bank.ConfirmMoneyTransfer{Token: token, Amount: 1999, From: alice, To: "Albert Heijn BV", Description: "groceries"}
}

// two returns the accounts of alice and bob.
func two(alicesBalance, alicesLimit, bobsBalance int64) bank.Accounts {
	return bank.Accounts{
		alice: {IBAN: alice, Token: token, Type: bank.Manual, Balance: alicesBalance, Limit: alicesLimit, Version: 7},
		bob:   {IBAN: bob, Token: "99999999999999999999", Type: bank.Auto, Balance: bobsBalance, Limit: bank.DefaultLimit, Version: 3},
	}
}

func snapshot(accounts bank.Accounts) map[string]bank.Account {
	values := map[string]bank.Account{}
	for iban, account := range accounts {
		values[iban] = *account
	}
	return values
}

func TestTransfer(t *testing.T) {
	t.Parallel()
	for _, iban := range []string{alice, bob, carol} {
		if !bank.ValidIBAN(iban) {
			t.Fatalf("%s is not valid, want %s", iban, ibanOf(iban[8:]))
		}
	}
	known := func(balance, version int64) bank.Side {
		return bank.Side{Known: true, Balance: balance, Version: version}
	}
	const lowest, highest = math.MinInt64, math.MaxInt64
	long := strings.Repeat("1", 5000)

	for _, test := range []struct {
		name     string
		accounts bank.Accounts
		command  bank.ConfirmMoneyTransfer
		want     bank.TransferOutcome
	}{
		{"between two accounts", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Token: token, Amount: 70, From: alice, To: bob},
			bank.TransferOutcome{From: known(30, 8), To: known(75, 4)}},
		{"down to the limit exactly", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Token: token, Amount: 150, From: alice, To: bob},
			bank.TransferOutcome{From: known(-50, 8), To: known(155, 4)}},
		{"a deposit needs no token", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Amount: 1, From: bank.Cash, To: bob},
			bank.TransferOutcome{To: known(6, 4)}},
		{"a deposit ignores a wrong token", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Token: "wrong", Amount: 1, From: bank.Cash, To: bob},
			bank.TransferOutcome{To: known(6, 4)}},
		{"a withdrawal", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Token: token, Amount: 1, From: alice, To: bank.Cash},
			bank.TransferOutcome{From: known(99, 8)}},
		{"a payment to a shop", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Token: token, Amount: 1, From: alice, To: "Albert Heijn BV"},
			bank.TransferOutcome{From: known(99, 8)}},
		{"a payment to the empty name", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Token: token, Amount: 1, From: alice},
			bank.TransferOutcome{From: known(99, 8)}},
		{"a payment to an open-bank IBAN that is no account here", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Token: token, Amount: 1, From: alice, To: carol},
			bank.TransferOutcome{From: known(99, 8)}},
		{"everything between the ends of int64", two(highest, lowest, lowest),
			bank.ConfirmMoneyTransfer{Token: token, Amount: highest, From: alice, To: bob},
			bank.TransferOutcome{From: known(0, 8), To: known(-1, 4)}},
		{"to the very end of int64", two(0, lowest, 0),
			bank.ConfirmMoneyTransfer{Token: token, Amount: highest, From: alice, To: bob},
			bank.TransferOutcome{From: known(-highest, 8), To: known(highest, 4)}},
		{"a debit down to the lowest int64", two(-1, lowest, 0),
			bank.ConfirmMoneyTransfer{Token: token, Amount: highest, From: alice, To: bank.Cash},
			bank.TransferOutcome{From: known(lowest, 8)}},

		{"an amount of zero", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Token: token, Amount: 0, From: alice, To: bob},
			bank.TransferOutcome{Reason: "amount must be positive", From: known(100, 7), To: known(5, 3)}},
		{"a negative amount", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Token: token, Amount: -1, From: alice, To: bob},
			bank.TransferOutcome{Reason: "amount must be positive", From: known(100, 7), To: known(5, 3)}},
		{"the lowest amount there is", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Amount: lowest, From: bank.Cash, To: bob},
			bank.TransferOutcome{Reason: "amount must be positive", To: known(5, 3)}},
		{"the amount comes before the texts", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Token: "\x00", From: long, To: bob},
			bank.TransferOutcome{Reason: "amount must be positive", To: known(5, 3)}},
		{"texts come before from", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Amount: 1, From: "nobody", To: bob, Description: long},
			bank.TransferOutcome{Reason: "description is too long", To: known(5, 3)}},
		{"a from that is no IBAN", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Amount: 1, From: "nobody", To: bob},
			bank.TransferOutcome{Reason: "from is invalid", To: known(5, 3)}},
		{"from is invalid comes before same", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Amount: 1, From: "nobody", To: "nobody"},
			bank.TransferOutcome{Reason: "from is invalid"}},
		{"cash is spelt in lower case", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Amount: 1, From: "Cash", To: bob},
			bank.TransferOutcome{Reason: "from is invalid", To: known(5, 3)}},
		{"a from with wrong check digits, even of an account", bank.Accounts{"NL00OPEN0000000000": {Balance: 9, Version: 1}},
			bank.ConfirmMoneyTransfer{Amount: 1, From: "NL00OPEN0000000000", To: "shop"},
			bank.TransferOutcome{Reason: "from is invalid", From: known(9, 1)}},
		{"to oneself", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Token: token, Amount: 1, From: alice, To: alice},
			bank.TransferOutcome{Reason: "from and to can't be same for transfer", From: known(100, 7), To: known(100, 7)}},
		{"same comes before the token", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Token: "wrong", Amount: 1, From: alice, To: alice},
			bank.TransferOutcome{Reason: "from and to can't be same for transfer", From: known(100, 7), To: known(100, 7)}},
		{"cash to cash", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Amount: 1, From: bank.Cash, To: bank.Cash},
			bank.TransferOutcome{Reason: "from and to can't be same for transfer"}},
		{"a wrong token", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Token: "99999999999999999999", Amount: 1, From: alice, To: bob},
			bank.TransferOutcome{Reason: "invalid token", From: known(100, 7), To: known(5, 3)}},
		{"no token", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Amount: 1, From: alice, To: "shop"},
			bank.TransferOutcome{Reason: "invalid token", From: known(100, 7)}},
		{"the token comes before the funds", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Amount: 1000, From: alice, To: bob},
			bank.TransferOutcome{Reason: "invalid token", From: known(100, 7), To: known(5, 3)}},
		{"one cent below the limit", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Token: token, Amount: 151, From: alice, To: bob},
			bank.TransferOutcome{Reason: "insufficient funds", From: known(100, 7), To: known(5, 3)}},
		{"an account that is below its limit already", two(-100, -50, 5),
			bank.ConfirmMoneyTransfer{Token: token, Amount: 1, From: alice, To: bob},
			bank.TransferOutcome{Reason: "insufficient funds", From: known(-100, 7), To: known(5, 3)}},
		{"a limit above zero", two(100, 50, 5),
			bank.ConfirmMoneyTransfer{Token: token, Amount: 51, From: alice, To: bob},
			bank.TransferOutcome{Reason: "insufficient funds", From: known(100, 7), To: known(5, 3)}},
		{"a debit that would leave int64", two(-2, lowest, 5),
			bank.ConfirmMoneyTransfer{Token: token, Amount: highest, From: alice, To: "shop"},
			bank.TransferOutcome{Reason: "insufficient funds", From: known(-2, 7)}},
		{"the funds come before the overflow of to", two(100, -50, highest),
			bank.ConfirmMoneyTransfer{Token: token, Amount: 1000, From: alice, To: bob},
			bank.TransferOutcome{Reason: "insufficient funds", From: known(100, 7), To: known(highest, 3)}},
		{"cash to a shop", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Amount: 1, From: bank.Cash, To: "shop"},
			bank.TransferOutcome{Reason: "both to and from not known at this bank"}},
		{"an unknown IBAN to a shop", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Amount: 1, From: carol, To: "shop"},
			bank.TransferOutcome{Reason: "both to and from not known at this bank"}},
		{"an unknown IBAN to an account does not credit it from nothing", two(100, -50, 5),
			bank.ConfirmMoneyTransfer{Amount: 1, From: carol, To: bob},
			bank.TransferOutcome{Reason: "from is not known at this bank", To: known(5, 3)}},
		{"from is not known comes before the overflow", two(100, -50, highest),
			bank.ConfirmMoneyTransfer{Amount: 1, From: carol, To: bob},
			bank.TransferOutcome{Reason: "from is not known at this bank", To: known(highest, 3)}},
		{"a deposit that would leave int64", two(100, -50, highest),
			bank.ConfirmMoneyTransfer{Amount: 1, From: bank.Cash, To: bob},
			bank.TransferOutcome{Reason: "amount is too large", To: known(highest, 3)}},
		{"a transfer that would leave int64 debits nobody", two(highest, -50, 1),
			bank.ConfirmMoneyTransfer{Token: token, Amount: highest, From: alice, To: bob},
			bank.TransferOutcome{Reason: "amount is too large", From: known(highest, 7), To: known(1, 3)}},
		{"an account that is called cash is never used", bank.Accounts{bank.Cash: {Balance: 9}, bob: {Balance: 5, Version: 3}},
			bank.ConfirmMoneyTransfer{Amount: 1, From: bank.Cash, To: bob},
			bank.TransferOutcome{To: known(6, 4)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			before := snapshot(test.accounts)
			got := test.accounts.Transfer(&test.command)
			if got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
			if got.Reason != "" && !maps.Equal(before, snapshot(test.accounts)) {
				t.Errorf("a rejected command changed %v to %v", before, snapshot(test.accounts))
			}
		})
	}
}

func TestTransferAllocatesNothing(t *testing.T) {
	accounts, c := two(1e15, -50, 5), payment()
	c.To = bob
	if allocs := testing.AllocsPerRun(100, func() { accounts.Transfer(c) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkTransfer(b *testing.B) {
	accounts, c := two(math.MaxInt64, -50, math.MinInt64), payment()
	c.To = bob
	b.ReportAllocs()
	for b.Loop() {
		accounts.Transfer(c)
	}
}

func TestEventsNameTheDebitedAccountFirst(t *testing.T) {
	t.Parallel()
	accounts := two(100, -50, 5)
	c := bank.ConfirmMoneyTransfer{Token: token, Amount: 70, From: alice, To: bob, Description: "rent"}
	outcome := accounts.Transfer(&c)
	debit := bank.BalanceChanged{IBAN: alice, NewBalance: 30, ChangedBy: -70, FromTo: bob, Description: "rent", Version: 8}
	credit := bank.BalanceChanged{IBAN: bob, NewBalance: 75, ChangedBy: 70, FromTo: alice, Description: "rent", Version: 4}
	got := c.AppendEvents(nil, outcome.From, outcome.To)
	if len(got) != 2 || got[0] != debit || got[1] != credit {
		t.Errorf("got %+v", got)
	}
	if got := c.AppendEvents(nil, outcome.From, bank.Side{}); len(got) != 1 || got[0] != debit {
		t.Errorf("a payment out of the bank: got %+v", got)
	}
	if got := c.AppendEvents(nil, bank.Side{}, outcome.To); len(got) != 1 || got[0] != credit {
		t.Errorf("a deposit: got %+v", got)
	}
}

func TestCreate(t *testing.T) {
	t.Parallel()
	creation := &bank.ConfirmAccountCreation{Type: bank.Manual}
	t.Run("the first free candidate becomes an account", func(t *testing.T) {
		t.Parallel()
		accounts := two(100, -50, 5)
		got := accounts.Create(creation, []string{alice, bob, carol, bank.CompanyIBAN}, "12345678901234567890")
		if want := (bank.CreationOutcome{IBAN: carol, Token: "12345678901234567890"}); got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		want := bank.Account{IBAN: carol, Token: "12345678901234567890", Type: bank.Manual, Limit: -50000}
		if made := *accounts[carol]; made != want || len(accounts) != 3 {
			t.Errorf("got %+v among %d, want %+v", made, len(accounts), want)
		}
		deposit := bank.ConfirmMoneyTransfer{Amount: 5, From: bank.Cash, To: carol}
		if got := accounts.Transfer(&deposit); got.Reason != "" || got.To != (bank.Side{Known: true, Balance: 5, Version: 1}) {
			t.Errorf("a later command of the batch: got %+v", got)
		}
	})
	for name, candidates := range map[string][]string{"all candidates are taken": {bob, alice}, "there is no candidate": nil} {
		t.Run("when "+name+" nothing is made", func(t *testing.T) {
			t.Parallel()
			accounts := two(100, -50, 5)
			before := snapshot(accounts)
			got := accounts.Create(creation, candidates, token)
			if want := (bank.CreationOutcome{Reason: "generated iban already exists, try again"}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if !maps.Equal(before, snapshot(accounts)) {
				t.Error("an account changed")
			}
		})
	}
}
