package predecessor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
	"openbank/connect"
)

// The stack's topics.
const (
	creations       = "confirm_account_creation"
	creationAnswers = "account_creation_feedback"
	transfers       = "confirm_money_transfer"
	transferAnswers = "money_transfer_feedback"
	events          = "balance_changed"
)

const (
	// PollRecords is how many commands of a topic are taken at once, at most; their offsets are committed when all of them are handled.
	// It is the JVM client's default.
	PollRecords = 500

	giveUp = 30 * time.Second
)

// Config says where an old handler works.
type Config struct {
	Layout      Layout
	Group       string // default: the layout's
	DatabaseURL string // the layout's user's, see Layout.URL
	Kafka       connect.Kafka
	Codec       *connect.Codec // stays the caller's
	// SessionTimeout is how long the group keeps its place when it is killed. Default: 10 s, the JVM client's in 2019.
	SessionTimeout time.Duration
	// StopAfter ends it, as Stop does, when it has handled so many commands. 0 is never.
	StopAfter int64
}

// Handler is an old handler at work, in this process. One that can't go on (Postgres refuses a statement) ends, as the old ones did.
type Handler struct {
	config   Config
	db       *books
	producer *kgo.Client

	stopping  context.Context // done when no more commands are to be taken
	stop      context.CancelFunc
	killed    atomic.Bool
	handled   atomic.Int64
	consumers sync.WaitGroup
	ended     chan struct{}

	mu     sync.Mutex
	faults []error
}

// Start starts a handler. It joins its group in its own time. Stop or Kill must be called in the end.
func Start(ctx context.Context, c Config) (_ *Handler, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("starting the %s handler: %w", c.Layout.Name, err)
		}
	}()
	if c.Group == "" {
		c.Group = c.Layout.Group
	}
	if c.SessionTimeout == 0 {
		c.SessionTimeout = 10 * time.Second
	}
	h := &Handler{config: c, ended: make(chan struct{})}
	if h.db, err = openBooks(ctx, c.Layout, c.DatabaseURL); err != nil {
		return nil, err
	}
	if h.producer, err = c.Kafka.Client(c.Group, kgo.ProducerLinger(100*time.Millisecond)); err != nil {
		return nil, errors.Join(err, h.db.close())
	}
	var clients []*kgo.Client
	for _, topic := range []string{creations, transfers} {
		client, err := c.Kafka.Client(c.Group+"-consumer", kgo.ConsumerGroup(c.Group), kgo.Balancers(kgo.RangeBalancer()), kgo.ConsumeTopics(topic),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.SessionTimeout(c.SessionTimeout), kgo.FetchMaxWait(100*time.Millisecond))
		if err != nil {
			h.producer.Close()
			for _, made := range clients {
				made.Close()
			}
			return nil, errors.Join(err, h.db.close())
		}
		clients = append(clients, client)
	}
	h.stopping, h.stop = context.WithCancel(context.WithoutCancel(ctx))
	h.consumers.Go(func() { h.consume(clients[0], h.create) })
	h.consumers.Go(func() { h.consume(clients[1], h.transfer) })
	go func() {
		h.consumers.Wait()
		h.producer.Close()
		h.fault(h.db.close())
		close(h.ended)
	}()
	return h, nil
}

// Handled is how many commands it has handled.
func (h *Handler) Handled() int64 { return h.handled.Load() }

// Ended is closed when it is gone: stopped, killed, done with StopAfter commands, or unable to go on.
func (h *Handler) Ended() <-chan struct{} { return h.ended }

// Stop lets it finish the commands that it is at, commit their offsets and leave the group. It returns what went wrong in its life.
func (h *Handler) Stop() error {
	h.stop()
	<-h.ended
	h.mu.Lock()
	defer h.mu.Unlock()
	return errors.Join(h.faults...)
}

// Kill ends it between two commands as by SIGKILL: no offset is committed any more, and the group learns of it by its session's time-out.
// An answer that it sent is there.
func (h *Handler) Kill() error {
	h.killed.Store(true)
	return h.Stop()
}

func (h *Handler) fault(err error) {
	if err == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = append(h.faults, err)
}

