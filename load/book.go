package load

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
	"openbank/schemas"
)

const (
	// maxFaults is how many of them are kept in words; all are counted.
	maxFaults = 20
	// funds is each account's first deposit in cents: no transfer of a benchmark is refused for lack of money, since in which
	// order commands of different partitions are executed is the bank's choice.
	funds = 1_000_000_000_000
	// maxAmount of a transfer, in cents.
	maxAmount = 2000
	// describes begins the description of the benchmark's commands; the command's number follows.
	describes = "benchmark "
)

// What a command is, and what came of it.
const (
	rejected = 1 << iota // its token is wrong
	answered             // rightly or not
	debited              // the event of the account it takes from has come
	credited             // and that of the other one
)

// Parties that are none of the benchmark's accounts.
const (
	cash    = -1
	company = -2 // it has an account, and others pay to it too
)

// account is one of the benchmark's.
type account struct {
	iban, token string
	balance     int64 // with all that was sent
	events      int64 // that must have come in the end
	seen        int64
	version     int64 // the highest that was seen
	last        int64 // the balance that goes with it
	links       uint64
}

// command is a transfer, by the places of its accounts.
type command struct {
	amount   int64 // cents
	from, to int32
	state    uint8
}

// Kind says what a book's answers are held to.
type Kind int

const (
	// Bank executes the commands: answers, events and balances have to be right.
	Bank Kind = iota
	// Echo answers every command and executes none: the floor.
	Echo
)

// Book knows what was sent, what must come of it, and what has come. It is safe for concurrent use.
type Book struct {
	kind  Kind
	block cipher.Block // of the ids
	magic uint64       // first half of an id before its encryption

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced when something came
	accounts []account
	byIBAN   map[string]int32
	opening  map[bank.ID]bool // creations that wait for their answer
	commands []command
	random   *mathrand.Rand

	answers, events, expectedEvents int64
	repeated                        int64
	transactional, plain            bool // what the answers were produced as
	wrong                           int64
	faults                          []string
	last                            time.Time
	timed                           []*Timed
	waiting                         map[int]chan time.Time
}

// NewBook makes an empty one.
func NewBook(kind Kind) (*Book, error) {
	var secret [24]byte
	_, _ = rand.Read(secret[:]) // never fails
	block, err := aes.NewCipher(secret[:16])
	if err != nil {
		return nil, err
	}
	return &Book{
		kind: kind, block: block, magic: binary.BigEndian.Uint64(secret[16:]), changed: make(chan struct{}),
		byIBAN: map[string]int32{}, opening: map[bank.ID]bool{}, waiting: map[int]chan time.Time{},
		random: mathrand.New(mathrand.NewPCG(binary.BigEndian.Uint64(secret[8:]), 1)), // commands, not secrets
	}, nil
}

func (b *Book) id(n int) (id bank.ID) {
	binary.BigEndian.PutUint64(id[:8], b.magic)
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	b.block.Encrypt(id[:], id[:])
	return id
}

// number is the place of a command, false when it is none of this book's.
func (b *Book) number(id bank.ID) (int, bool) {
	b.block.Decrypt(id[:], id[:])
	n := binary.BigEndian.Uint64(id[8:])
	return int(n), binary.BigEndian.Uint64(id[:8]) == b.magic && n < uint64(len(b.commands))
}

func (b *Book) fault(format string, args ...any) {
	b.wrong++
	if len(b.faults) < maxFaults {
		b.faults = append(b.faults, fmt.Sprintf(format, args...))
	}
}

// Mix says what transfers are made of.
type Mix struct {
	// Rejected is the share of commands with a wrong token, 0 to 1.
	Rejected float64
	// Hot is the share of commands that take from the first account or pay to it, 0 to 1.
	Hot float64
}

// next notes another transfer and returns it. The caller holds the lock.
func (b *Book) next(mix Mix) *bank.ConfirmMoneyTransfer {
	from, to := int32(b.random.IntN(len(b.accounts))), int32(b.random.IntN(len(b.accounts)-1))
	if mix.Hot > 0 && b.random.Float64() < mix.Hot {
		from = 0
	}
	if to >= from {
		to++
	}
	if mix.Hot > 0 && from == 0 && len(b.commands)%2 == 1 {
		from, to = to, from
	}
	return b.note(from, to, 1+b.random.Int64N(maxAmount), b.random.Float64() < mix.Rejected)
}

// note adds a command to the book. The caller holds the lock.
func (b *Book) note(from, to int32, amount int64, wrongToken bool) *bank.ConfirmMoneyTransfer {
	n := len(b.commands)
	c := &bank.ConfirmMoneyTransfer{ID: b.id(n), Amount: amount, From: b.iban(from), To: b.iban(to), Description: describes + strconv.Itoa(n)}
	noted := command{from: from, to: to, amount: amount}
	if from >= 0 {
		c.Token = b.accounts[from].token
	}
	if wrongToken && from >= 0 {
		c.Token, noted.state = "00000000000000000001", rejected
	}
	if noted.state&rejected == 0 && b.kind == Bank {
		b.expect(from, -amount)
		b.expect(to, amount)
	}
	b.commands = append(b.commands, noted)
	return c
}

func (b *Book) expect(party int32, by int64) {
	if party >= 0 {
		b.accounts[party].balance += by
		b.accounts[party].events++
		b.expectedEvents++
	}
}

func (b *Book) iban(party int32) string {
	switch party {
	case cash:
		return bank.Cash
	case company:
		return bank.CompanyIBAN
	}
	return b.accounts[party].iban
}

