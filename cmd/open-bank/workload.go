package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"

	"openbank/bank"
	"openbank/connect"
	"openbank/schemas"
)

// anyReason expects an answer, whatever it is: a transfer between accounts may find one of them empty.
const anyReason = "*"

// sending is one record of the demo.
type sending struct {
	topic string
	id    bank.ID
	key   []byte
	value []byte

	isLetter bool   // it can't be handled and must become a dead letter
	again    bool   // a repetition of an earlier one; its expectation is that one's
	expected string // the answer's reason, "" for confirmed, anyReason; of commands
}

// workload makes commands. Of the records it makes, beside ordinary transfers, some are of each kind that a bank has to
// cope with; the shares are in thousandths.
type workload struct {
	random   *rand.Rand
	codec    *connect.Codec
	accounts []account
}

type account struct{ iban, token string }

const (
	duplicateShare = 50 // on top: the very same record once more
	reusedShare    = 5  // on top: an id with other content
	garbageShare   = 20 // on top: what can't be read
)

func (w *workload) chance(thousandths int) bool { return w.random.IntN(1000) < thousandths }

func (w *workload) id() bank.ID {
	var id bank.ID
	binary.BigEndian.PutUint64(id[:8], w.random.Uint64())
	binary.BigEndian.PutUint64(id[8:], w.random.Uint64())
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// creations are count commands to open an account, some of them twice, and garbage in between.
func (w *workload) creations(ctx context.Context, count int) ([]sending, error) {
	var out []sending
	for range count {
		id := w.id()
		s, err := w.encode(ctx, creations, id, &bank.ConfirmAccountCreation{ID: id, Type: bank.Auto})
		if err != nil {
			return nil, err
		}
		if out, err = w.disturb(ctx, append(out, s), creations); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// deposits give each account its first money.
func (w *workload) deposits(ctx context.Context) ([]sending, error) {
	out := make([]sending, 0, len(w.accounts))
	for _, a := range w.accounts {
		id := w.id()
		s, err := w.encode(ctx, transfers, id, &bank.ConfirmMoneyTransfer{
			ID: id, Token: "cash", Amount: 100000 + w.random.Int64N(100000), From: bank.Cash, To: a.iban, Description: "first deposit",
		})
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// transfers are count commands to move money, in every way that one can go wrong, with duplicates and garbage besides.
func (w *workload) transfers(ctx context.Context, count int) ([]sending, error) {
	out := make([]sending, 0, count+count/10)
	for range count {
		command, expected := w.transfer()
		s, err := w.encode(ctx, transfers, command.ID, command)
		if err != nil {
			return nil, err
		}
		s.expected = expected
		out = append(out, s)
		if w.chance(reusedShare) {
			other := *command
			other.Amount++
			reused, err := w.encode(ctx, transfers, other.ID, &other)
			if err != nil {
				return nil, err
			}
			reused.isLetter = true
			out = append(out, reused)
		}
		if out, err = w.disturb(ctx, out, transfers); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// disturb adds, by chance, an earlier record once more, and garbage.
func (w *workload) disturb(ctx context.Context, out []sending, topic string) ([]sending, error) {
	if w.chance(duplicateShare) {
		again := out[w.random.IntN(len(out))]
		again.again = true
		out = append(out, again)
	}
	if w.chance(garbageShare) {
		garbage, err := w.garbage(ctx, topic)
		if err != nil {
			return nil, err
		}
		out = append(out, garbage)
	}
	return out, nil
}

func (w *workload) encode(ctx context.Context, topic string, id bank.ID, command any) (sending, error) {
	value, err := w.codec.Encode(ctx, topic, command)
	if err != nil {
		return sending{}, err
	}
	return sending{topic: topic, id: id, key: []byte(id.String()), value: value}, nil
}

func (w *workload) account() account { return w.accounts[w.random.IntN(len(w.accounts))] }

// kinds are the transfers that are not simply from one account to another, with their shares. vary makes an ordinary transfer
// into one of the kind and returns the reason that its answer must have.
var kinds = []struct {
	share int
	vary  func(w *workload, c *bank.ConfirmMoneyTransfer) string
}{
	{20, func(_ *workload, c *bank.ConfirmMoneyTransfer) string {
		c.Token = "00000000000000000001"
		return bank.ReasonInvalidToken
	}},
	{20, func(w *workload, c *bank.ConfirmMoneyTransfer) string {
		c.Amount = 1_000_000_000_000 + w.random.Int64N(1000)
		return bank.ReasonInsufficientFunds
	}},
	{10, func(w *workload, c *bank.ConfirmMoneyTransfer) string {
		c.Amount = -w.random.Int64N(1000)
		return bank.ReasonAmountNotPositive
	}},
	{10, func(w *workload, c *bank.ConfirmMoneyTransfer) string {
		c.From = w.unknownIBAN()
		return bank.ReasonFromUnknown
	}},
	{5, func(_ *workload, c *bank.ConfirmMoneyTransfer) string {
		c.From = "NL00OPEN0000000000" // no check digits are 00
		return bank.ReasonFromInvalid
	}},
	{5, func(_ *workload, c *bank.ConfirmMoneyTransfer) string {
		c.To = c.From
		return bank.ReasonSame
	}},
	{5, func(_ *workload, c *bank.ConfirmMoneyTransfer) string {
		c.From, c.To = bank.Cash, shop
		return bank.ReasonBothUnknown
	}},
	{5, func(_ *workload, c *bank.ConfirmMoneyTransfer) string {
		c.Description = strings.Repeat("x", bank.MaxDescription+1)
		return bank.ReasonDescriptionTooLong
	}},
	{100, func(_ *workload, c *bank.ConfirmMoneyTransfer) string { // a deposit
		c.From, c.Token = bank.Cash, ""
		return ""
	}},
	{50, func(_ *workload, c *bank.ConfirmMoneyTransfer) string {
		c.From, c.Token, c.Description = bank.CompanyIBAN, bank.CompanyToken, "salary"
		return ""
	}},
	{100, func(_ *workload, c *bank.ConfirmMoneyTransfer) string { // a withdrawal
		c.To = bank.Cash
		return anyReason
	}},
	{200, func(_ *workload, c *bank.ConfirmMoneyTransfer) string {
		c.To = shop
		return anyReason
	}},
}

const shop = "Albert Heijn BV"

// transfer is one command and the reason that its answer must have.
func (w *workload) transfer() (*bank.ConfirmMoneyTransfer, string) {
	from, to := w.account(), w.account()
	for from == to {
		to = w.account()
	}
	c := &bank.ConfirmMoneyTransfer{
		ID: w.id(), Token: from.token, Amount: 1 + w.random.Int64N(2000), From: from.iban, To: to.iban, Description: "demo",
	}
	draw := w.random.IntN(1000)
	for _, kind := range kinds {
		if draw < kind.share {
			return c, kind.vary(w, c)
		}
		draw -= kind.share
	}
	return c, anyReason
}

// unknownIBAN is a valid one that nobody has: those of accounts have a 0 where this has a 9.
func (w *workload) unknownIBAN() string {
	account := w.random.IntN(1_000_000_000)
	for check := range 100 {
		if iban := fmt.Sprintf("NL%02dOPEN9%09d", check, account); bank.ValidIBAN(iban) {
			return iban
		}
	}
	panic("no check digits fit") // one of the hundred always does
}

// garbage is a record that no handler can make sense of.
func (w *workload) garbage(ctx context.Context, topic string) (sending, error) {
	id := w.id()
	s, err := w.encode(ctx, transfers, id, &bank.ConfirmMoneyTransfer{ID: id, Amount: 1, From: bank.Cash, To: bank.CompanyIBAN, Description: "garbage"})
	if err != nil {
		return s, err
	}
	s.topic, s.isLetter = topic, true
	switch w.random.IntN(6) {
	case 0:
		s.value = nil
	case 1:
		s.value = s.value[:len(s.value)-3] // truncated
	case 2:
		s.value = append(s.value, 0) // a byte too many
	case 3:
		s.value[0] = 7 // another magic byte
	case 4:
		s.value = []byte(fmt.Sprintf(`{"amount": %d}`, w.random.IntN(1000)))
	default: // a good record on the wrong topic
		s.value, err = w.codec.Encode(ctx, "heartbeat", &schemas.Heartbeat{Beat: w.random.Int64N(1000)})
	}
	return s, err
}

// unknownSchema is a record with a schema id that no registry has.
func (w *workload) unknownSchema() sending {
	id := w.id()
	value := binary.BigEndian.AppendUint32([]byte{0}, 1<<30)
	return sending{topic: transfers, id: id, key: []byte(id.String()), value: append(value, 1, 2, 3), isLetter: true}
}
