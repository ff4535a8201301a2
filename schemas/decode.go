package schemas

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/linkedin/goavro/v2"

	"openbank/bank"
)

const (
	magic      = 0
	headerSize = 5 // magic and schema id
	maxReason  = 300

	// maxLearned bounds the types in all schemas that a decoder keeps, of which ours have 7 each at most.
	maxLearned = 50_000
)

// UnknownSchemaError says that a record's schema has to be learned first.
type UnknownSchemaError struct{ ID int }

func (e *UnknownSchemaError) Error() string {
	return fmt.Sprintf("decoding a record: schema %d is not known yet", e.ID)
}

// UnreadableError says that a record can never be read.
type UnreadableError struct{ Reason string } // at most 300 bytes or so; holds no token

func (e *UnreadableError) Error() string { return "decoding a record: " + e.Reason }

func unreadable(format string, args ...any) *UnreadableError {
	reason := fmt.Sprintf(format, args...)
	if len(reason) > maxReason {
		reason = reason[:maxReason] + "…"
	}
	return &UnreadableError{Reason: strings.ToValidUTF8(reason, "\ufffd")}
}

// Decoder reads records with the schemas that it has learned. It is safe for concurrent use.
type Decoder struct {
	learning sync.Mutex
	learned  int                             // types; guarded by learning
	writers  atomic.Pointer[map[int]*writer] // replaced as a whole: reading takes no lock
}

// NewDecoder returns a decoder that knows no schema yet, not even ours: ids are the registry's.
func NewDecoder() *Decoder {
	d := &Decoder{}
	d.writers.Store(&map[int]*writer{})
	return d
}

// Learn makes the decoder read records of schema id. When the text can't be parsed, is none of our records, or can't be
// resolved to ours, it makes Decode report such records as unreadable. When it has learned more than memory should hold, it
// forgets the others.
func (d *Decoder) Learn(id int, schemaText string) { d.learn(newWriter(id, schemaText)) }

// Refuse makes Decode report the records of a schema as unreadable, for a reason that the caller has.
func (d *Decoder) Refuse(id int, reason string) {
	d.learn(&writer{id: id, nodes: 1, verdict: unreadable("schema %d: %s", id, reason)})
}

func (d *Decoder) learn(w *writer) {
	d.learning.Lock()
	defer d.learning.Unlock()
	writers := maps.Clone(*d.writers.Load())
	if former, again := writers[w.id]; again {
		d.learned -= former.nodes
	}
	if d.learned += w.nodes; d.learned > maxLearned {
		clear(writers)
		d.learned = w.nodes
	}
	writers[w.id] = w
	d.writers.Store(&writers)
}

// Decode returns a pointer to the message that wire holds: one of bank's commands, answers and events, or *Heartbeat.
// A BalanceChanged has no version, which travels as a header. The message keeps nothing of wire.
//
// The errors are *UnknownSchemaError and *UnreadableError.
func (d *Decoder) Decode(wire []byte) (any, error) {
	id, err := ID(wire)
	if err != nil {
		return nil, err
	}
	w, ok := (*d.writers.Load())[id]
	if !ok {
		return nil, &UnknownSchemaError{ID: id}
	}
	return w.decode(wire[headerSize:])
}

// ID is the id of the schema that wire was written with. The error is an *UnreadableError.
func ID(wire []byte) (int, error) {
	switch {
	case wire == nil:
		return 0, unreadable("the value is null")
	case len(wire) < headerSize:
		return 0, unreadable("%d bytes are too few for a schema id", len(wire))
	case wire[0] != magic:
		return 0, unreadable("the first byte is %d instead of 0", wire[0])
	}
	// Ids are Java's int. A registry answers a negative one with a 404 of its own, which would pass for a registry that
	// does not work, and hold up the partition for good.
	id := int(int32(binary.BigEndian.Uint32(wire[1:headerSize])))
	if id < 0 {
		return 0, unreadable("%d can't be a schema id", id)
	}
	return id, nil
}

// writer is how to read what was written with one schema.
type writer struct {
	id      int
	nodes   int    // types in the schema, at least 1
	record  string // short name
	codec   *goavro.Codec
	longest int                 // bytes of a record, behind the schema id
	unions  map[string][]string // by field: the branches that we can read
	verdict *UnreadableError    // set when nothing of this schema can be read
}

func newWriter(id int, schemaText string) *writer {
	w := &writer{id: id, nodes: 1, unions: map[string][]string{}}
	if err := w.resolve(schemaText); err != nil {
		w.verdict = unreadable("schema %d: %v", id, err)
	}
	return w
}

