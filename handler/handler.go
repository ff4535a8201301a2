// Package handler is the pipeline from a command's record to its answer and events:
//
//	confirm_account_creation ─ consume ─ decode ─ queue ─ execute ─┐
//	                                                               ├▶ channel ─▶ produce ─▶ answers, BalanceChanged, dead letters, offsets
//	confirm_money_transfer ─── consume ─ decode ─ queue ─ execute ─┘             one goroutine
//	       one lane a command topic              one Postgres transaction a batch
//
// It answers for delivery: every record that was read is answered or becomes a dead letter before its offset is
// committed, and a record that a handler lost to another one is not published by both on purpose. What a command means
// is package bank's, what is stored is package store's, how a message looks on the wire is package schemas'.
//
// It waits for what is away (Kafka, registry, Postgres) for as long as it takes. It ends with an error only where going
// on could do harm or where nobody but its operator can mend things: the errors of Run are for people.
package handler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"openbank/health"
	"openbank/metric"
	"openbank/registry"
	"openbank/schemas"
	"openbank/store"
)

// Config says what a Handler connects to and how it works. The zero value of a field means its default.
type Config struct {
	Kafka  Kafka
	Topics Topics

	// Group is the consumer group of both lanes. Default "command-handler".
	Group string
	// Delivery is what is promised about answers and events. Default Auto.
	Delivery Delivery
	// TransactionalID and GroupInstanceID (to which -cac and -cmt are added) are this handler's identity in Kafka. No two
	// handlers may have the same at once. Default: the group and the lowest number that is free, which a handler that takes a
	// dead one's place finds again, and with it the dead one's partitions and unfinished transaction.
	TransactionalID, GroupInstanceID string
	// LeaveOnStop gives the partitions to the other handlers at a stop, for scaling in. Without it they wait, for as long as
	// a member's session lasts (6 s), for a handler that is started in this one's place.
	LeaveOnStop bool
	// Ahead is what to do with a partition whose committed offset is beyond all that Postgres has executed.
	Ahead Ahead
	// NewTopics takes a command topic for a new one when its id is not the one that Postgres knows of it.
	NewTopics bool
	// ClientID prefixes the client ids of the consumers (-cac, -cmt) and the producers (-producer; -answers, at least once). Default: Group.
	ClientID string

	// MaxPollInterval is after how long without a sign of progress the group gives a handler's partitions to another one.
	// MinPollInterval to MaxPollInterval. Default 60 s.
	MaxPollInterval time.Duration
	// MaxBatch is the most commands that one Postgres transaction takes, 1 to store.MaxBatch. Default 650:
	// larger ones bring rate, and take memory.
	MaxBatch int
	// OnBacklog, if not nil, is called once, when a batch is full for the first time: a backlog is there.
	OnBacklog func()
	// RefreshSchemas is the time between two looks at the latest schema of each subject we write. Default 3 min.
	RefreshSchemas time.Duration
	// StopTimeout bounds a stop, to within 1 s: work in flight is finished and committed, or given up in time. Default 8 s, which
	// is below the 10 s that container runtimes grant.
	StopTimeout time.Duration

	Logger *slog.Logger
	// Health is told what the handler waits for, and Metrics what it does. Default: boards of its own, which nobody sees.
	Health  *health.Board
	Metrics *metric.Set
	// ProbeInterval is the time between two looks at brokers and registry while nothing is asked of them otherwise. Default 5 s.
	ProbeInterval time.Duration
}

// Topics names the topics of the stack; an empty name means the stack's own.
type Topics struct {
	ConfirmAccountCreation  string
	AccountCreationFeedback string
	ConfirmMoneyTransfer    string
	MoneyTransferFeedback   string
	BalanceChanged          string
}

func (t Topics) withDefaults() Topics {
	or := func(name *string, fallback string) {
		if *name == "" {
			*name = fallback
		}
	}
	or(&t.ConfirmAccountCreation, "confirm_account_creation")
	or(&t.AccountCreationFeedback, "account_creation_feedback")
	or(&t.ConfirmMoneyTransfer, "confirm_money_transfer")
	or(&t.MoneyTransferFeedback, "money_transfer_feedback")
	or(&t.BalanceChanged, "balance_changed")
	return t
}

