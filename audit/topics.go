package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
	"openbank/connect"
	"openbank/deadletter"
	"openbank/schemas"
)

// ReadTopics reads all of the topics, to the end that they have at the moment of the call, into a new Evidence of a bank that is idle.
// progress, if not nil, is told how many records were read of how many. Errors: ctx's, the brokers', the registry's, a topic that is
// not there.
func ReadTopics(ctx context.Context, kafka connect.Kafka, codec *connect.Codec, topics Topics, progress func(read, all int64)) (*Evidence, error) {
	r, err := openTopics(ctx, kafka, codec, topics)
	if err != nil {
		return nil, err
	}
	defer r.client.Close()
	r.progress = progress
	r.limit = r.ends
	if err := r.reach(ctx, r.ends); err != nil {
		return nil, err
	}
	return r.evidence, r.finish(ctx)
}

// reader reads the topics.
type reader struct {
	client   *kgo.Client
	topics   Topics
	codec    *connect.Codec
	evidence *Evidence
	progress func(read, all int64)

	starts, ends map[Partition]int64 // of the log, when it was opened
	limit        map[Partition]int64 // what is read only so far; nil: whatever comes
	next         map[Partition]int64 // the offset after what was read
	resumed      map[Partition][]resumption
	behind       map[Partition]int64 // where it goes on, with no record yet
	read         int64

	same    sameText
	marks   map[Place]bool // letters that were sent again
	ignored bool           // whatever is not on a command topic
}

// resumption is where the reading begins, or goes on behind what is not there: an aborted transaction, or what was deleted before it was read.
type resumption struct {
	offset int64
	record time.Time // the time of the first record from there on
}

func openTopics(ctx context.Context, kafka connect.Kafka, codec *connect.Codec, topics Topics) (*reader, error) {
	client, err := kafka.Client("open-bank-audit",
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // a partition may end in one: without it the end would never be reached
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{}),
	)
	if err != nil {
		return nil, err
	}
	r := &reader{
		client: client, topics: topics, codec: codec, evidence: &Evidence{Scope: Scope{Topics: topics}},
		next: map[Partition]int64{}, resumed: map[Partition][]resumption{}, behind: map[Partition]int64{},
		same: sameText{}, marks: map[Place]bool{},
	}
	if err := r.begin(ctx); err != nil {
		client.Close()
		return nil, err
	}
	return r, nil
}

func (t Topics) commands() []string {
	return []string{t.ConfirmAccountCreation, t.ConfirmMoneyTransfer}
}

// outputs are the topics of answers and events.
func (t Topics) outputs() []string {
	return []string{t.AccountCreationFeedback, t.MoneyTransferFeedback, t.BalanceChanged}
}

func (t Topics) all() []string {
	return append(append(t.commands(), t.outputs()...),
		DeadLetter(t.ConfirmAccountCreation), DeadLetter(t.ConfirmMoneyTransfer))
}

// begin finds where the topics begin and end, and has the client read them.
func (r *reader) begin(ctx context.Context) (err error) {
	admin := kadm.NewClient(r.client)
	there, err := admin.ListTopics(ctx, r.topics.all()...)
	if err != nil {
		return fmt.Errorf("looking at the topics: %w", connect.Explain(err))
	}
	for _, topic := range there.Sorted() {
		switch {
		case errors.Is(topic.Err, kerr.UnknownTopicOrPartition):
			err = errors.Join(err, fmt.Errorf("there is no topic %s: run synchronizer apply first, or name the bank's topics (KAFKA_CMT_TOPIC and its like)", topic.Topic))
		case topic.Err != nil:
			err = errors.Join(err, fmt.Errorf("looking at topic %s: %w", topic.Topic, connect.Explain(topic.Err)))
		}
	}
	if err != nil {
		return err
	}
	r.evidence.Scope.IDs = map[string]string{}
	for name, topic := range there {
		if id := bank.ID(topic.ID).String(); id != noTopicID {
			r.evidence.Scope.IDs[name] = id
		}
	}
	if r.starts, err = offsets(ctx, admin.ListStartOffsets, r.topics.all()); err != nil {
		return fmt.Errorf("reading where the topics start: %w", err)
	}
	if r.ends, err = offsets(ctx, admin.ListCommittedOffsets, r.topics.all()); err != nil {
		return fmt.Errorf("reading where the topics end: %w", err)
	}
	from := map[string]map[int32]kgo.Offset{}
	for p, start := range r.starts {
		if from[p.Topic] == nil {
			from[p.Topic] = map[int32]kgo.Offset{}
		}
		from[p.Topic][p.Number] = kgo.NewOffset().At(start)
		r.next[p] = start
	}
	r.client.AddConsumePartitions(from)
	r.makeRoom()
	return nil
}

