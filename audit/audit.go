// Package audit reads a bank's topics and database as any outsider could and checks that they tell one story. It shares
// nothing with the handler but what the messages mean (bank) and how they look (schemas): it has its own reader, its own SQL,
// and its own replay.
//
//	topics ── ReadTopics ──┐
//	                       ├──▶ Evidence ── Check ──▶ Report
//	tables ── ReadTables ──┘
//
// Reading is as a read-committed consumer, up to the end that each partition has when it starts; tables are read in one
// snapshot. So the commands must be handled and the handlers idle, or what is under way counts as missing. Check is pure.
package audit

import (
	"time"

	"openbank/bank"
)

// Topics names the topics that are read.
type Topics struct {
	ConfirmAccountCreation, AccountCreationFeedback string
	ConfirmMoneyTransfer, MoneyTransferFeedback     string
	BalanceChanged                                  string
}

// DefaultTopics are the stack's own names.
func DefaultTopics() Topics {
	return Topics{
		ConfirmAccountCreation:  "confirm_account_creation",
		AccountCreationFeedback: "account_creation_feedback",
		ConfirmMoneyTransfer:    "confirm_money_transfer",
		MoneyTransferFeedback:   "money_transfer_feedback",
		BalanceChanged:          "balance_changed",
	}
}

// DeadLetter is the name of a command topic's dead letter topic.
func DeadLetter(topic string) string { return topic + ".dead-letter" }

// Kind tells the two commands apart: their ids have nothing to do with each other.
type Kind string

// The two kinds of command.
const (
	Creation Kind = "account creation"
	Transfer Kind = "money transfer"
)

// Key names a command.
type Key struct {
	Kind Kind
	ID   bank.ID
}

func (k Key) String() string { return string(k.Kind) + " " + k.ID.String() }

// Place is where a record stands.
type Place struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Delivery is a record on a command topic. A record sent twice is two deliveries.
type Delivery struct {
	Place      Place
	Time       time.Time // the record's
	Key, Value []byte
	Creation   *bank.ConfirmAccountCreation // set for a creation on its topic
	Transfer   *bank.ConfirmMoneyTransfer   // set for a transfer on its topic
	Unreadable string                       // why neither is set
}

func (d *Delivery) command() (Key, bool) {
	switch {
	case d.Creation != nil:
		return Key{Creation, d.Creation.ID}, true
	case d.Transfer != nil:
		return Key{Transfer, d.Transfer.ID}, true
	}
	return Key{}, false
}

// Answer is a record on a feedback topic. Two answers to a command are equal when they differ in Place and Time alone.
type Answer struct {
	Place       Place
	Time        time.Time // the record's
	Command     Key
	Reason      string // "" when confirmed
	IBAN, Token string // of a confirmed creation
	Type        bank.AccountType
}

func (a Answer) content() Answer {
	a.Place, a.Time = Place{}, time.Time{}
	return a
}

// Event is a BalanceChanged.
type Event struct {
	Place      Place
	Event      bank.BalanceChanged
	HasVersion bool // the account-version header was there and a number
}

// Letter is a record on a dead letter topic.
type Letter struct {
	Place      Place
	Source     Place // from its headers; a zero Topic when they can't be read
	Reason     string
	Key, Value []byte
	Length     int    // of the original value
	SHA256     string // of the original value, when it was cut
}

// Account is a row of the balance table with its opening.
type Account struct {
	bank.Account
	Opening        int64 // cents; the balance at OpeningVersion
	OpeningVersion int64 // 0, unless the handler took the database over again after handing it back
}

// Outcome is a row of the tables of handled commands.
type Outcome struct {
	Command     Key
	Seq         int64  // order of execution; 0 for rows from before the handler took the database over
	Reason      string // "" when confirmed
	IBAN, Token string // of a confirmed creation

	From, To bank.Side // of a transfer: the parties' accounts after it, as far as they are known here
}

// Evidence is all that was read. Deliveries, answers, events and letters are in the order of their partitions.
type Evidence struct {
	Deliveries []Delivery
	Answers    []Answer
	Events     []Event
	Letters    []Letter
	Foreign    []string // records that belong on none of the topics, described

	Accounts []Account
	Outcomes []Outcome
}
