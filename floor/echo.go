// Package floor answers for what the same machine can do at best, measured beside a handler in the same run: an echo, which takes
// commands and sends as much as a handler would with the handler's own Kafka settings and one Postgres commit between, and decides
// nothing; the bare writes that a batch of transfers comes down to; and the disk's fsync. (TPC-B is in package tpcb.)
package floor

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	_ "github.com/lib/pq" // the driver

	"openbank/bank"
	"openbank/connect"
	"openbank/handler"
)

// EchoConfig says what an echo works on.
type EchoConfig struct {
	Kafka                     connect.Kafka
	DatabaseURL               string
	Commands, Answers, Events string // topics
	// AnswerSchema and EventSchema are the ids of MoneyTransferConfirmed and BalanceChanged.
	AnswerSchema, EventSchema uint32
	// ExactlyOnce publishes answers and offsets in a transaction.
	ExactlyOnce bool
	// MaxBatch is the most commands in one go, as the handler's flag.
	MaxBatch int
	Logger   *slog.Logger
}

// echo is one at work.
type echo struct {
	config   EchoConfig
	consumer *kafka.Consumer
	producer *kafka.Producer
	insert   *sql.Stmt

	mu      sync.Mutex
	landed  *sync.Cond
	pending int
	failed  error
	message []kafka.Message
}

const (
	pollTime = 100 * time.Millisecond
	callTime = 10 * time.Second
	table    = "latency_benchmark_echo"
)

