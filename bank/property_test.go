package bank_test

import (
	"maps"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"openbank/bank"
)

// parties are accounts, an IBAN that is valid but unknown, and names that are none.
var parties = []string{alice, bob, carol, bank.CompanyIBAN, bank.Cash, "Albert Heijn BV", "", "NL67OPEN0000000000"}

// cents favours the ends of int64 and the neighbourhood of zero, where arithmetic goes wrong.
func cents() *rapid.Generator[int64] {
	return rapid.OneOf(
		rapid.Int64Range(-100, 100), rapid.Int64(),
		rapid.Int64Range(math.MaxInt64-100, math.MaxInt64), rapid.Int64Range(math.MinInt64, math.MinInt64+100),
	)
}

func drawAccounts(t *rapid.T) bank.Accounts {
	accounts := bank.Accounts{}
	for _, iban := range []string{alice, bob, bank.CompanyIBAN} {
		if rapid.IntRange(0, 3).Draw(t, "open") == 0 {
			continue
		}
		accounts[iban] = &bank.Account{
			IBAN: iban, Token: rapid.SampledFrom([]string{token, "", "x"}).Draw(t, "its token"), Type: bank.Auto,
			Balance: cents().Draw(t, "balance"), Limit: cents().Draw(t, "limit"), Version: rapid.Int64Range(0, 9).Draw(t, "version"),
		}
	}
	return accounts
}

func drawTransfer(t *rapid.T) *bank.ConfirmMoneyTransfer {
	return &bank.ConfirmMoneyTransfer{
		Token: rapid.SampledFrom([]string{token, "", "x", "\x00"}).Draw(t, "token"), Amount: cents().Draw(t, "amount"),
		From: rapid.SampledFrom(parties).Draw(t, "from"), To: rapid.SampledFrom(parties).Draw(t, "to"),
		Description: rapid.SampledFrom([]string{"", "rent", "\xff"}).Draw(t, "description"),
	}
}

// reasonOf is the list of rules once more, in integers without an end, as a reader of the rules would check them.
func reasonOf(accounts bank.Accounts, c *bank.ConfirmMoneyTransfer) string {
	from, to := accounts[c.From], accounts[c.To]
	amount := big.NewInt(c.Amount)
	rules := []struct {
		broken func() bool
		reason string
	}{
		{func() bool { return c.Amount <= 0 }, "amount must be positive"},
		{func() bool { return c.TextReason() != "" }, c.TextReason()},
		{func() bool { return c.From != "cash" && !bank.ValidIBAN(c.From) }, "from is invalid"},
		{func() bool { return c.From == c.To }, "from and to can't be same for transfer"},
		{func() bool { return from != nil && from.Token != c.Token }, "invalid token"},
		{func() bool {
			return from != nil && new(big.Int).Sub(big.NewInt(from.Balance), amount).Cmp(big.NewInt(from.Limit)) < 0
		}, "insufficient funds"},
		{func() bool { return from == nil && to == nil }, "both to and from not known at this bank"},
		{func() bool { return from == nil && c.From != "cash" }, "from is not known at this bank"},
		{func() bool { return to != nil && !new(big.Int).Add(big.NewInt(to.Balance), amount).IsInt64() }, "amount is too large"},
	}
	for _, rule := range rules {
		if rule.broken() {
			return rule.reason
		}
	}
	return ""
}

func total(accounts bank.Accounts) *big.Int {
	sum := new(big.Int)
	for _, account := range accounts {
		sum.Add(sum, big.NewInt(account.Balance))
	}
	return sum
}