// makeRoom lets the evidence grow without being copied: at a million commands the copies would be a good part of the memory.
func (r *reader) makeRoom() {
	count := func(topics ...string) int {
		n := int64(0)
		for p, end := range r.ends {
			if slices.Contains(topics, p.Topic) {
				n += end - r.starts[p]
			}
		}
		return int(n + n/64) // and a little that comes meanwhile
	}
	t := r.topics
	r.evidence.Deliveries = make([]Delivery, 0, count(t.commands()...))
	r.evidence.Answers = make([]Answer, 0, count(t.AccountCreationFeedback, t.MoneyTransferFeedback))
	r.evidence.Events = make([]Event, 0, count(t.BalanceChanged))
}

func offsets(ctx context.Context, list func(context.Context, ...string) (kadm.ListedOffsets, error), topics []string) (map[Partition]int64, error) {
	listed, err := connect.Offsets(list(ctx, topics...))
	if err != nil {
		return nil, err
	}
	found := map[Partition]int64{}
	listed.Each(func(o kadm.ListedOffset) { found[Partition{o.Topic, o.Partition}] = o.Offset })
	return found, nil
}

// finish says what is to be expected of what was read. The brokers may have deleted records before they were read, and the client then goes on
// behind them without a word: where the topics start now counts.
func (r *reader) finish(ctx context.Context) error {
	now, err := offsets(ctx, kadm.NewClient(r.client).ListStartOffsets, r.topics.all())
	if err != nil {
		return fmt.Errorf("reading where the topics start: %w", err)
	}
	for p, start := range now {
		r.starts[p] = max(r.starts[p], start)
	}
	for i := range r.evidence.Letters {
		r.evidence.Letters[i].Replayed = r.marks[r.evidence.Letters[i].Place]
	}
	s := &r.evidence.Scope
	s.Starts, s.Cut, s.CutLetters = map[Partition]int64{}, map[string]time.Time{}, map[Partition]time.Time{}
	s.CutKeyed, s.Partitions = map[Partition]time.Time{}, map[string]int32{}
	for p, start := range r.starts {
		isOutput := slices.Contains(r.topics.outputs(), p.Topic)
		if isOutput {
			s.Partitions[p.Topic] = max(s.Partitions[p.Topic], p.Number+1)
		}
		if start == 0 {
			continue
		}
		s.Starts[p] = start
		oldest := r.oldestLeft(p, start)
		if sources := r.sources(p); sources != nil {
			for _, source := range sources {
				s.CutLetters[source] = oldest
			}
			continue
		}
		if isOutput {
			s.CutKeyed[p] = oldest
		}
		until, cut := s.Cut[p.Topic]
		if !cut || oldest.IsZero() || !until.IsZero() && oldest.After(until) {
			s.Cut[p.Topic] = oldest
		}
	}
	return nil
}

// oldestLeft is the time of the oldest record of a partition that begins at start now, as far as nothing was deleted before it was read; zero
// when nothing is left.
func (r *reader) oldestLeft(p Partition, start int64) (oldest time.Time) {
	if offset, ok := r.behind[p]; ok && offset <= start {
		return oldest
	}
	for i, at := range r.resumed[p] {
		if i == 0 || at.offset <= start {
			oldest = at.record
		}
	}
	return oldest
}

// sources are the partitions whose dead letters a partition has; nil if it has none. They go by number, as far as there are as many.
func (r *reader) sources(p Partition) (all []Partition) {
	for _, topic := range r.topics.commands() {
		if DeadLetter(topic) != p.Topic {
			continue
		}
		count := int32(0)
		for other := range r.starts {
			if other.Topic == p.Topic {
				count++
			}
		}
		for source := range r.starts {
			if source.Topic == topic && source.Number%count == p.Number {
				all = append(all, source)
			}
		}
	}
	return all
}

// file takes one record into the evidence. The only errors are the registry's and ctx's.
func (r *reader) file(ctx context.Context, record *kgo.Record) error {
	place := Place{r.same.of(record.Topic), record.Partition, record.Offset}
	switch record.Topic {
	case DeadLetter(r.topics.ConfirmAccountCreation), DeadLetter(r.topics.ConfirmMoneyTransfer):
		if offset, ok := deadletter.Marked(record); ok {
			r.marks[Place{place.Topic, place.Partition, offset}] = true
		} else {
			r.evidence.Letters = append(r.evidence.Letters, r.letter(place, record))
		}
		return nil
	}
	message, unreadable, err := r.decode(ctx, record.Value)
	if err != nil {
		return fmt.Errorf("decoding %s: %w", place, err)
	}
	switch record.Topic {
	case r.topics.ConfirmAccountCreation, r.topics.ConfirmMoneyTransfer:
		r.evidence.Deliveries = append(r.evidence.Deliveries, r.delivery(place, record, message, unreadable))
		return nil
	}
	if !r.takeOutput(place, record, message) {
		r.evidence.Foreign = append(r.evidence.Foreign, place)
	}
	return nil
}

