package bank

import "math"

const (
	// DefaultLimit is how far a new account may go below zero, in cents.
	DefaultLimit = -50000
	// Cash is the party of deposits (from) and withdrawals (to). It has no account.
	Cash = "cash"

	// CompanyIBAN names the account that exists from the start and pays salaries.
	CompanyIBAN = "NL66OPEN0000000000"
	// CompanyToken is the company account's token.
	CompanyToken = "00000000000000000000"
	// CompanyBalance is what the company account starts with, in cents.
	CompanyBalance = 100000000000000000
)

// Account is one account's state.
type Account struct {
	IBAN, Token string
	Type        AccountType
	Balance     int64 // cents
	Limit       int64 // cents; the lowest balance that a debit may leave
	Version     int64 // how many changes the account has had
}

// Company returns the company account as a new bank opens it.
func Company() *Account {
	return &Account{IBAN: CompanyIBAN, Token: CompanyToken, Type: Auto, Balance: CompanyBalance, Limit: DefaultLimit}
}

// Accounts holds, by IBAN, every account that the commands at hand may name. An IBAN that is not in it is none here.
type Accounts map[string]*Account

// Side is one party's account in an outcome.
type Side struct {
	Known   bool  // false: the party has no account here, and the rest is zero
	Balance int64 // cents
	Version int64
}

// TransferOutcome is what came of a transfer. The sides are the accounts after it; a rejected transfer changed
// nothing, so they are as it found them.
type TransferOutcome struct {
	Reason   string // "" when confirmed
	From, To Side
}

// Transfer decides c and, when it is confirmed, moves the money in a. A rejected command changes nothing.
func (a Accounts) Transfer(c *ConfirmMoneyTransfer) TransferOutcome {
	from, to := a.of(c.From), a.of(c.To)
	reason := transferReason(c, from, to)
	if reason == "" {
		if from != nil {
			from.Balance -= c.Amount
			from.Version++
		}
		if to != nil {
			to.Balance += c.Amount
			to.Version++
		}
	}
	return TransferOutcome{Reason: reason, From: from.side(), To: to.side()}
}

// transferReason is the rules of a transfer, in the order in which they are answered. It returns "" when all hold.
func transferReason(c *ConfirmMoneyTransfer, from, to *Account) string {
	if c.Amount <= 0 {
		return ReasonAmountNotPositive
	}
	if reason := c.TextReason(); reason != "" {
		return reason
	}
	if c.From != Cash && !ValidIBAN(c.From) {
		return ReasonFromInvalid
	}
	if c.From == c.To {
		return ReasonSame
	}
	if from != nil {
		if c.Token != from.Token {
			return ReasonInvalidToken
		}
		// Written so that nothing leaves int64: what would go below its range is below any limit as well.
		if from.Balance < math.MinInt64+c.Amount || from.Balance-c.Amount < from.Limit {
			return ReasonInsufficientFunds
		}
	}
	if from == nil && to == nil {
		return ReasonBothUnknown
	}
	if from == nil && c.From != Cash {
		return ReasonFromUnknown // or it would credit `to` from nothing
	}
	if to != nil && to.Balance > math.MaxInt64-c.Amount {
		return ReasonAmountTooLarge
	}
	return ""
}

// AppendEvents appends what a confirmed transfer tells the world: a BalanceChanged for each side that has an account,
// the debited one's first. from and to are the sides of its outcome.
func (c *ConfirmMoneyTransfer) AppendEvents(dst []BalanceChanged, from, to Side) []BalanceChanged {
	if from.Known {
		dst = append(dst, BalanceChanged{
			IBAN: c.From, NewBalance: from.Balance, ChangedBy: -c.Amount, FromTo: c.To,
			Description: c.Description, Version: from.Version,
		})
	}
	if to.Known {
		dst = append(dst, BalanceChanged{
			IBAN: c.To, NewBalance: to.Balance, ChangedBy: c.Amount, FromTo: c.From,
			Description: c.Description, Version: to.Version,
		})
	}
	return dst
}

// CreationOutcome is what came of an account creation.
type CreationOutcome struct {
	Reason      string // "" when confirmed
	IBAN, Token string // "" when rejected
}

// Create decides a creation whose id is new: the first of candidates that is not in a becomes an account with token,
// balance 0, version 0 and the default limit. The candidates are drawn beforehand, so that the store can look them up
// together with the other accounts of a batch; when all of them are taken the reason is ReasonNoFreeIBAN.
func (a Accounts) Create(c *ConfirmAccountCreation, candidates []string, token string) CreationOutcome {
	for _, iban := range candidates {
		if _, taken := a[iban]; !taken {
			a[iban] = &Account{IBAN: iban, Token: token, Type: c.Type, Limit: DefaultLimit}
			return CreationOutcome{IBAN: iban, Token: token}
		}
	}
	return CreationOutcome{Reason: ReasonNoFreeIBAN}
}

// of returns the party's account, or nil. Cash never has one, even if a row of that name should exist.
func (a Accounts) of(party string) *Account {
	if party == Cash {
		return nil
	}
	return a[party]
}

func (a *Account) side() Side {
	if a == nil {
		return Side{}
	}
	return Side{Known: true, Balance: a.Balance, Version: a.Version}
}