// Echo answers commands until ctx is done.
func Echo(ctx context.Context, config EchoConfig) (err error) {
	e := &echo{config: config}
	e.landed = sync.NewCond(&e.mu)
	db, err := sql.Open("postgres", config.DatabaseURL)
	if err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS `+table+` (batch bigserial PRIMARY KEY, commands int NOT NULL)`); err != nil {
		return fmt.Errorf("making the echo's table: %w", err)
	}
	if e.insert, err = db.PrepareContext(ctx, `INSERT INTO `+table+` (commands) VALUES ($1)`); err != nil {
		return fmt.Errorf("preparing the echo's statement: %w", err)
	}
	defer func() { err = errors.Join(err, e.insert.Close()) }()
	stop, err := e.open(ctx)
	if err != nil {
		return err
	}
	defer stop()
	for ctx.Err() == nil {
		batch, err := e.take()
		if err == nil && len(batch) > 0 {
			err = e.answer(ctx, batch)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// open makes the Kafka clients with the handler's settings, and returns what closes them.
func (e *echo) open(ctx context.Context) (stop func(), err error) {
	k, err := brokers(e.config.Kafka)
	if err != nil {
		return nil, err
	}
	logs := make(chan kafka.LogEvent, 256)
	var reading sync.WaitGroup
	reading.Go(func() {
		for l := range logs {
			e.config.Logger.Debug("librdkafka", "message", l.Message)
		}
	})
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails
	name := "latency-benchmark-echo-" + hex.EncodeToString(random[:])
	settings := handler.ConsumerSettings(k, name, name, e.config.ExactlyOnce, logs)
	settings["auto.offset.reset"] = "earliest" // a new group, and topics of its own
	if e.consumer, err = kafka.NewConsumer(&settings); err != nil {
		return nil, fmt.Errorf("making the echo's consumer: %w", err)
	}
	transactionalID := ""
	if e.config.ExactlyOnce {
		transactionalID = name
	}
	settings = handler.ProducerSettings(k, name, transactionalID, logs)
	if e.producer, err = kafka.NewProducer(&settings); err != nil {
		return nil, errors.Join(fmt.Errorf("making the echo's producer: %w", err), e.consumer.Close())
	}
	reading.Go(func() {
		for event := range e.producer.Events() {
			if m, ok := event.(*kafka.Message); ok {
				e.land(m.TopicPartition.Error)
			}
		}
	})
	stop = func() {
		_ = e.consumer.Close()
		e.producer.Close()
		close(logs)
		reading.Wait()
	}
	if e.config.ExactlyOnce {
		err = e.producer.InitTransactions(ctx)
	}
	if err == nil {
		err = e.consumer.Subscribe(e.config.Commands, nil)
	}
	if err != nil {
		stop()
		return nil, fmt.Errorf("joining the echo's group: %w", err)
	}
	return stop, nil
}

// brokers is where Kafka is, in the terms of the handler's client.
func brokers(k connect.Kafka) (handler.Kafka, error) {
	files, err := k.Files()
	if err != nil {
		return handler.Kafka{}, err
	}
	to := handler.Kafka{}
	for i, broker := range k.Brokers {
		if i > 0 {
			to.Brokers += ","
		}
		to.Brokers += broker
	}
	switch {
	case files.KeyStore != "":
		text, err := files.Text()
		if err != nil {
			return to, err
		}
		to.TLS = handler.TLS{CA: text.CA, Cert: text.Cert, Key: text.Key, Text: true, SkipHostnameCheck: files.SkipHostname}
	case files.CA != "":
		to.TLS = handler.TLS{CA: files.CA, Cert: files.Cert, Key: files.Key, KeyPassword: files.Password, SkipHostnameCheck: files.SkipHostname}
	}
	return to, nil
}

// take is all that waits, and waits for a first one for a moment.
func (e *echo) take() ([]*kafka.Message, error) {
	var batch []*kafka.Message
	for wait := int(pollTime.Milliseconds()); len(batch) < e.config.MaxBatch; wait = 0 {
		switch event := e.consumer.Poll(wait).(type) {
		case *kafka.Message:
			if event.TopicPartition.Error != nil {
				return nil, fmt.Errorf("reading commands: %w", event.TopicPartition.Error)
			}
			batch = append(batch, event)
		case kafka.Error:
			if event.IsFatal() {
				return nil, fmt.Errorf("reading commands: %w", event)
			}
		case nil:
			return batch, nil
		}
	}
	return batch, nil
}

func (e *echo) land(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pending--
	if err != nil && e.failed == nil {
		e.failed = err
	}
	if e.pending == 0 {
		e.landed.Broadcast()
	}
}

// answer commits once in Postgres, then publishes an answer and two events for each command.
func (e *echo) answer(ctx context.Context, batch []*kafka.Message) error {
	if _, err := e.insert.ExecContext(ctx, len(batch)); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	if e.config.ExactlyOnce {
		if err := e.producer.BeginTransaction(); err != nil {
			return fmt.Errorf("beginning a transaction: %w", err)
		}
	}
	e.message = e.message[:0]
	for _, command := range batch {
		if err := e.compose(command); err != nil {
			return err
		}
	}
	e.mu.Lock()
	e.pending = len(e.message)
	e.mu.Unlock()
	for i := range e.message {
		err := e.producer.Produce(&e.message[i], nil)
		for isQueueFull(err) {
			time.Sleep(time.Millisecond)
			err = e.producer.Produce(&e.message[i], nil)
		}
		if err != nil {
			return fmt.Errorf("publishing: %w", err)
		}
	}
	offsets := next(batch)
	if e.config.ExactlyOnce {
		member, err := e.consumer.GetConsumerGroupMetadata()
		if err == nil {
			err = e.insist(ctx, func(ctx context.Context) error { return e.producer.SendOffsetsToTransaction(ctx, offsets, member) })
		}
		if err == nil {
			err = e.insist(ctx, e.producer.CommitTransaction)
		}
		if err != nil {
			return fmt.Errorf("committing a transaction: %w", err)
		}
	}
	e.mu.Lock()
	for e.pending > 0 {
		e.landed.Wait()
	}
	err := e.failed
	e.mu.Unlock()
	if err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	if !e.config.ExactlyOnce {
		if _, err := e.consumer.StoreOffsets(offsets); err != nil {
			return fmt.Errorf("storing offsets: %w", err)
		}
	}
	return nil
}

func isQueueFull(err error) bool {
	var k kafka.Error
	return errors.As(err, &k) && k.Code() == kafka.ErrQueueFull
}

func (e *echo) insist(ctx context.Context, call func(context.Context) error) error {
	for {
		limited, cancel := context.WithTimeout(ctx, callTime)
		err := call(limited)
		cancel()
		var k kafka.Error
		if err == nil || !errors.As(err, &k) || k.IsFatal() || k.TxnRequiresAbort() || !k.IsRetriable() || ctx.Err() != nil {
			return err
		}
	}
}

// next is the offset after the last message of each partition.
func next(batch []*kafka.Message) []kafka.TopicPartition {
	last := map[int32]kafka.TopicPartition{}
	for _, m := range batch {
		at := m.TopicPartition
		at.Offset++
		last[at.Partition] = at
	}
	offsets := make([]kafka.TopicPartition, 0, len(last))
	for _, at := range last {
		offsets = append(offsets, at)
	}
	return offsets
}

// compose makes what the handler would send for a transfer between two accounts: an answer, and an event for each with its header.
// Balances are made up.
func (e *echo) compose(command *kafka.Message) error {
	transfer, err := parse(command.Value)
	if err != nil {
		return fmt.Errorf("reading a command at %v: %w", command.TopicPartition, err)
	}
	answer := append(binary.BigEndian.AppendUint32([]byte{0}, e.config.AnswerSchema), transfer.id...)
	e.add(&e.config.Answers, command.Key, answer, nil)
	version := []kafka.Header{{Key: "account-version", Value: []byte("12345")}}
	for _, side := range []struct {
		iban, other []byte
		by          int64
	}{{transfer.from, transfer.to, -transfer.amount}, {transfer.to, transfer.from, transfer.amount}} {
		event := binary.BigEndian.AppendUint32([]byte{0}, e.config.EventSchema)
		event = appendText(event, side.iban)
		event = binary.AppendVarint(event, 1_000_000_000_000+side.by)
		event = binary.AppendVarint(event, side.by)
		event = appendText(event, side.other)
		event = appendText(event, transfer.description)
		e.add(&e.config.Events, side.iban, event, version)
	}
	return nil
}

func (e *echo) add(topic *string, key, value []byte, headers []kafka.Header) {
	e.message = append(e.message, kafka.Message{
		TopicPartition: kafka.TopicPartition{Topic: topic, Partition: kafka.PartitionAny}, Key: key, Value: value, Headers: headers,
	})
}

func appendText(to, text []byte) []byte {
	return append(binary.AppendVarint(to, int64(len(text))), text...) // Avro's lengths are zigzag varints, as Go's are
}

// transfer is a ConfirmMoneyTransfer as far as an echo needs it.
type transfer struct {
	id, from, to, description []byte
	amount                    int64
}

// parse reads a transfer in the schema that the benchmark itself writes: nothing else is on the echo's topic.
func parse(value []byte) (t transfer, err error) {
	const header = 5
	if len(value) < header+len(bank.ID{}) {
		return t, errors.New("it is too short")
	}
	rest := value[header:]
	t.id, rest = rest[:len(bank.ID{})], rest[len(bank.ID{}):]
	number := func() int64 {
		v, n := binary.Varint(rest)
		if n <= 0 {
			err = errors.New("a number in it is cut short")
			return 0
		}
		rest = rest[n:]
		return v
	}
	text := func() []byte {
		n := number()
		if n < 0 || n > int64(len(rest)) {
			err = errors.New("a text in it is cut short")
			return nil
		}
		var b []byte
		b, rest = rest[:n], rest[n:]
		return b
	}
	_ = text() // the token
	t.amount = number()
	t.from, t.to, t.description = text(), text(), text()
	return t, err
}
