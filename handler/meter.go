package handler

import (
	"strconv"
	"time"

	"openbank/bank"
	"openbank/metric"
	"openbank/store"
)

// meter is what a handler counts. Everything that is counted for a command or a record is made at the start.
type meter struct {
	set   *metric.Set
	began time.Time

	commands       [kinds][reasons][dispositions]*metric.Counter
	transactions   *metric.Counter
	aborts         [causes]*metric.Counter
	producerFenced *metric.Counter
	retries        [len(tasks)]*metric.Counter
}

// laneMeter is what a lane counts.
type laneMeter struct {
	*meter
	letters                                 [faults]*metric.Counter
	answer, handling                        *metric.Histogram
	decode, queue, execute, publish         *metric.Histogram
	batch                                   *metric.Histogram
	fenced                                  *metric.Counter // the consumer
	schemaWaits                             *metric.Counter
	assigned, revoked, lost, orphaned       *metric.Counter
	startStalls, schemaStalls, letterStalls *metric.Gauge
	partitions, topic                       *metric.Gauge // of the topic, those of this handler and all
}

// The kinds of commands.
const (
	creation = iota
	transfer
	kinds
)

var kindNames = [kinds]string{"account_creation", "money_transfer"}

// The classes of the reasons why commands are rejected: few enough to be labels.
const (
	confirmed = iota
	amountNotPositive
	amountTooLarge
	fromInvalid
	sameAccount
	invalidToken
	insufficientFunds
	unknownAccount
	unfitText
	noFreeIBAN
	otherReason // of a handler before this one
	reasons
)

var reasonNames = [reasons]string{"", "amount_not_positive", "amount_too_large", "from_invalid", "same_account", "invalid_token", "insufficient_funds",
	"unknown_account", "unfit_text", "no_free_iban", "other"}

// reasonClass is the class of a reason that package bank gives.
func reasonClass(reason string) int {
	switch reason {
	case "":
		return confirmed
	case bank.ReasonAmountNotPositive:
		return amountNotPositive
	case bank.ReasonAmountTooLarge:
		return amountTooLarge
	case bank.ReasonFromInvalid:
		return fromInvalid
	case bank.ReasonSame:
		return sameAccount
	case bank.ReasonInvalidToken:
		return invalidToken
	case bank.ReasonInsufficientFunds:
		return insufficientFunds
	case bank.ReasonBothUnknown, bank.ReasonFromUnknown:
		return unknownAccount
	case bank.ReasonNoFreeIBAN:
		return noFreeIBAN
	case bank.ReasonTokenTooLong, bank.ReasonFromTooLong, bank.ReasonToTooLong, bank.ReasonDescriptionTooLong,
		bank.ReasonTokenNotText, bank.ReasonFromNotText, bank.ReasonToNotText, bank.ReasonDescriptionNotText:
		return unfitText
	}
	return otherReason
}

// What Postgres said of a command.
const (
	nowExecuted = iota
	unfinished
	duplicate
	dispositions
)

var dispositionNames = [dispositions]string{"executed", "unfinished", "duplicate"}

// The classes of the reasons for dead letters.
const (
	unreadable    = iota // not in the form of a record, or one that breaks its schema
	unknownID            // its schema's id is unknown to the registry
	wrongRecord          // a record, but none of this topic
	idReused             // an id that came again with other content
	refusedByBase        // Postgres takes the command in no way
	faults
)

var faultNames = [faults]string{"unreadable", "unknown_schema", "wrong_record", "id_reused", "refused_by_postgres"}

// Why a transaction was not committed.
const (
	rebalanced = iota
	producerFenced
	letterRefused
	otherCause
	causes
)

var causeNames = [causes]string{"rebalance", "fenced", "dead_letter", "other"}

func newMeter(set *metric.Set) *meter {
	m := &meter{set: set, began: time.Now(), transactions: set.Counter("openbank_transactions_total"), producerFenced: set.Counter("openbank_fencings_total", "producer")}
	for reason := range reasons {
		for kind := range kinds {
			if kind == creation && reason != confirmed && reason != noFreeIBAN && reason != otherReason || kind == transfer && reason == noFreeIBAN {
				continue // count takes it for another reason
			}
			outcome := "rejected"
			if reason == confirmed {
				outcome = "confirmed"
			}
			for d := range dispositions {
				m.commands[kind][reason][d] = set.Counter("openbank_commands_total", kindNames[kind], outcome, reasonNames[reason], dispositionNames[d])
			}
		}
	}
	set.Gauge("openbank_exactly_once") // 0 until that is settled
	for cause := range causes {
		m.aborts[cause] = set.Counter("openbank_transaction_aborts_total", causeNames[cause])
	}
	for i, t := range tasks {
		m.retries[i] = set.Counter("openbank_retries_total", string(t.dependency), t.name)
	}
	return m
}