func TestTransfersKeepTheBooks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		accounts := drawAccounts(t)
		expected := total(accounts) // openings and what flowed in from, or out to, parties outside
		for range rapid.IntRange(1, 20).Draw(t, "commands") {
			c := drawTransfer(t)
			reason, before := reasonOf(accounts, c), snapshot(accounts)
			outcome := accounts.Transfer(c)
			if outcome.Reason != reason {
				t.Fatalf("%+v: got %q, want %q", c, outcome.Reason, reason)
			}
			if reason != "" {
				if !maps.Equal(before, snapshot(accounts)) {
					t.Fatalf("%+v was rejected and changed something", c)
				}
			} else {
				checkConfirmed(t, accounts, before, c)
				if _, known := accounts[c.From]; !known {
					expected.Add(expected, big.NewInt(c.Amount))
				}
				if _, known := accounts[c.To]; !known {
					expected.Sub(expected, big.NewInt(c.Amount))
				}
			}
			checkSide(t, accounts, c.From, outcome.From)
			checkSide(t, accounts, c.To, outcome.To)
			if sum := total(accounts); sum.Cmp(expected) != 0 {
				t.Fatalf("%+v: the balances sum up to %s, want %s", c, sum, expected)
			}
		}
	})
}

// checkConfirmed checks that exactly the two parties changed, each by one version, and that no debit went below a limit.
func checkConfirmed(t *rapid.T, accounts bank.Accounts, before map[string]bank.Account, c *bank.ConfirmMoneyTransfer) {
	for iban, account := range accounts {
		want := before[iban]
		switch iban {
		case c.From:
			want.Balance -= c.Amount
			want.Version++
			if account.Balance < account.Limit {
				t.Fatalf("%+v took %+v below its limit", c, account)
			}
			if account.Balance >= before[iban].Balance {
				t.Fatalf("%+v did not lower %+v", c, account)
			}
		case c.To:
			want.Balance += c.Amount
			want.Version++
			if account.Balance <= before[iban].Balance {
				t.Fatalf("%+v did not raise %+v", c, account)
			}
		}
		if *account != want {
			t.Fatalf("%+v: %s is %+v, want %+v", c, iban, *account, want)
		}
	}
}

func checkSide(t *rapid.T, accounts bank.Accounts, iban string, got bank.Side) {
	var want bank.Side
	if account := accounts[iban]; account != nil {
		want = bank.Side{Known: true, Balance: account.Balance, Version: account.Version}
	}
	if got != want {
		t.Fatalf("the side of %q is %+v, want %+v", iban, got, want)
	}
}

func TestOutcomesDependOnAccountsAndOrderAlone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		first := drawAccounts(t)
		second := bank.Accounts{}
		for iban, account := range first {
			value := *account
			second[iban] = &value
		}
		for range rapid.IntRange(1, 10).Draw(t, "commands") {
			c := drawTransfer(t)
			if a, b := first.Transfer(c), second.Transfer(c); a != b {
				t.Fatalf("%+v: %+v and %+v", c, a, b)
			}
		}
	})
}

func TestEventsTellWhatChanged(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		accounts, c := drawAccounts(t), drawTransfer(t)
		before := snapshot(accounts)
		outcome := accounts.Transfer(c)
		if outcome.Reason != "" {
			return
		}
		events := c.AppendEvents(nil, outcome.From, outcome.To)
		for _, event := range events {
			was := before[event.IBAN]
			if was.Balance+event.ChangedBy != event.NewBalance || was.Version+1 != event.Version ||
				accounts[event.IBAN].Balance != event.NewBalance || event.FromTo == event.IBAN || event.Description != c.Description {
				t.Fatalf("%+v after %+v", event, was)
			}
		}
		if len(events) == 0 || len(events) == 2 && events[0].ChangedBy >= 0 {
			t.Fatalf("%+v", events)
		}
	})
}

func TestCreationsNeverTouchAnAccount(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		accounts := drawAccounts(t)
		before := snapshot(accounts)
		candidates := rapid.SliceOfN(rapid.SampledFrom(parties[:4]), 0, 4).Draw(t, "candidates")
		outcome := accounts.Create(&bank.ConfirmAccountCreation{Type: bank.Auto}, candidates, token)
		for iban, account := range before {
			if *accounts[iban] != account {
				t.Fatalf("%s changed", iban)
			}
		}
		if made := outcome.Reason == ""; made != (len(accounts) == len(before)+1) || made != (accounts[outcome.IBAN] != nil) {
			t.Fatalf("%+v, %d accounts before, %d after", outcome, len(before), len(accounts))
		}
	})
}