// consume handles one command after the other until it is to stop.
func (h *Handler) consume(client *kgo.Client, handle func(context.Context, any) error) {
	ctx := context.WithoutCancel(h.stopping) // a command that was begun is finished
	defer client.CloseAllowingRebalance()
	for h.stopping.Err() == nil {
		fetched := client.PollRecords(h.stopping, PollRecords)
		var done []*kgo.Record
		for _, record := range fetched.Records() {
			if h.stopping.Err() != nil {
				break
			}
			message, err := h.config.Codec.Decode(ctx, record.Value)
			if err == nil { // one that can't be read is dropped
				err = handle(ctx, message)
			}
			if err != nil {
				h.fault(fmt.Errorf("handling %s %d@%d: %w", record.Topic, record.Partition, record.Offset, err))
				h.stop()
				break
			}
			done = append(done, record)
			if h.handled.Add(1) == h.config.StopAfter {
				h.stop()
			}
		}
		if err := h.commit(ctx, client, done); err != nil {
			h.fault(err)
			h.stop()
		}
		client.AllowRebalance() // as the JVM client, whose rebalances wait for the next poll
	}
	if h.killed.Load() {
		gone, cancel := context.WithCancel(ctx)
		cancel()
		_ = client.LeaveGroupContext(gone) // closing leaves no more
	}
}

// commit waits for the answers to be there, which is more than the old handlers did, and commits the offsets.
func (h *Handler) commit(ctx context.Context, client *kgo.Client, done []*kgo.Record) error {
	ctx, cancel := context.WithTimeout(ctx, giveUp)
	defer cancel()
	if err := h.producer.Flush(ctx); err != nil {
		return fmt.Errorf("waiting for the answers to be sent: %w", err)
	}
	if h.killed.Load() || len(done) == 0 {
		return nil
	}
	if err := client.CommitRecords(ctx, done...); err != nil {
		return fmt.Errorf("committing offsets: %w", err)
	}
	return nil
}

func (h *Handler) publish(ctx context.Context, topic, key string, message any) error {
	value, err := h.config.Codec.Encode(ctx, topic, message)
	if err != nil {
		return err
	}
	h.producer.Produce(ctx, &kgo.Record{Topic: topic, Key: []byte(key), Value: value}, func(_ *kgo.Record, err error) { h.fault(err) })
	return nil
}

func (h *Handler) create(ctx context.Context, message any) error {
	c, ok := message.(*bank.ConfirmAccountCreation)
	if !ok {
		return nil
	}
	outcome, err := h.db.createAccount(ctx, c)
	if err != nil {
		return err
	}
	if outcome.Reason != "" {
		return h.publish(ctx, creationAnswers, c.ID.String(), &bank.AccountCreationFailed{ID: c.ID, Reason: outcome.Reason})
	}
	return h.publish(ctx, creationAnswers, c.ID.String(), &bank.AccountCreationConfirmed{ID: c.ID, IBAN: outcome.IBAN, Token: outcome.Token, Type: c.Type})
}

func (h *Handler) transfer(ctx context.Context, message any) error {
	c, ok := message.(*bank.ConfirmMoneyTransfer)
	if !ok {
		return nil
	}
	id := c.ID.String()
	var reason sql.NullString
	switch err := h.db.selectTransfer.QueryRowContext(ctx, id).Scan(&reason); {
	case errors.Is(err, sql.ErrNoRows):
		from, to, why, err := h.db.move(ctx, c)
		if err != nil {
			return err
		}
		reason = sql.NullString{String: why, Valid: why != ""}
		if _, err := h.db.insertTransfer.ExecContext(ctx, id, reason); err != nil {
			return err
		}
		if err := h.changed(ctx, c, from, to); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	if reason.Valid {
		return h.publish(ctx, transferAnswers, id, &bank.MoneyTransferFailed{ID: c.ID, Reason: reason.String})
	}
	return h.publish(ctx, transferAnswers, id, &bank.MoneyTransferConfirmed{ID: c.ID})
}

// changed tells of the accounts that a transfer changed.
func (h *Handler) changed(ctx context.Context, c *bank.ConfirmMoneyTransfer, from, to *account) error {
	if from != nil {
		e := bank.BalanceChanged{IBAN: c.From, NewBalance: from.amount, ChangedBy: -c.Amount, FromTo: c.To, Description: c.Description}
		if err := h.publish(ctx, events, e.IBAN, &e); err != nil {
			return err
		}
	}
	if to != nil {
		e := bank.BalanceChanged{IBAN: c.To, NewBalance: to.amount, ChangedBy: c.Amount, FromTo: c.From, Description: c.Description}
		return h.publish(ctx, events, e.IBAN, &e)
	}
	return nil
}
