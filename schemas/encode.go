package schemas

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"sync"

	"github.com/linkedin/goavro/v2"

	"openbank/bank"
)

// IncompatibleError says that our messages can't be written with a registered schema.
type IncompatibleError struct {
	Record   string   // short name of the message
	ID       int      // of the schema
	Problems []string // each a sentence without its full stop
}

func (e *IncompatibleError) Error() string {
	return fmt.Sprintf("schema %d does not fit %s: %s", e.ID, FullName(e.Record), strings.Join(e.Problems, "; "))
}

// Encoder writes one record with the schema that is registered under a subject. It never changes and is safe for
// concurrent use.
type Encoder struct {
	record string
	id     int
	text   string
	codec  *goavro.Codec
	pool   sync.Pool // of *values
}

// NewEncoder returns an encoder of the record (a short name) by a registered schema. The schema may have fields that we
// don't know if they have defaults, which are then written, and may have one of ours as a union that holds it. The error
// is an *IncompatibleError that lists all that is wrong.
func NewEncoder(record string, id int, schemaText string) (*Encoder, error) {
	e := &Encoder{record: record, id: id, text: schemaText}
	incompatible := &IncompatibleError{Record: record, ID: id}
	if id < 0 || id > math.MaxInt32 {
		incompatible.Problems = []string{"an id has to fit a positive int of 32 bits"}
		return nil, incompatible
	}
	schema, err := parse(schemaText)
	if err != nil {
		incompatible.Problems = []string{err.Error()}
		return nil, incompatible
	}
	if schema.kind != kindRecord || schema.name != FullName(record) {
		incompatible.Problems = []string{fmt.Sprintf("it is of %s %s, and has to be of record %s", schema.kind, schema.name, FullName(record))}
		return nil, incompatible
	}
	extras, wrapped, problems := compare(schema, ours[record])
	if len(problems) > 0 {
		incompatible.Problems = problems
		return nil, incompatible
	}
	if e.codec, err = schema.codec(); err != nil {
		incompatible.Problems = []string{err.Error()}
		return nil, incompatible
	}
	e.pool.New = func() any { return newValues(extras, wrapped) }
	return e, nil
}

// compare looks at a registered schema from the writer's side. extras holds the defaults of fields that we don't know,
// wrapped the branch of each of our fields that is a union.
func compare(schema, want *avroType) (extras map[string]any, wrapped map[string]string, problems []string) {
	extras, wrapped = map[string]any{}, map[string]string{}
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	for _, field := range schema.fields {
		switch {
		case want.field(field.name) != nil:
		case !field.hasDefault:
			complain("field %.80s is not one that we write, so it needs a default", field.name)
		default:
			value, err := field.typ.native(field.value)
			if err != nil {
				complain("field %.80s: %v", field.name, err)
			}
			extras[field.name] = value
		}
	}
	for _, own := range want.fields {
		field := schema.field(own.name)
		if field == nil {
			complain("field %s is missing; it has to be there as %s", own.name, own.typ)
			continue
		}
		fits := field.typ.holds(own.typ)
		for _, branch := range field.typ.branches {
			if !fits && branch.holds(own.typ) {
				wrapped[own.name] = branch.branchName()
				fits = true
			}
		}
		if !fits {
			complain("field %s is %s; it has to be %s", own.name, field.typ, own.typ)
		}
	}
	return extras, wrapped, problems
}

// ID returns the schema's id.
func (e *Encoder) ID() int { return e.id }

// Text returns the schema as it is registered.
func (e *Encoder) Text() string { return e.text }

// Append appends the record that holds msg, a pointer to the encoder's message, to dst: the header and the Avro binary.
// It returns dst as it was together with an error when msg is another message or has an account type that is none.
func (e *Encoder) Append(dst []byte, msg any) ([]byte, error) {
	v := e.pool.Get().(*values)
	if record := v.fill(msg); record != e.record { // v goes to waste: its defaults may be overwritten
		return dst, fmt.Errorf("encoding %s: got a %T", e.record, msg)
	}
	defer e.pool.Put(v)
	framed := binary.BigEndian.AppendUint32(append(dst, magic), uint32(e.id)) // NewEncoder has checked its range
	out, err := e.codec.BinaryFromNative(framed, v.fields)
	if err != nil {
		return dst, fmt.Errorf("encoding %s: %w", e.record, err)
	}
	return out, nil
}

// values is what goavro encodes a record from. It is used again and again: extra fields keep their defaults, and the
// maps around the values of unions stay.
type values struct {
	fields  map[string]any
	wrapped map[string]wrapper
}

type wrapper struct {
	branch string
	value  map[string]any // from branch; an element of fields
}

func newValues(extras map[string]any, wrapped map[string]string) *values {
	v := &values{fields: make(map[string]any, len(extras)+8), wrapped: make(map[string]wrapper, len(wrapped))}
	for field, value := range extras {
		v.fields[field] = value
	}
	for field, branch := range wrapped {
		value := map[string]any{branch: nil}
		v.fields[field] = value
		v.wrapped[field] = wrapper{branch: branch, value: value}
	}
	return v
}

// fill sets the values from msg and returns the short name of its record, or "".
func (v *values) fill(msg any) string {
	switch m := msg.(type) {
	case *Heartbeat:
		v.set("beat", m.Beat)
		return nameHeartbeat
	case *bank.ConfirmAccountCreation:
		v.set("id", m.ID[:])
		v.set("a_type", string(m.Type))
		return nameConfirmAccountCreation
	case *bank.AccountCreationConfirmed:
		v.set("id", m.ID[:])
		v.set("iban", m.IBAN)
		v.set("token", m.Token)
		v.set("a_type", string(m.Type))
		return nameAccountCreationConfirmed
	case *bank.AccountCreationFailed:
		v.set("id", m.ID[:])
		v.set("reason", m.Reason)
		return nameAccountCreationFailed
	case *bank.ConfirmMoneyTransfer:
		v.set("id", m.ID[:])
		v.set("token", m.Token)
		v.set("amount", m.Amount)
		v.set("from", m.From)
		v.set("to", m.To)
		v.set("description", m.Description)
		return NameConfirmMoneyTransfer
	case *bank.MoneyTransferConfirmed:
		v.set("id", m.ID[:])
		return NameMoneyTransferConfirmed
	case *bank.MoneyTransferFailed:
		v.set("id", m.ID[:])
		v.set("reason", m.Reason)
		return nameMoneyTransferFailed
	case *bank.BalanceChanged:
		v.set("iban", m.IBAN)
		v.set("new_balance", m.NewBalance)
		v.set("changed_by", m.ChangedBy)
		v.set("from_to", m.FromTo)
		v.set("description", m.Description)
		return NameBalanceChanged
	}
	return ""
}

func (v *values) set(field string, value any) {
	if w, ok := v.wrapped[field]; ok {
		w.value[w.branch] = value
		return
	}
	v.fields[field] = value
}
