package fault

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/audit"
	"openbank/bank"
	"openbank/connect"
)

// load makes a bank's commands, the same ones from the same seed: transfers of every kind, ids sent twice, ids with other
// content, logins, garbage.
type load struct {
	topics audit.Topics
	codec  *connect.Codec
	client *kgo.Client
	random *rand.Rand
	// Of their own, since when they are drawn from depends on timing: the commands must not.
	trash, offsets *rand.Rand
	last           uint64
	opened         []bank.ConfirmAccountCreation
	accounts       []bank.AccountCreationConfirmed
	sent           []bank.ConfirmMoneyTransfer
	count, garbled int // records; of them, those that can't be handled
	failed         chan error
}

func newLoad(w *world, topics audit.Topics, seed uint64) *load {
	return &load{topics: topics, codec: w.codec, client: w.client, random: rand.New(rand.NewPCG(seed, 1)), trash: rand.New(rand.NewPCG(seed, 2)), offsets: rand.New(rand.NewPCG(seed, 3)), failed: make(chan error, 1)}
}

func (l *load) id() (id bank.ID) {
	l.last++
	for b := range 8 {
		id[15-b] = byte(l.last >> (8 * b))
	}
	id[0] = byte(l.last * 151) // spreads the keys
	return id
}

// send produces without waiting: what a fault keeps up is sent when it is over.
func (l *load) send(ctx context.Context, records ...*kgo.Record) {
	for _, r := range records {
		l.count++
		l.client.Produce(context.WithoutCancel(ctx), r, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case l.failed <- err:
				default:
				}
			}
		})
	}
}

// flush waits until everything is sent.
func (l *load) flush(ctx context.Context) error {
	if err := l.client.Flush(ctx); err != nil {
		return fmt.Errorf("sending the commands: %w", err)
	}
	select {
	case err := <-l.failed:
		return fmt.Errorf("sending a command: %w", err)
	default:
		return nil
	}
}

func (l *load) creation() (*kgo.Record, error) {
	c := bank.ConfirmAccountCreation{ID: l.id(), Type: bank.Auto}
	l.opened = append(l.opened, c)
	return l.record(&c)
}

func (l *load) record(message any) (*kgo.Record, error) {
	topic, id := l.topics.ConfirmMoneyTransfer, bank.ID{}
	switch c := message.(type) {
	case *bank.ConfirmAccountCreation:
		topic, id = l.topics.ConfirmAccountCreation, c.ID
	case *bank.ConfirmMoneyTransfer:
		id = c.ID
	}
	value, err := l.codec.Encode(context.Background(), topic, message)
	return &kgo.Record{Topic: topic, Key: []byte(id.String()), Value: value}, err
}

// next is the next record: 6% are commands sent before, 2% can't be handled.
func (l *load) next() (*kgo.Record, error) {
	switch p := l.random.IntN(1000); {
	case p < 20:
		return l.garbage()
	case p < 60 && len(l.sent) > 0:
		c := l.sent[l.random.IntN(len(l.sent))]
		return l.record(&c)
	case p < 80:
		c := l.opened[l.random.IntN(len(l.opened))]
		return l.record(&c)
	case p < 85 && len(l.sent) > 0:
		c := l.sent[l.random.IntN(len(l.sent))]
		c.Amount++
		return l.record(&c)
	case p < 100:
		return l.creation()
	}
	c := l.transfer()
	l.sent = append(l.sent, c)
	return l.record(&c)
}

// garbage is a record that can't be handled, of each kind that there is.
func (l *load) garbage() (*kgo.Record, error) {
	l.garbled++
	key := make([]byte, 1+l.trash.IntN(4))
	for i := range key {
		key[i] = byte(l.trash.IntN(256))
	}
	topic := l.topics.ConfirmMoneyTransfer
	if l.trash.IntN(5) == 0 {
		topic = l.topics.ConfirmAccountCreation
	}
	r := &kgo.Record{Topic: topic, Key: key, Headers: []kgo.RecordHeader{{Key: "theirs", Value: key}}}
	whole, err := l.record(&bank.ConfirmAccountCreation{ID: bank.ID{15: 1}, Type: bank.Manual})
	if err != nil {
		return nil, err
	}
	switch l.trash.IntN(8) {
	case 0: // nothing
	case 1:
		r.Value = append([]byte{0, 0x7f, 0xff, 0xff, 0xff}, whole.Value[5:]...) // of a schema that there is not
	case 2:
		r.Value = whole.Value[:5+l.trash.IntN(len(whole.Value)-5)]
	case 3:
		r.Topic, r.Value = l.topics.ConfirmMoneyTransfer, whole.Value
	case 4:
		r.Value = bytes.Repeat([]byte("large"), (64<<10)*(1+l.trash.IntN(3))) // a dead letter of it may have to be cut
	default:
		r.Value = make([]byte, 1+l.trash.IntN(60))
		for i := range r.Value {
			r.Value[i] = byte(1 + l.trash.IntN(255)) // no magic byte: its schema is never looked up
		}
	}
	return r, nil
}

func (l *load) transfer() bank.ConfirmMoneyTransfer {
	account := func() bank.AccountCreationConfirmed { return l.accounts[l.random.IntN(len(l.accounts))] }
	from, to := account(), account()
	c := bank.ConfirmMoneyTransfer{
		ID: l.id(), Token: from.Token, Amount: 1 + l.random.Int64N(20000), From: from.IBAN, To: to.IBAN, Description: fmt.Sprint("number ", len(l.sent)),
	}
	switch l.random.IntN(20) {
	case 11:
		c.Token = strings.Repeat("0", bank.MaxToken+1)
	case 12:
		c.Description = "not text: \x00"
	case 0, 1, 2:
		c.From, c.Token, c.Amount = bank.CompanyIBAN, bank.CompanyToken, 100000
	case 3, 4:
		c.From, c.Token = bank.Cash, ""
	case 5, 6, 7:
		c.To = "Albert Heijn BV"
	case 8:
		c.Token = "00000000000000000001"
	case 9:
		c.Amount = -c.Amount
	case 10:
		c.Amount = 1 << 40
	}
	return c
}

// burst sends n records. Some senders' clocks are wrong by up to ten days.
func (l *load) burst(ctx context.Context, n int) error {
	for range n {
		r, err := l.next()
		if err != nil {
			return err
		}
		if l.random.IntN(50) == 0 {
			r.Timestamp = time.Now().Add(min(time.Duration(l.random.Int64N(int64(20*24*time.Hour)))-10*24*time.Hour, clockAhead))
		}
		l.send(ctx, r)
	}
	return nil
}

// open opens accounts and waits until they are there, so that there is somebody to pay.
func (l *load) open(ctx context.Context, w *world, count int) error {
	for range count {
		r, err := l.creation()
		if err != nil {
			return err
		}
		l.send(ctx, r)
	}
	client, err := w.kafka.Client("opened", kgo.ConsumeTopics(l.topics.AccountCreationFeedback), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(100*time.Millisecond), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	seen := map[bank.ID]bool{}
	for len(l.accounts) < count {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("opening accounts, %d of %d are there: %w", len(l.accounts), count, context.Cause(ctx))
		}
		for _, r := range fetches.Records() {
			message, err := l.codec.Decode(ctx, r.Value)
			if err != nil {
				return err
			}
			if m, ok := message.(*bank.AccountCreationConfirmed); ok && !seen[m.ID] {
				seen[m.ID] = true
				l.accounts = append(l.accounts, *m)
			}
		}
	}
	return nil
}