func (c Config) withDefaults() Config {
	c.Topics = c.Topics.withDefaults()
	if c.Group == "" {
		c.Group = "command-handler"
	}
	if c.ClientID == "" {
		c.ClientID = c.Group
	}
	if c.Delivery == "" {
		c.Delivery = Auto
	}
	if c.MaxPollInterval == 0 {
		c.MaxPollInterval = time.Minute
	}
	if c.MaxBatch == 0 {
		c.MaxBatch = 650
	}
	if c.RefreshSchemas == 0 {
		c.RefreshSchemas = 3 * time.Minute
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = 8 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Health == nil {
		c.Health = health.New()
	}
	if c.Metrics == nil {
		c.Metrics = metric.New()
	}
	if c.ProbeInterval == 0 {
		c.ProbeInterval = 5 * time.Second
	}
	return c
}

// Handler executes the commands of both topics. Make one with New, use it once.
type Handler struct {
	cfg      Config
	log      *slog.Logger
	store    *store.Store
	registry *registry.Client
	decoder  *schemas.Decoder
	encoders encoders
	lanes    []*lane
	producer *producer
	lease    *store.Lease
	meter    *meter
	prepared *health.Condition

	refused, confirmed idSet // of schemas: unknown to the registry; the registry's, though records do not fit them

	known atomic.Pointer[[]string] // addresses of the brokers that have replicas of the topics, as they were described the last time

	backlog sync.Once // the first full batch

	exactlyOnce bool // in this run
	static      bool // the brokers know members that keep their place in the group

	taking sync.Mutex
	taken  bool // the database is what this code needs; guarded by taking

	// owned guards which epochs are current. The producer goroutine holds it from
	// the moment it leaves out what is no longer ours until what is left is bound to be published.
	owned sync.Mutex

	hanging hanging

	fail context.CancelCauseFunc // ends Run with an error
	// abandoned says that a stage did not end in time: what it uses stays open.
	abandoned bool
	// idle says that no partition was ours when the lanes were told to close.
	idle bool
}

// New makes a Handler. Its store need not be migrated: the handler does that when it is let into the group.
func New(cfg Config, s *store.Store, r *registry.Client) (*Handler, error) {
	cfg = cfg.withDefaults()
	if cfg.MaxBatch < 1 || cfg.MaxBatch > store.MaxBatch {
		return nil, fmt.Errorf("max batch is %d, it must be 1 to %d", cfg.MaxBatch, store.MaxBatch)
	}
	if cfg.MaxPollInterval < MinPollInterval || cfg.MaxPollInterval > MaxPollInterval {
		return nil, fmt.Errorf("max poll interval is %s, it must be %s to %s", cfg.MaxPollInterval, MinPollInterval, MaxPollInterval)
	}
	h := &Handler{cfg: cfg, log: cfg.Logger, store: s, registry: r, decoder: schemas.NewDecoder(), meter: newMeter(cfg.Metrics)}
	h.prepared = cfg.Health.Condition(health.Itself)
	h.prepared.Fails("the database is not made ready for it yet, which begins when the group has let it in")
	return h, nil
}

// MinPollInterval is the least Config.MaxPollInterval: above what a revocation can keep the Poll goroutine, which waits for the work in
// flight, and then for the transaction at hand until the brokers give that up.
const MinPollInterval = revokeWait + transactionTimeout + time.Second

// MaxPollInterval is the most of it, librdkafka's limit.
const MaxPollInterval = 24 * time.Hour

// errStopped tells the stages that Run was asked to stop.
var errStopped = errors.New("stopping")

// Run works until ctx is done, then finishes what is in flight and returns nil. It returns an error when the handler
// must not or cannot go on; the text says why and what to do. Run releases all it made, also then, but for consumers that can't
// leave their group in time; the process should end.
func (h *Handler) Run(ctx context.Context) error {
	work, fail := context.WithCancelCause(context.WithoutCancel(ctx))
	defer fail(errStopped)
	h.fail = fail
	stopping := h.cfg.Health.Condition(health.Itself)
	defer context.AfterFunc(ctx, func() { stopping.Fails("it is stopping") })()

	// Until the lanes run there is nothing in flight: a stop is a stop of the waiting.
	preparing, cancel := context.WithCancel(work)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	topics, err := h.start(preparing)
	var keeping sync.WaitGroup
	keep, letGo := context.WithCancel(work)
	defer func() {
		letGo()
		within(lastMoment, func() {
			keeping.Wait()
			if h.producer != nil && !h.abandoned {
				h.producer.close()
			}
		})
		if h.lease != nil {
			h.lease.Release()
		}
	}()
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	keeping.Go(func() {
		if err := h.lease.Keep(keep, h.freed); err != nil {
			h.fail(err)
		}
	})
	for _, d := range []struct {
		suffix string
		topic  string
	}{{"cac", h.cfg.Topics.ConfirmAccountCreation}, {"cmt", h.cfg.Topics.ConfirmMoneyTransfer}} {
		l, err := newLane(h, d.suffix, topics[d.topic])
		if err != nil {
			for _, made := range h.lanes {
				made.abandon()
			}
			return err
		}
		h.lanes = append(h.lanes, l)
		if err := l.letters.create(preparing); err != nil && ctx.Err() == nil {
			h.log.Warn("no dead letter topic: a record that can't be handled will stall its partition", "error", err)
		}
	}
	h.log.Info("handling commands", "delivery", h.delivery(), "slot", h.lease.Slot(), "group", h.cfg.Group, "topics", []string{h.cfg.Topics.ConfirmAccountCreation, h.cfg.Topics.ConfirmMoneyTransfer})
	return h.work(ctx, work)
}

// start takes an identity and waits for all that the handler needs. It returns the command topics by name.
func (h *Handler) start(ctx context.Context) (topics map[string]topic, err error) {
	if err := h.settle(ctx); err != nil {
		return nil, err
	}
	if h.lease, err = h.takeSlot(ctx); err != nil {
		return nil, err
	}
	if h.producer, err = newProducer(h); err != nil {
		return nil, err
	}
	if topics, err = h.prepare(ctx); err != nil {
		return nil, err
	}
	if h.exactlyOnce {
		err = h.until(ctx, h.log, preparingTransactions, func() error { return h.producer.initialize(ctx) })
	}
	return topics, err
}

// work runs the stages and stops them in the order of the data's way: consume, execute, produce; the consumers close
// last, because their close commits the offsets of what was produced.
func (h *Handler) work(ctx, work context.Context) error {
	var polling, executing, producing, refreshing sync.WaitGroup
	producer := h.cfg.Health.Stage("publishing")
	stopPolling := make(chan struct{})
	batches := h.toProducer()

	producing.Go(func() { h.producer.run(work, batches, producer) })
	refresh, stopRefresh := context.WithCancel(work)
	defer stopRefresh()
	refreshing.Go(func() { h.refreshSchemas(refresh) })
	refreshing.Go(func() { h.probeRegistry(refresh) })
	if h.exactlyOnce {
		refreshing.Go(func() { h.watchHanging(refresh) })
	}
	for _, l := range h.lanes {
		executing.Go(func() { l.execute(work, batches) })
		polling.Go(func() { l.consume(work, stopPolling) })
	}

	select {
	case <-ctx.Done():
		h.log.Info("stopping: finishing what is in flight")
	case <-work.Done():
	}
	stop := h.beginStop()
	finished := stop.finish(work, func() {
		executing.Wait()
		batches.close()
		producing.Wait()
	}, func() {
		stopRefresh()
		refreshing.Wait()
	})
	if !finished {
		h.abandoned = true
		h.log.Warn("a server stands still: what it was asked is left to the next handler")
		return h.result(work)
	}
	h.idle = !h.holds()
	close(stopPolling)
	stop.leave(polling.Wait)
	return h.result(work)
}

// pause waits for d or until ctx is done, and says whether it was d.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// isKafka says whether err is a Kafka error with one of the codes.
func isKafka(err error, codes ...kafka.ErrorCode) bool {
	var k kafka.Error
	if !errors.As(err, &k) {
		return false
	}
	for _, c := range codes {
		if k.Code() == c {
			return true
		}
	}
	return false
}