// take notes records; at is when they could be read.
func (b *Book) take(ctx context.Context, c *Client, records []*kgo.Record, at func(*kgo.Record) time.Time) error {
	for _, r := range records {
		message, err := c.codec.Decode(ctx, r.Value)
		var unreadable *schemas.UnreadableError
		if err != nil && !errors.As(err, &unreadable) {
			return fmt.Errorf("decoding a record of %s: %w", r.Topic, err)
		}
		b.mu.Lock()
		b.read(r, message, err, at(r))
		b.mu.Unlock()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.changed)
	b.changed = make(chan struct{})
	return nil
}

func (b *Book) read(r *kgo.Record, message any, unreadable error, at time.Time) {
	switch m := message.(type) {
	case *bank.AccountCreationConfirmed:
		b.opened(m, at)
	case *bank.AccountCreationFailed:
		if b.opening[m.ID] {
			b.fault("the creation of an account was refused: %s", m.Reason)
		}
	case *bank.MoneyTransferConfirmed:
		b.answer(r, m.ID, "", at)
	case *bank.MoneyTransferFailed:
		b.answer(r, m.ID, m.Reason, at)
	case *bank.BalanceChanged:
		if b.kind == Bank {
			b.event(r, m, at)
		}
	default:
		b.fault("a record of %s, partition %d, offset %d is no answer and no event: %v", r.Topic, r.Partition, r.Offset, unreadable)
	}
}

func (b *Book) opened(m *bank.AccountCreationConfirmed, at time.Time) {
	if !b.opening[m.ID] {
		return
	}
	delete(b.opening, m.ID)
	b.last = at
	if _, twice := b.byIBAN[m.IBAN]; twice || !bank.ValidIBAN(m.IBAN) {
		b.fault("an account was opened under %s, which is another one's or no IBAN", m.IBAN)
		return
	}
	b.byIBAN[m.IBAN] = int32(len(b.accounts))
	b.accounts = append(b.accounts, account{iban: m.IBAN, token: m.Token})
}

func (b *Book) answer(r *kgo.Record, id bank.ID, reason string, at time.Time) {
	n, ours := b.number(id)
	if !ours {
		return
	}
	if r.Attrs.IsTransactional() {
		b.transactional = true
	} else {
		b.plain = true
	}
	c := &b.commands[n]
	want := ""
	if c.state&rejected != 0 && b.kind == Bank {
		want = bank.ReasonInvalidToken
	}
	if reason != want {
		b.fault("command %d (%s) was answered %q and should have been %q", n, id, said(reason), said(want))
	}
	if c.state&answered != 0 {
		b.again("command %d (%s) was answered twice", n, id)
		return
	}
	c.state |= answered
	b.answers++
	b.last = at
	for _, t := range b.timed {
		if t.record(n, at) {
			break
		}
	}
}

func said(reason string) string {
	if reason == "" {
		return "confirmed"
	}
	return reason
}

// again is a fault where records are published in transactions; elsewhere a repetition is allowed, and counted.
func (b *Book) again(format string, args ...any) {
	b.repeated++
	if b.transactional {
		b.fault(format+", and its answers are published in transactions", args...)
	}
}

func (b *Book) event(r *kgo.Record, m *bank.BalanceChanged, at time.Time) {
	text, found := strings.CutPrefix(m.Description, describes)
	place, known := b.byIBAN[m.IBAN]
	if !found || !known {
		return // another client's
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n >= len(b.commands) {
		b.fault("account %s changed for a command %q that was not sent", m.IBAN, m.Description)
		return
	}
	c, a := &b.commands[n], &b.accounts[place]
	bit, by, other := uint8(credited), c.amount, c.from
	if place == c.from {
		bit, by, other = debited, -c.amount, c.to
	}
	fromTo := b.iban(other)
	switch {
	case place != c.from && place != c.to:
		b.fault("command %d changed account %s, which it does not name", n, m.IBAN)
		return
	case c.state&rejected != 0:
		b.fault("command %d was to be refused and changed account %s", n, m.IBAN)
		return
	case m.ChangedBy != by || m.FromTo != fromTo:
		b.fault("command %d changed account %s by %d with %q, and should have by %d with %q", n, m.IBAN, m.ChangedBy, m.FromTo, by, fromTo)
		return
	case c.state&bit != 0:
		b.again("command %d changed account %s twice", n, m.IBAN)
		return
	}
	c.state |= bit
	b.events++
	b.last = at
	a.seen++
	// What each change begins with has to be what another one ended with, in whatever order they come.
	a.links += mixed(m.NewBalance) - mixed(m.NewBalance-m.ChangedBy)
	if version := versionOf(r); version == 0 || version > a.version {
		a.version, a.last = version, m.NewBalance
	}
	if wait := b.waiting[n]; wait != nil { // of a command that changes one account of ours alone
		delete(b.waiting, n)
		wait <- at // it has room
	}
}

// versionHeader orders the changes of one account, where a handler sends it.
const versionHeader = "account-version"

func versionOf(r *kgo.Record) int64 {
	for _, h := range r.Headers {
		if h.Key == versionHeader {
			version, _ := strconv.ParseInt(string(h.Value), 10, 64) // 0 is none
			return version
		}
	}
	return 0
}

// mixed spreads a balance over 64 bits (the finisher of splitmix64), so that sums of them tell sets of balances apart.
func mixed(balance int64) uint64 {
	x := uint64(balance) + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
