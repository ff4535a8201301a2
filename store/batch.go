package store

import (
	"encoding/binary"
	"io"

	"openbank/bank"
)

// batch is one run of a batch: what was read, and what is to be written. Nothing of it outlives the run, since the next
// one may meet other rows and draws other IBANs and tokens.
type batch struct {
	commands []Command
	outcomes []Outcome
	topics   []int32    // of each command; 0: no origin
	unnamed  []int32    // the same topic without its id, of each command that may have been executed before topics had ids; 0: it was not
	fit      []bool     // whether a command's texts may be stored; false of creations
	fresh    []identity // of each creation, in the order of the commands

	accounts  bank.Accounts
	locked    []lockedAccount // by IBAN
	transfers map[bank.ID]*transfer
	creations map[bank.ID]*creation
	seq       int64 // of the first command
	since     int64 // commands up to this seq are history

	// Where new rows and events live: one allocation for all instead of one each.
	transferSlab []transfer
	eventSlab    []bank.BalanceChanged

	newTransfers []*transfer
	newCreations []*creation
}

// identity is what a new account may get.
type identity struct {
	ibans [candidates]string
	token string
}

// candidates is how many IBANs are drawn for a new account. Out of 1,000 million one is taken with a probability of a
// thousandth at a million accounts, all of them of 10^-9.
const candidates = 3

// lockedAccount is an account whose row this transaction has locked.
type lockedAccount struct {
	bank.Account
	id     int32 // balance_id
	before int64 // its version when it was locked
}

// origin is where a row's command came from. Topic 0: from no record, or from one that is not known.
type origin struct {
	topic, partition int32
	offset           int64
	late             bool // published_to lay behind it already when the command was executed, and tells nothing of it
}

// is tells whether it is the same record.
func (o origin) is(other origin) bool {
	o.late = other.late
	return o == other
}

// in is the same place of another topic.
func (o origin) in(topic int32) origin {
	o.topic = topic
	return o
}

// column is origin_partition: -1 and below, counted down from partition 0, where it is late.
func (o origin) column() int32 {
	if o.late {
		return -1 - o.partition
	}
	return o.partition
}

// originAt is what column wrote.
func originAt(topic, column int32, offset int64) origin {
	if column < 0 {
		return origin{topic, -1 - column, offset, true}
	}
	return origin{topic, column, offset, false}
}

// transfer is a row of cmt.
type transfer struct {
	id       bank.ID
	seq      int64
	origin   origin
	printed  bool // has a fingerprint
	print    int64
	outcome  bank.TransferOutcome
	hasTexts bool // from, to and description are known: false of taken-over rows and of unfit texts
	from, to string
	text     string // the description
	amount   int64
}

// creation is a row of cac.
type creation struct {
	id      bank.ID
	seq     int64
	origin  origin
	outcome bank.CreationOutcome
	kind    bank.AccountType
}

func newBatch(commands []Command, outcomes []Outcome) *batch {
	b := &batch{
		commands: commands, outcomes: outcomes,
		topics:    make([]int32, len(commands)),
		unnamed:   make([]int32, len(commands)),
		fit:       make([]bool, len(commands)),
		accounts:  make(bank.Accounts, 2*len(commands)),
		transfers: make(map[bank.ID]*transfer, len(commands)),
		creations: make(map[bank.ID]*creation),
	}
	for i := range commands {
		b.fit[i] = commands[i].Transfer != nil && commands[i].Transfer.TextReason() == ""
	}
	return b
}

// drawIdentities draws candidates for every creation, before the locks: they are looked up along with the accounts, so
// that one that is found is known to be taken.
func (b *batch) drawIdentities(random io.Reader) error {
	for i := range b.commands {
		if b.commands[i].Creation == nil {
			continue
		}
		var drawn identity
		var err error
		for j := range drawn.ibans {
			if drawn.ibans[j], err = bank.NewIBAN(random); err != nil {
				return err
			}
		}
		if drawn.token, err = bank.NewToken(random); err != nil {
			return err
		}
		b.fresh = append(b.fresh, drawn)
	}
	return nil
}

// fingerprint is the stored form of a command's fingerprint.
func fingerprint(c *bank.ConfirmMoneyTransfer) int64 {
	f := c.Fingerprint()
	return int64(binary.BigEndian.Uint64(f[:]))
}
