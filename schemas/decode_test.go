package schemas_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/linkedin/goavro/v2"

	"openbank/bank"
	"openbank/schemas"
)

// A writer's schema of ConfirmMoneyTransfer with these fields.
func transferSchema(fields ...string) string {
	return `{"type":"record","name":"ConfirmMoneyTransfer","namespace":"nl.openweb.data","fields":[` + strings.Join(fields, ",") + `]}`
}

const (
	fieldID          = `{"name":"id","type":{"type":"fixed","name":"Uuid","size":16}}`
	fieldToken       = `{"name":"token","type":"string"}`
	fieldAmount      = `{"name":"amount","type":"long"}`
	fieldFrom        = `{"name":"from","type":"string"}`
	fieldTo          = `{"name":"to","type":"string"}`
	fieldDescription = `{"name":"description","type":"string"}`
)

// write encodes values with a writer's schema as another program would.
func write(t testing.TB, schema string, id uint32, values map[string]any) []byte {
	t.Helper()
	codec, err := goavro.NewCodec(schema)
	if err != nil {
		t.Fatal(err)
	}
	wire, err := codec.BinaryFromNative(binary.BigEndian.AppendUint32([]byte{0}, id), values)
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

func transferValues(changes map[string]any) map[string]any {
	values := map[string]any{
		"id": uuid[:], "token": "t", "amount": int64(5), "from": "cash", "to": "NL66OPEN0000000000", "description": "d",
	}
	for field, value := range changes {
		values[field] = value
	}
	return values
}

func TestDecodeByTheWritersSchema(t *testing.T) {
	t.Parallel()
	plain := bank.ConfirmMoneyTransfer{ID: uuid, Token: "t", Amount: 5, From: "cash", To: "NL66OPEN0000000000", Description: "d"}
	with := func(change func(*bank.ConfirmMoneyTransfer)) bank.ConfirmMoneyTransfer {
		changed := plain
		change(&changed)
		return changed
	}
	for _, test := range []struct {
		name, schema string
		changes      map[string]any
		want         bank.ConfirmMoneyTransfer
	}{
		{"fields in another order", transferSchema(fieldTo, fieldDescription, fieldAmount, fieldToken, fieldID, fieldFrom), nil, plain},
		{"extra fields of every kind are ignored", transferSchema(
			`{"name":"first","type":["null","string"],"default":null}`, fieldID, fieldToken, fieldAmount,
			`{"name":"tags","type":{"type":"array","items":"string"}}`, `{"name":"more","type":{"type":"map","values":"double"}}`,
			`{"name":"inner","type":{"type":"record","name":"Inner","fields":[{"name":"again","type":"Uuid"}]}}`,
			fieldFrom, fieldTo, fieldDescription, `{"name":"when","type":{"type":"long","logicalType":"timestamp-millis"}}`,
			`{"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":4,"scale":1000000000}}`),
			map[string]any{
				"first": goavro.Union("string", "x"), "tags": []any{"a", "b"}, "more": map[string]any{"k": 1.5},
				"inner": map[string]any{"again": uuid[:]}, "when": int64(7), "price": []byte{1, 2},
			}, plain},
		{"an int for a long", transferSchema(fieldID, fieldToken, `{"name":"amount","type":"int"}`, fieldFrom, fieldTo, fieldDescription),
			map[string]any{"amount": int32(-7)}, with(func(c *bank.ConfirmMoneyTransfer) { c.Amount = -7 })},
		{"bytes for a string", transferSchema(fieldID, fieldToken, fieldAmount, fieldFrom, `{"name":"to","type":"bytes"}`, fieldDescription),
			map[string]any{"to": []byte("shop")}, with(func(c *bank.ConfirmMoneyTransfer) { c.To = "shop" })},
		{"a union with null", transferSchema(fieldID, fieldToken, `{"name":"amount","type":["null","int","long"]}`, fieldFrom, fieldTo,
			`{"name":"description","type":["string","null"]}`),
			map[string]any{"amount": goavro.Union("int", 9), "description": goavro.Union("string", "x")},
			with(func(c *bank.ConfirmMoneyTransfer) { c.Amount, c.Description = 9, "x" })},
		{"a union around the id", transferSchema(`{"name":"id","type":["null",{"type":"fixed","name":"Uuid","size":16}]}`, fieldToken,
			fieldAmount, fieldFrom, fieldTo, fieldDescription),
			map[string]any{"id": goavro.Union("nl.openweb.data.Uuid", uuid[:])}, plain},
		{"no description", transferSchema(fieldID, fieldToken, fieldAmount, fieldFrom, fieldTo), nil,
			with(func(c *bank.ConfirmMoneyTransfer) { c.Description = "" })},
		{"a null description", transferSchema(fieldID, fieldToken, fieldAmount, fieldFrom, fieldTo,
			`{"name":"description","type":["null","string"],"default":null}`), map[string]any{"description": nil},
			with(func(c *bank.ConfirmMoneyTransfer) { c.Description = "" })},
		{"no token", transferSchema(fieldID, fieldAmount, fieldFrom, fieldTo, fieldDescription), nil,
			with(func(c *bank.ConfirmMoneyTransfer) { c.Token = "" })},
		{"text that is no UTF-8 is left to the bank", schemas.Text("ConfirmMoneyTransfer"), map[string]any{"to": "a\x00\xff"},
			with(func(c *bank.ConfirmMoneyTransfer) { c.To = "a\x00\xff" })},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			decoder := schemas.NewDecoder()
			decoder.Learn(7, test.schema)
			got, err := decoder.Decode(write(t, withoutLogicalTypes(test.schema), 7, transferValues(test.changes)))
			if err != nil {
				t.Fatal(err)
			}
			if command, ok := got.(*bank.ConfirmMoneyTransfer); !ok || *command != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func withoutLogicalTypes(schema string) string {
	return strings.ReplaceAll(schema, `"logicalType"`, `"_"`)
}

func TestUnreadableSchemas(t *testing.T) {
	t.Parallel()
	extra := func(typ string) string {
		return transferSchema(fieldID, fieldToken, fieldAmount, fieldFrom, fieldTo, fieldDescription, `{"name":"extra","type":`+typ+`}`)
	}
	var laughs strings.Builder // each record holds ten of the one before: 10^6 values from no bytes at all
	laughs.WriteString(`{"type":"record","name":"L0","fields":[{"name":"n","type":"null"}]}`)
	for i := 1; i <= 6; i++ {
		inner := laughs.String()
		laughs.Reset()
		fmt.Fprintf(&laughs, `{"type":"record","name":"L%d","fields":[{"name":"f0","type":%s}`, i, inner)
		for f := 1; f < 10; f++ {
			fmt.Fprintf(&laughs, `,{"name":"f%d","type":"L%d"}`, f, i-1)
		}
		laughs.WriteString(`]}`)
	}
	for _, test := range []struct{ name, schema, reason string }{
		{"no JSON", "{", "no JSON"},
		{"two schemas", schemas.Text("Heartbeat") + "{}", "goes on after its end"},
		{"no schema", "7", "a type can't be"},
		{"a primitive", `"string"`, "no record"},
		{"a union", `["null","string"]`, "no record"},
		{"another record", `{"type":"record","name":"Other","namespace":"nl.openweb.data","fields":[]}`, "nl.openweb.data.Other is none of"},
		{"the right name in another namespace", `{"type":"record","name":"Heartbeat","namespace":"x","fields":[{"name":"beat","type":"long"}]}`,
			"x.Heartbeat is none of"},
		{"the right name in no namespace", `{"type":"record","name":"Heartbeat","fields":[{"name":"beat","type":"long"}]}`, "Heartbeat is none of"},
		{"no id", transferSchema(fieldToken, fieldAmount, fieldFrom, fieldTo, fieldDescription), "has no field id"},
		{"no amount", transferSchema(fieldID, fieldToken, fieldFrom, fieldTo, fieldDescription), "has no field amount"},
		{"an id of 15 bytes", transferSchema(`{"name":"id","type":{"type":"fixed","name":"Uuid","size":15}}`, fieldToken, fieldAmount, fieldFrom,
			fieldTo, fieldDescription), "field id of record ConfirmMoneyTransfer is fixed(15), which can't be read as fixed(16)"},
		{"an id as text", transferSchema(`{"name":"id","type":"string"}`, fieldToken, fieldAmount, fieldFrom, fieldTo, fieldDescription),
			"is string, which can't be read as fixed(16)"},
		{"an amount as double", transferSchema(fieldID, fieldToken, `{"name":"amount","type":"double"}`, fieldFrom, fieldTo, fieldDescription),
			"is double, which can't be read as long"},
		{"a union without a fitting branch", transferSchema(fieldID, fieldToken, `{"name":"amount","type":["null","string"]}`, fieldFrom, fieldTo,
			fieldDescription), "is union of null and string, which can't be read as long"},
		{"an unknown type", extra(`"Elsewhere"`), "unknown type"},
		{"a type defined twice", extra(`{"type":"fixed","name":"Uuid","size":2}`), "defined twice"},
		{"a type that contains itself", extra(`{"type":"record","name":"R","fields":[{"name":"r","type":["null","R"]}]}`), "contains itself"},
		{"an array of nulls", extra(`{"type":"array","items":"null"}`), "take no bytes"},
		{"an array of empty records", extra(`{"type":"array","items":{"type":"record","name":"E","fields":[]}}`), "take no bytes"},
		{"a type of a million", extra(laughs.String()), "too large"},
		{"a text of 300 KB", strings.Repeat(" ", 300_000) + schemas.Text("Heartbeat"), "it may have 262144"},
		{"maps in maps in maps", extra(strings.Repeat(`{"type":"map","values":`, 5) + `"int"` + strings.Repeat(`}`, 5)), "within each other"},
		{"a fixed of no size", extra(`{"type":"fixed","name":"F","size":0}`), "has no size"},
		{"an enum of no symbols", extra(`{"type":"enum","name":"E"}`), "not valid"},
		{"an empty union", extra(`[]`), "without branches"},
		{"a reference of Protobuf", `syntax = "proto3";`, "no JSON"},
		{"100,000 brackets", strings.Repeat("[", 100000), "no JSON"},
		{"a type in a type in a type", strings.Repeat(`{"type":`, 5000) + `"int"` + strings.Repeat(`}`, 5000), "no record"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			decoder := schemas.NewDecoder()
			decoder.Learn(7, test.schema)
			_, err := decoder.Decode([]byte{0, 0, 0, 0, 7, 1, 2, 3})
			var unreadable *schemas.UnreadableError
			if !errors.As(err, &unreadable) || !strings.Contains(unreadable.Reason, test.reason) || len(unreadable.Reason) > 310 {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestUnreadableRecords(t *testing.T) {
	t.Parallel()
	enum := func(symbols string) string {
		return strings.ReplaceAll(schemas.Text("ConfirmAccountCreation"), `"AUTO", "MANUAL"`, symbols)
	}
	nullable := strings.ReplaceAll(schemas.Text("MoneyTransferFailed"), `"string"`, `["null", "string", "long"]`)
	hostile := strings.TrimSuffix(strings.TrimSpace(schemas.Text("Heartbeat")), "]\n}") + `,{"name":"l","type":{"type":"array","items":"long"}}]}`
	header, id := "\x00\x00\x00\x00\x07", string(uuid[:])
	for _, test := range []struct{ name, schema, wire, reason string }{
		{"an empty value", schemas.Text("Heartbeat"), "", "0 bytes are too few"},
		{"half a header", schemas.Text("Heartbeat"), "\x00\x00\x00\x00", "4 bytes are too few"},
		{"another magic byte", schemas.Text("Heartbeat"), "\x01\x00\x00\x00\x07\x00", "the first byte is 1"},
		{"JSON", schemas.Text("Heartbeat"), `{"beat":1}`, "the first byte is 123"},
		{"a negative schema id", schemas.Text("Heartbeat"), "\x00\xff\xff\xff\xff\x00", "-1 can't be a schema id"},
		{"no payload", schemas.Text("Heartbeat"), header, "short buffer"},
		{"a truncated number", schemas.Text("Heartbeat"), header + "\x80", "short buffer"},
		{"a truncated id", schemas.Text("MoneyTransferConfirmed"), header + id[1:], "short buffer"},
		{"a truncated text", schemas.Text("MoneyTransferFailed"), header + id + "\x08abc", "short buffer"},
		{"a text of a negative length", schemas.Text("MoneyTransferFailed"), header + id + "\x07abc", "negative size"},
		{"a text of 2^62 bytes", schemas.Text("MoneyTransferFailed"), header + id + "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01abc", "short buffer"},
		{"a byte too many", schemas.Text("MoneyTransferConfirmed"), header + id + "\x00", "1 bytes too many"},
		{"a symbol that does not exist", schemas.Text("ConfirmAccountCreation"), header + id + "\x04", "between 0 and 1"},
		{"a symbol that we don't know", enum(`"AUTO", "MANUAL", "ROBOT"`), header + id + "\x04", "a_type is ROBOT, which is no account type"},
		{"a null that has no default", nullable, header + id + "\x00", "reason is null"},
		{"a branch that we can't read", nullable, header + id + "\x04\x02", "reason is long"},
		{"an array that claims 2^30 items", hostile, header + "\x00\x80\x80\x80\x80\x08", "exceeds MaxBlockCount"},
		{"an array block of the lowest count", hostile, header + "\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "block count"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			decoder := schemas.NewDecoder()
			decoder.Learn(7, test.schema)
			message, err := decoder.Decode([]byte(test.wire))
			var unreadable *schemas.UnreadableError
			if !errors.As(err, &unreadable) || !strings.Contains(unreadable.Reason, test.reason) || message != nil {
				t.Errorf("got %v, %v", message, err)
			}
		})
	}
	t.Run("a null value", func(t *testing.T) {
		t.Parallel()
		var unreadable *schemas.UnreadableError
		if _, err := schemas.NewDecoder().Decode(nil); !errors.As(err, &unreadable) || unreadable.Reason != "the value is null" {
			t.Errorf("got %v", err)
		}
	})
}

func TestEveryTruncationIsUnreadable(t *testing.T) {
	t.Parallel()
	for _, test := range golden {
		decoder := schemas.NewDecoder()
		decoder.Learn(goldenID, schemas.Text(test.record))
		wire := bytesOf(t, test.wire)
		for length := range wire {
			var unreadable *schemas.UnreadableError
			if message, err := decoder.Decode(wire[:length]); !errors.As(err, &unreadable) {
				t.Errorf("%s: the first %d of %d bytes: %v, %v", test.record, length, len(wire), message, err)
			}
		}
	}
}

func TestAMessageKeepsNothingOfTheBuffer(t *testing.T) {
	t.Parallel()
	for _, test := range golden {
		decoder := schemas.NewDecoder()
		decoder.Learn(goldenID, schemas.Text(test.record))
		wire := bytesOf(t, test.wire)
		got, err := decoder.Decode(wire)
		if err != nil {
			t.Fatal(err)
		}
		copy(wire, bytes.Repeat([]byte{0xee}, len(wire)))
		if !reflect.DeepEqual(got, test.message) {
			t.Errorf("%s became %+v", test.record, got)
		}
	}
}

func TestUnknownSchemasAreLearnedWhileOthersDecode(t *testing.T) {
	t.Parallel()
	decoder := schemas.NewDecoder()
	var unknown *schemas.UnknownSchemaError
	if _, err := decoder.Decode([]byte{0, 0, 0, 1, 0, 0}); !errors.As(err, &unknown) || unknown.ID != 256 {
		t.Fatalf("got %v", err)
	}
	var group sync.WaitGroup
	for id := range 50 {
		group.Go(func() {
			test := golden[id%len(golden)]
			wire := bytesOf(t, test.wire)
			binary.BigEndian.PutUint32(wire[1:], uint32(id))
			for {
				got, err := decoder.Decode(wire)
				if unknown := (*schemas.UnknownSchemaError)(nil); errors.As(err, &unknown) {
					decoder.Learn(id, schemas.Text(test.record))
					continue
				}
				if err != nil || !reflect.DeepEqual(got, test.message) {
					t.Errorf("id %d: got %+v, %v", id, got, err)
				}
				return
			}
		})
	}
	group.Wait()
}