// now is a time that is cheap to take: 8 bytes, by the monotonic clock.
func (m *meter) now() time.Duration { return time.Since(m.began) }

// total is how many commands were answered in a disposition, for the log.
func (m *meter) total(disposition int) (n uint64) {
	for kind := range kinds {
		for reason := range reasons {
			if c := m.commands[kind][reason][disposition]; c != nil {
				n += c.Get()
			}
		}
	}
	return n
}

func (m *meter) lane(t topic, q *queue) *laneMeter {
	s := m.set
	stage := func(name string) *metric.Histogram { return s.Histogram("openbank_stage_seconds", t.name, name) }
	event := func(name string) *metric.Counter { return s.Counter("openbank_rebalances_total", t.name, name) }
	stalled := func(reason string) *metric.Gauge { return s.Gauge("openbank_stalled_partitions", t.name, reason) }
	l := &laneMeter{
		meter:  m,
		answer: s.Histogram("openbank_answer_seconds", t.name), handling: s.Histogram("openbank_handling_seconds", t.name),
		decode: s.Histogram("openbank_decode_seconds", t.name),
		queue:  stage("queue"), execute: stage("execute"), publish: stage("publish"),
		batch:       s.Histogram("openbank_batch_records", t.name),
		fenced:      s.Counter("openbank_fencings_total", "consumer"),
		schemaWaits: s.Counter("openbank_schema_waits_total", t.name),
		assigned:    event("assigned"), revoked: event("revoked"), lost: event("lost"), orphaned: event("orphaned"),
		startStalls: stalled("start"), schemaStalls: stalled("schema"), letterStalls: stalled("dead_letter"),
		partitions: s.Gauge("openbank_assigned_partitions", t.name), topic: s.Gauge("openbank_topic_partitions", t.name),
	}
	for fault := range faults {
		l.letters[fault] = s.Counter("openbank_dead_letters_total", t.name, faultNames[fault])
	}
	l.topic.Set(float64(t.partitions))
	s.GaugeFunc("openbank_queue_records", func() float64 { return float64(q.length()) }, t.name)
	s.GaugeFunc("openbank_queue_bytes", func() float64 { return float64(q.held()) }, t.name)
	return l
}

// timed says whether to time the decoding of a lane's nth record.
func timed(n int64) bool { return n%16 == 0 }

// finished counts a record whose answer or dead letter is published.
func (m *laneMeter) finished(r *record, now time.Duration, at time.Time) {
	m.handling.Update((now - r.polled).Seconds())
	if r.sent > 0 {
		m.answer.Update(max(at.Sub(time.UnixMilli(r.sent)).Seconds(), 0)) // a clock of the sender's that is ahead of ours
	}
	if _, buried := r.letter(); buried {
		m.letters[r.fault()].Inc()
		return
	}
	kind := transfer
	if _, ok := r.command.(*bank.ConfirmAccountCreation); ok {
		kind = creation
	}
	disposition := nowExecuted
	switch r.outcome.Disposition {
	case store.Unfinished:
		disposition = unfinished
	case store.Duplicate:
		disposition = duplicate
	case store.Executed, store.DeadLetter: // the latter was counted above
	}
	c := m.commands[kind][reasonClass(r.outcome.Reason)][disposition]
	if c == nil { // a reason that this kind of command has from no handler of ours
		c = m.commands[kind][otherReason][disposition]
	}
	c.Inc()
}

// buried is how many records became dead letters, for the log.
func (m *laneMeter) buried() (n uint64) {
	for _, c := range m.letters {
		n += c.Get()
	}
	return n
}

// lag notes how far behind a partition is.
func (m *laneMeter) lag(t topic, partition int32, records int64) {
	m.set.Gauge("openbank_lag_records", t.name, strconv.Itoa(int(partition))).Set(float64(records))
}

// forget removes the lag of a partition that is not ours any more.
func (m *laneMeter) forget(t topic, partition int32) {
	m.set.Forget("openbank_lag_records", t.name, strconv.Itoa(int(partition)))
}
