// Package bank says what the bank means: its accounts, IBANs, tokens and money, the commands it takes, the answers it
// gives, and the rules that lead from one to the other.
//
// It is pure: no I/O, no clock, no Kafka, no SQL, and randomness only from the reader that a caller hands in. The same
// accounts and the same commands in the same order give the same outcomes, which is what a replay relies on. Nothing
// in it fails: a command that breaks a rule is an outcome with a reason.
//
//	ConfirmAccountCreation ─ Accounts.Create   ─▶ AccountCreationConfirmed | AccountCreationFailed
//	ConfirmMoneyTransfer   ─ Accounts.Transfer ─▶ MoneyTransferConfirmed   | MoneyTransferFailed
//	                                              and a BalanceChanged for each account that changed
//
// All amounts are euro cents.
package bank

// AccountType tells who holds an account: a program or a person.
type AccountType string

// The account types, as the Avro enum Atype spells them.
const (
	Auto   AccountType = "AUTO"
	Manual AccountType = "MANUAL"
)

// Valid reports whether t is one of the account types.
func (t AccountType) Valid() bool { return t == Auto || t == Manual }

// ConfirmAccountCreation asks for an account, or for the answer of the first time when its id was handled before.
type ConfirmAccountCreation struct {
	ID   ID
	Type AccountType
}

// ConfirmMoneyTransfer asks to move Amount cents from From to To.
type ConfirmMoneyTransfer struct {
	ID          ID
	Token       string // the secret of the account From; a deposit needs none
	Amount      int64  // cents; more than 0
	From        string // an open-bank IBAN, or Cash for a deposit
	To          string // an account here, or any text: Cash, a shop, a foreign IBAN
	Description string
}

// AccountCreationConfirmed answers a creation that made an account.
type AccountCreationConfirmed struct {
	ID          ID
	IBAN, Token string
	Type        AccountType
}

// AccountCreationFailed answers a creation that made none.
type AccountCreationFailed struct {
	ID     ID
	Reason string
}

// MoneyTransferConfirmed answers a transfer that was carried out.
type MoneyTransferConfirmed struct{ ID ID }

// MoneyTransferFailed answers a transfer that changed nothing.
type MoneyTransferFailed struct {
	ID     ID
	Reason string
}

// BalanceChanged tells that one account changed.
type BalanceChanged struct {
	IBAN        string
	NewBalance  int64  // cents
	ChangedBy   int64  // cents; negative on the debited account
	FromTo      string // the counterparty
	Description string
	Version     int64 // how many changes the account has had, this one included; travels as a header, not in the record
}

// The reasons of failed answers. Clients compare them, so they never change.
const (
	ReasonAmountNotPositive = "amount must be positive"
	ReasonFromInvalid       = "from is invalid"
	ReasonSame              = "from and to can't be same for transfer"
	ReasonInvalidToken      = "invalid token"
	ReasonInsufficientFunds = "insufficient funds"
	ReasonBothUnknown       = "both to and from not known at this bank"
	ReasonFromUnknown       = "from is not known at this bank"
	ReasonAmountTooLarge    = "amount is too large"
	ReasonNoFreeIBAN        = "generated iban already exists, try again"

	ReasonTokenTooLong       = "token is too long"
	ReasonFromTooLong        = "from is too long"
	ReasonToTooLong          = "to is too long"
	ReasonDescriptionTooLong = "description is too long"
	ReasonTokenNotText       = "token is not valid text"
	ReasonFromNotText        = "from is not valid text"
	ReasonToNotText          = "to is not valid text"
	ReasonDescriptionNotText = "description is not valid text"
)