func (w *writer) resolve(schemaText string) error {
	schema, err := parse(schemaText)
	if err != nil {
		return err
	}
	if w.record, err = recordOf(schema); err != nil {
		return err
	}
	for _, want := range ours[w.record].fields {
		field := schema.field(want.name)
		if field == nil {
			if hasDefault(w.record, want.name) {
				continue
			}
			return fmt.Errorf("record %s has no field %s", w.record, want.name)
		}
		if !field.typ.readableAs(want.typ) {
			return fmt.Errorf("field %s of record %s is %s, which can't be read as %s", want.name, w.record, field.typ, want.typ)
		}
		if field.typ.kind == kindUnion {
			w.unions[want.name] = field.typ.readableBranches(want.typ)
		}
	}
	w.nodes = schema.nodes
	w.longest = math.MaxInt
	if schema.repeated > 0 {
		w.longest = maxValues / schema.repeated
	}
	w.codec, err = schema.codec()
	return err
}

func recordOf(schema *avroType) (string, error) {
	if schema.kind != kindRecord {
		return "", fmt.Errorf("it is %s and no record", schema)
	}
	record, ok := shortName(schema.name)
	if !ok {
		return "", fmt.Errorf("record %.80s is none of %s", schema.name, Namespace)
	}
	return record, nil
}

func (w *writer) decode(payload []byte) (any, error) {
	if w.verdict != nil {
		return nil, w.verdict
	}
	if len(payload) > w.longest {
		return nil, unreadable("schema %d: %d bytes are more than the %d that a record with such arrays and maps may have", w.id, len(payload), w.longest)
	}
	native, rest, err := w.codec.NativeFromBinary(payload)
	if err != nil {
		return nil, unreadable("schema %d: %v", w.id, err)
	}
	if len(rest) > 0 {
		return nil, unreadable("schema %d: %d bytes too many for record %s", w.id, len(rest), w.record)
	}
	values, _ := native.(map[string]any)
	r := reading{writer: w, values: values}
	message := r.message()
	if r.fault != nil {
		return nil, r.fault
	}
	return message, nil
}

// reading takes our fields from one record's values. The first fault stays.
type reading struct {
	*writer
	values map[string]any
	fault  *UnreadableError
}

func (r *reading) message() any {
	switch r.record {
	case nameHeartbeat:
		return &Heartbeat{Beat: r.long("beat")}
	case nameConfirmAccountCreation:
		return &bank.ConfirmAccountCreation{ID: r.uuid("id"), Type: r.accountType("a_type")}
	case nameAccountCreationConfirmed:
		return &bank.AccountCreationConfirmed{
			ID: r.uuid("id"), IBAN: r.text("iban"), Token: r.text("token"), Type: r.accountType("a_type"),
		}
	case nameAccountCreationFailed:
		return &bank.AccountCreationFailed{ID: r.uuid("id"), Reason: r.text("reason")}
	case NameConfirmMoneyTransfer:
		return &bank.ConfirmMoneyTransfer{
			ID: r.uuid("id"), Token: r.text("token"), Amount: r.long("amount"), From: r.text("from"), To: r.text("to"),
			Description: r.text("description"),
		}
	case NameMoneyTransferConfirmed:
		return &bank.MoneyTransferConfirmed{ID: r.uuid("id")}
	case nameMoneyTransferFailed:
		return &bank.MoneyTransferFailed{ID: r.uuid("id"), Reason: r.text("reason")}
	default: // resolve let nothing through but our eight records
		return &bank.BalanceChanged{
			IBAN: r.text("iban"), NewBalance: r.long("new_balance"), ChangedBy: r.long("changed_by"), FromTo: r.text("from_to"),
			Description: r.text("description"),
		}
	}
}

// value returns the field's value; goavro has that of a union as a map from its branch.
func (r *reading) value(field string) any {
	value := r.values[field]
	union, ok := value.(map[string]any)
	if !ok {
		return value
	}
	for branch, inner := range union {
		if slices.Contains(r.unions[field], branch) {
			return inner
		}
		r.fail("field %s is %.80s", field, branch)
	}
	return nil
}

func (r *reading) long(field string) int64 {
	switch v := r.value(field).(type) {
	case int64:
		return v
	case int32:
		return int64(v)
	}
	r.fail("field %s is null", field)
	return 0
}

func (r *reading) text(field string) string {
	switch v := r.value(field).(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	if !hasDefault(r.record, field) {
		r.fail("field %s is null", field)
	}
	return ""
}

func (r *reading) uuid(field string) (id bank.ID) { //nolint:unparam // like its siblings
	if v, ok := r.value(field).([]byte); !ok || copy(id[:], v) != len(id) { // v is part of the record's buffer
		r.fail("field %s is null", field)
	}
	return id
}

func (r *reading) accountType(field string) bank.AccountType {
	symbol, ok := r.value(field).(string)
	if !ok {
		r.fail("field %s is null", field)
	} else if !bank.AccountType(symbol).Valid() {
		r.fail("field %s is %.80s, which is no account type", field, symbol)
	}
	return bank.AccountType(symbol)
}

func (r *reading) fail(format string, args ...any) {
	if r.fault == nil {
		r.fault = unreadable("schema %d: record %s: %s", r.id, r.record, fmt.Sprintf(format, args...))
	}
}
