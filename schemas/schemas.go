// Package schemas turns the stack's eight Avro records into the bank's messages and back.
//
// It answers for the text of the schemas, the wire format (byte 0, schema id in 4 bytes big endian, Avro binary), reading
// with whatever schema a writer used, and writing with whatever schema is registered. It does no I/O: the caller fetches
// schemas from the registry and hands in their text.
//
//	record ─ Decoder.Decode ─┬▶ message
//	                         ├▶ *UnknownSchemaError: fetch the schema, Learn it, decode again
//	                         └▶ *UnreadableError:    never readable, whatever one does
//	message ─ Encoder.Append ─▶ record, by the schema that is registered under the subject
//
// Reading follows Avro's schema resolution, done by name: fields that we don't know are ignored; an int may stand for a
// long, bytes for a string and a union for one of its branches. The schemas of 2019 have no defaults, and giving them
// some would register new versions of them; so the defaults of a reader are here and not in the .avsc: a token or a
// description that the writer's schema lacks, or that is null, is "". Without any other field a record is unreadable.
package schemas

import (
	"embed"
	"fmt"
	"slices"
)

// Files holds NAME.avsc for each of Names.
//
//go:embed *.avsc
var Files embed.FS

// Namespace is that of all the records.
const Namespace = "nl.openweb.data"

// The short names of the records.
const (
	nameHeartbeat                = "Heartbeat"
	nameConfirmAccountCreation   = "ConfirmAccountCreation"
	nameAccountCreationConfirmed = "AccountCreationConfirmed"
	nameAccountCreationFailed    = "AccountCreationFailed"
	NameConfirmMoneyTransfer     = "ConfirmMoneyTransfer"
	NameMoneyTransferConfirmed   = "MoneyTransferConfirmed"
	nameMoneyTransferFailed      = "MoneyTransferFailed"
	NameBalanceChanged           = "BalanceChanged"
)

// Names are the records' short names.
var Names = []string{
	nameHeartbeat, nameConfirmAccountCreation, nameAccountCreationConfirmed, nameAccountCreationFailed,
	NameConfirmMoneyTransfer, NameMoneyTransferConfirmed, nameMoneyTransferFailed, NameBalanceChanged,
}

// defaults names the text fields of a record that are "" when its writer leaves them out. No rule of the bank needs a
// description, and a deposit needs no token; a debit without one is answered with `invalid token`.
var defaults = map[string][]string{
	NameConfirmMoneyTransfer: {"token", "description"},
	NameBalanceChanged:       {"description"},
}

// ours is what the .avsc files say, by short name.
var ours = func() map[string]*avroType {
	types := make(map[string]*avroType, len(Names))
	for _, name := range Names {
		parsed, err := parse(Text(name))
		if err != nil {
			panic(fmt.Sprintf("schemas: %s.avsc: %v", name, err))
		}
		types[name] = parsed
	}
	return types
}()

// Text returns the schema of the record with this short name. It panics when there is none: names are in Names.
func Text(record string) string {
	text, err := Files.ReadFile(record + ".avsc")
	if err != nil {
		panic("schemas: no record " + record)
	}
	return string(text)
}

// FullName returns the record's name with its namespace.
func FullName(record string) string { return Namespace + "." + record }

// Subject returns where a topic's schema of the record is registered (TopicRecordNameStrategy).
func Subject(topic, record string) string { return topic + "-" + FullName(record) }

// Heartbeat is the beat that paces the stack's load. It means nothing to the bank.
type Heartbeat struct{ Beat int64 }

// shortName returns which of Names a full name is.
func shortName(fullName string) (string, bool) {
	for _, name := range Names {
		if fullName == FullName(name) {
			return name, true
		}
	}
	return "", false
}

func hasDefault(record, field string) bool { return slices.Contains(defaults[record], field) }
