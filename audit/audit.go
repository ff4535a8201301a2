// Package audit reads a bank's topics and database as any outsider could and checks that they tell one story. It shares
// nothing with the handler but what the messages mean (bank), how they look (schemas), and sessions of the database (store): it
// has its own reader, its own SQL, and its own replay.
//
//	topics ──┐
//	         ├─ Read ──▶ Evidence ── Check ──▶ Report
//	tables ──┘
//
// Topics are read as by a read-committed consumer, tables in one snapshot. Check is pure.
//
// Read may be used while the bank is at work, for what it leaves to Check is whole. It reads in this order:
//
//  1. where the command topics end: what stands before is due
//  2. all topics, until whatever is due is answered or buried
//  3. the tables
//  4. all topics again, until whatever the tables say that happened is published
//  5. the command topics to their end: so whatever was read on another topic has its command among what was read
//
// What came after 1 and is not in the tables is left to the next check. Step 2 and 4 give up when nothing comes for a while.
//
// What retention has deleted can't be checked, and is counted as such: see Scope.
package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
	"openbank/deadletter"
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
func DeadLetter(topic string) string { return deadletter.TopicOf(topic) }

// Kind tells the two commands apart: their ids have nothing to do with each other.
type Kind uint8

// The two kinds of command.
const (
	Creation Kind = iota + 1
	Transfer
)

func (k Kind) String() string {
	if k == Creation {
		return "account creation"
	}
	return "money transfer"
}

// MarshalText writes what String says.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Key names a command.
type Key struct {
	Kind Kind
	ID   bank.ID
}

func (k Key) String() string { return k.Kind.String() + " " + k.ID.String() }

// Place is where a record stands.
type Place struct {
	Topic     string
	Partition int32
	Offset    int64
}

func (t Topics) answers(kind Kind) string {
	if kind == Creation {
		return t.AccountCreationFeedback
	}
	return t.MoneyTransferFeedback
}

func (t Topics) command(kind Kind) string {
	if kind == Creation {
		return t.ConfirmAccountCreation
	}
	return t.ConfirmMoneyTransfer
}

// Partition is one of a topic.
type Partition struct {
	Topic  string
	Number int32
}

// MarshalText writes TOPIC/NUMBER: evidence that is kept as JSON has partitions as keys.
func (p Partition) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%s/%d", p.Topic, p.Number), nil
}

func (p Place) partition() Partition { return Partition{p.Topic, p.Partition} }

// Time is when a record was written, in milliseconds since 1970 as Kafka keeps it; 0 when that is not known. Evidence holds millions of
// them, and a time.Time takes three times as much.
type Time int64

// TimeOf is t to the millisecond.
func TimeOf(t time.Time) Time {
	if t.IsZero() {
		return 0
	}
	return Time(t.UnixMilli())
}

// Time is the zero time.Time when it is not known.
func (t Time) Time() time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(t))
}

// Hash is the beginning of a SHA-256, 64 bits: of things that differ one pair in 10^19 goes unnoticed.
type Hash [8]byte

// Body is what a record consists of, as hashes: to keep the bytes of all records would take a multiple of the memory. What is null
// has a zero hash.
type Body struct {
	Key, Value, Headers Hash
	Length              int // of the value, in bytes
}

// NewBody makes the Body of a record.
func NewBody(key, value []byte, headers []kgo.RecordHeader) Body {
	hash := func(b []byte) (begins Hash) {
		if b != nil {
			sum := sha256.Sum256(b)
			copy(begins[:], sum[:])
		}
		return begins
	}
	var all []byte
	for _, h := range headers {
		for _, part := range [][]byte{[]byte(h.Key), h.Value} {
			length := int64(len(part))
			if part == nil {
				length = -1
			}
			all = binary.BigEndian.AppendUint64(all, uint64(length))
			all = append(all, part...)
		}
	}
	return Body{Key: hash(key), Value: hash(value), Headers: hash(all), Length: len(value)}
}

// Delivery is a record on a command topic. A record sent twice is two deliveries.
type Delivery struct {
	Place      Place
	Time       Time // the record's
	Body       Body
	Creation   *bank.ConfirmAccountCreation // set for a creation on its topic
	Transfer   *bank.ConfirmMoneyTransfer   // set for a transfer on its topic
	Unreadable string                       // why neither is set
	Schema     int32                        // the id of the schema that it was written with; 0 when it doesn't say
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

// Opened is the account that a confirmed creation made.
type Opened struct {
	IBAN, Token string
	Type        bank.AccountType
}

// Answer is a record on a feedback topic.
type Answer struct {
	Place   Place
	Time    Time // the record's
	Command Key
	Reason  string  // "" when confirmed
	Opened  *Opened // by a confirmed creation; nil else
}

// same tells whether two answers to a command differ in Place and Time alone.
func (a *Answer) same(b *Answer) bool {
	return a.Command == b.Command && a.Reason == b.Reason && a.Opened.value() == b.Opened.value()
}

// value is the zero Opened for nil.
func (o *Opened) value() Opened {
	if o == nil {
		return Opened{}
	}
	return *o
}

// Event is a BalanceChanged.
type Event struct {
	Place      Place
	Time       Time // the record's
	Event      bank.BalanceChanged
	HasVersion bool // the account-version header was there and a number
}

// Letter is a record on a dead letter topic.
type Letter struct {
	Place      Place
	Time       Time  // the record's
	Source     Place // from its headers; a zero Topic when they can't be read
	SourceTime Time  // that record's, from its headers
	Reason     string
	Body       Body   // of what is left of the record that it was
	Cut        bool   // something is missing
	Length     int    // of the original value
	SHA256     string // of the original value, when it was cut
	Replayed   bool   // it was sent again since
}

// Account is a row of the balance table with its opening.
type Account struct {
	bank.Account
	Opening        int64 // cents; the balance at OpeningVersion
	OpeningVersion int64 // 0, unless the handler took the database over again after handing it back
	Before         bool  // it was there when the handler took the database over, or made its tables; or the tables can't tell
}

// Outcome is a row of the tables of handled commands.
type Outcome struct {
	Command        Key
	Former         bool    // the origin is a topic of its name that was deleted since
	HasContent     bool    // false: its texts were unfit, or a predecessor wrote it
	HasFingerprint bool    // it says what its content was
	Seq            int64   // order of execution; 0 for rows from before the handler took the database over
	Unordered      bool    // no such row, and yet it has none
	Reason         string  // "" when confirmed
	Opened         *Opened // by a confirmed creation; nil else

	From, To bank.Side // of a transfer: the parties' accounts after it, as far as they are known here

	Origin Place // of the record that was executed; a zero Topic when it is not known

	// What a transfer's row repeats of its command.
	Debtor, Creditor, Text string
	Amount                 int64 // cents
	Fingerprint            [8]byte
}

// Evidence is all that was read. Deliveries, answers, events and letters are in the order of their partitions.
type Evidence struct {
	Deliveries []Delivery
	Answers    []Answer
	Events     []Event
	Letters    []Letter
	Foreign    []Place // records that belong on none of the topics

	Accounts []Account
	Outcomes []Outcome
	Late     []Place // how far partitions were handled after the database was handed back: the last record of each

	Scope Scope
}