// decode returns a message, or why there is none.
func (r *reader) decode(ctx context.Context, value []byte) (message any, why string, err error) {
	message, err = r.codec.Decode(ctx, value)
	var unreadable *schemas.UnreadableError
	switch {
	case err == nil:
		return message, "", nil
	case errors.As(err, &unreadable):
		return nil, r.same.of(unreadable.Reason), nil
	}
	return nil, "", err
}

func (r *reader) delivery(place Place, record *kgo.Record, message any, unreadable string) Delivery {
	d := Delivery{Place: place, Time: TimeOf(record.Timestamp), Body: NewBody(record.Key, record.Value, record.Headers)}
	if len(record.Value) >= 5 && record.Value[0] == 0 {
		d.Schema = int32(binary.BigEndian.Uint32(record.Value[1:5]))
	}
	switch command := message.(type) {
	case *bank.ConfirmAccountCreation:
		if record.Topic == r.topics.ConfirmAccountCreation {
			d.Creation = command
		}
	case *bank.ConfirmMoneyTransfer:
		if record.Topic == r.topics.ConfirmMoneyTransfer {
			command.From, command.To, command.Token = r.same.of(command.From), r.same.of(command.To), r.same.of(command.Token)
			command.Description = r.same.of(command.Description)
			d.Transfer = command
		}
	}
	if _, ok := d.command(); !ok {
		d.Unreadable = "a record of another type"
		if unreadable != "" {
			d.Unreadable = unreadable
		}
	}
	return d
}

func (r *reader) takeOutput(place Place, record *kgo.Record, message any) bool {
	e := r.evidence
	answer := func(topic string, a Answer) bool {
		a.Place, a.Time = place, TimeOf(record.Timestamp)
		a.Reason = r.same.of(a.Reason)
		e.Answers = append(e.Answers, a)
		return record.Topic == topic
	}
	switch m := message.(type) {
	case *bank.AccountCreationConfirmed:
		return answer(r.topics.AccountCreationFeedback, Answer{Command: Key{Creation, m.ID}, Opened: r.same.opened(m.IBAN, m.Token, m.Type)})
	case *bank.AccountCreationFailed:
		return answer(r.topics.AccountCreationFeedback, Answer{Command: Key{Creation, m.ID}, Reason: m.Reason})
	case *bank.MoneyTransferConfirmed:
		return answer(r.topics.MoneyTransferFeedback, Answer{Command: Key{Transfer, m.ID}})
	case *bank.MoneyTransferFailed:
		return answer(r.topics.MoneyTransferFeedback, Answer{Command: Key{Transfer, m.ID}, Reason: m.Reason})
	case *bank.BalanceChanged:
		event := Event{Place: place, Time: TimeOf(record.Timestamp), Event: *m}
		event.Event.IBAN, event.Event.FromTo, event.Event.Description = r.same.of(m.IBAN), r.same.of(m.FromTo), r.same.of(m.Description)
		event.Event.Version, event.HasVersion = version(record)
		e.Events = append(e.Events, event)
		return record.Topic == r.topics.BalanceChanged
	default:
		return false
	}
}

// version is the account-version of an event, of which there must be one.
func version(record *kgo.Record) (int64, bool) {
	text := ""
	for _, h := range record.Headers {
		if h.Key == "account-version" {
			text = string(h.Value)
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

func (r *reader) letter(place Place, record *kgo.Record) Letter {
	own := deadletter.Parse(record)
	l := Letter{
		Place: place, Time: TimeOf(record.Timestamp), SourceTime: TimeOf(own.Time), Reason: r.same.of(own.Reason),
		Body: NewBody(record.Key, record.Value, own.Headers), Cut: own.Cut, Length: own.Length, SHA256: own.SHA256,
	}
	if own.Topic != "" {
		l.Source = Place{r.same.of(own.Topic), own.Partition, own.Offset}
	}
	return l
}

func (p Place) String() string { return fmt.Sprintf("%s %d@%d", p.Topic, p.Partition, p.Offset) }
