package store

import "openbank/bank"

// MaxBatch is how many commands share one transaction at most: the step of the sequence that numbers them. Execute
// splits what is longer.
const MaxBatch = 10000

// Origin is the record that a command came in. The zero Origin means none: a command that no record carried.
type Origin struct {
	Topic     string
	TopicID   [16]byte // zero on brokers that do not know topic ids
	Partition int32
	Offset    int64
}

// Command is one command to execute. Exactly one of Creation and Transfer is set.
type Command struct {
	Creation *bank.ConfirmAccountCreation
	Transfer *bank.ConfirmMoneyTransfer
	Origin   Origin
	// Published says that Origin.Offset lies below the partition's published_to: all that the command led to has been
	// published, so that it is a duplicate even when its row has this very origin. Where there is no row, as below an offset that
	// was set ahead once, the row that is made keeps that its events may never have been published: it is no duplicate there.
	Published bool
	// BeforeIDs says that the record may have been executed when the brokers had no topic ids: a row whose origin has the zero id
	// instead of Origin's is this record's too.
	BeforeIDs bool
}

// Progress is how far a partition's records are handled. Both fields are next offsets: the first one not yet handled.
// -1 leaves a stored value as it is; none ever goes backwards.
type Progress struct {
	Topic       string
	TopicID     [16]byte
	Partition   int32
	ExecutedTo  int64
	PublishedTo int64
}

// Batch is what Execute handles in one transaction. Progress may name partitions of which no command is here: a record
// that is none, a dead letter, has been handled as well.
type Batch struct {
	Commands []Command
	Progress []Progress
}

// Disposition says what a command turned out to be.
type Disposition int

const (
	// Executed means for the first time, just now: answer and events are to be published.
	Executed Disposition = iota + 1
	// Unfinished means executed before, from the very record at hand, and perhaps never published. Everything is sent again.
	Unfinished
	// Duplicate means executed before, from another record or surely published. The stored answer goes out, no event does.
	Duplicate
	// DeadLetter means that no answer would be right. Reason is for the operator.
	DeadLetter
)

// String returns the disposition in lower case.
func (d Disposition) String() string {
	switch d {
	case Executed:
		return "executed"
	case Unfinished:
		return "unfinished"
	case Duplicate:
		return "duplicate"
	case DeadLetter:
		return "dead letter"
	}
	return "unknown"
}

// ReasonIDReused is the dead letter's reason for a transfer whose id was handled with other content. A confirmation
// would be false, and a refusal a second, contradicting answer.
const ReasonIDReused = "id reused with other content"

// Outcome is what came of one command.
type Outcome struct {
	Disposition Disposition
	Seq         int64  // the command's place in the order of execution; 0 for a row that was taken over, and for a dead letter
	Reason      string // "" when confirmed; else the failed answer's reason, or the dead letter's

	// Of a confirmed creation.
	IBAN, Token string
	Type        bank.AccountType

	// Events go out with the answer: those of a confirmed transfer that is Executed or Unfinished, the debited
	// account's first. Otherwise empty.
	Events []bank.BalanceChanged
}
