package schemas_test

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/linkedin/goavro/v2"
	"pgregory.net/rapid"

	"openbank/bank"
	"openbank/schemas"
)

// failedSchema is MoneyTransferFailed with this type of reason and these fields besides.
func failedSchema(reason string, extras ...string) string {
	fields := append([]string{fieldID, `{"name":"reason","type":` + reason + `}`}, extras...)
	return `{"type":"record","name":"MoneyTransferFailed","namespace":"nl.openweb.data","fields":[` + strings.Join(fields, ",") + `]}`
}

func TestEncodeByTheRegisteredSchema(t *testing.T) {
	t.Parallel()
	message := &bank.MoneyTransferFailed{ID: uuid, Reason: "no"}
	head := "\x00\x00\x00\x00\x09" + string(uuid[:])
	for _, test := range []struct{ name, schema, want string }{
		{"as we have it", schemas.Text("MoneyTransferFailed"), head + "\x04no"},
		{"fields in another order", `{"type":"record","name":"nl.openweb.data.MoneyTransferFailed","fields":[{"name":"reason","type":"string"},` +
			fieldID + `]}`, head[:5] + "\x04no" + head[5:]},
		{"a nullable field of ours", failedSchema(`["null","string"]`), head + "\x02\x04no"},
		{"a nullable field of ours, null last", failedSchema(`["string","null"]`), head + "\x00\x04no"},
		{"an attribute inside a union", failedSchema(`["null",{"type":"string","avro.java.string":"String"}]`), head + "\x02\x04no"},
		{"defaults of primitives", failedSchema(`"string"`, `{"name":"a","type":"long","default":9007199254740993}`,
			`{"name":"b","type":"int","default":-1}`, `{"name":"c","type":"boolean","default":true}`, `{"name":"d","type":"string","default":"é"}`,
			`{"name":"e","type":"bytes","default":"\u00ff"}`, `{"name":"f","type":"double","default":1}`, `{"name":"g","type":"null","default":null}`,
			`{"name":"h","type":"float","default":1.5}`),
			head + "\x04no" + "\x82\x80\x80\x80\x80\x80\x80\x20" + "\x01" + "\x01" + "\x04é" + "\x02\xff" + "\x00\x00\x00\x00\x00\x00\xf0\x3f" + "\x00\x00\xc0\x3f"},
		{"a null default of a nullable string", failedSchema(`"string"`, `{"name":"a","type":["null","string"],"default":null}`), head + "\x04no\x00"},
		{"a text default of a nullable string", failedSchema(`"string"`, `{"name":"a","type":["string","null"],"default":"x"}`), head + "\x04no\x00\x02x"},
		{"a default of the second branch", failedSchema(`"string"`, `{"name":"a","type":["null","long"],"default":1}`), head + "\x04no\x02\x02"},
		{"an enum default", failedSchema(`"string"`, `{"name":"a","type":{"type":"enum","name":"E","symbols":["X","Y"]},"default":"Y"}`), head + "\x04no\x02"},
		{"a fixed default", failedSchema(`"string"`, `{"name":"a","type":{"type":"fixed","name":"F","size":2},"default":"\u0000\u0080"}`), head + "\x04no\x00\x80"},
		{"an empty array and an empty map", failedSchema(`"string"`, `{"name":"a","type":{"type":"array","items":"int"},"default":[]}`,
			`{"name":"b","type":{"type":"map","values":"int"},"default":{}}`), head + "\x04no\x00\x00"},
		{"an array and a map with items", failedSchema(`"string"`, `{"name":"a","type":{"type":"array","items":"int"},"default":[1]}`,
			`{"name":"b","type":{"type":"map","values":"int"},"default":{"k":1}}`), head + "\x04no\x02\x02\x00\x02\x02k\x02\x00"},
		{"a record default with a default inside", failedSchema(`"string"`, `{"name":"a","type":{"type":"record","name":"R","fields":[
			{"name":"x","type":"int"},{"name":"y","type":"string","default":"z"}]},"default":{"x":1}}`), head + "\x04no\x02\x02z"},
		{"a logical type", failedSchema(`"string"`, `{"name":"a","type":{"type":"long","logicalType":"timestamp-millis"},"default":3}`), head + "\x04no\x06"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			encoder, err := schemas.NewEncoder("MoneyTransferFailed", 9, test.schema)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time from the pool
				if got, err := encoder.Append(nil, message); err != nil || string(got) != test.want {
					t.Fatalf("got  %q, %v\nwant %q", got, err, test.want)
				}
			}
			decoder := schemas.NewDecoder()
			decoder.Learn(9, test.schema)
			if got, err := decoder.Decode([]byte(test.want)); err != nil || !reflect.DeepEqual(got, message) {
				t.Errorf("decoding it: %+v, %v", got, err)
			}
			if encoder.ID() != 9 {
				t.Errorf("id %d", encoder.ID())
			}
		})
	}
}

func TestIncompatibleSchemas(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, record, schema, want string }{
		{"no JSON", "Heartbeat", "", "schema 9 does not fit nl.openweb.data.Heartbeat: the schema is no JSON"},
		{"another record", "Heartbeat", schemas.Text("BalanceChanged"),
			"it is of record nl.openweb.data.BalanceChanged, and has to be of record nl.openweb.data.Heartbeat"},
		{"no record", "Heartbeat", `"long"`, "it is of long"},
		{"a field of ours is missing", "MoneyTransferFailed", strings.Replace(failedSchema(`"string"`), "reason", "why", 1),
			"field why is not one that we write, so it needs a default; field reason is missing; it has to be there as string"},
		{"another type", "MoneyTransferFailed", failedSchema(`"bytes"`), "field reason is bytes; it has to be string"},
		{"a narrower type", "Heartbeat", strings.Replace(schemas.Text("Heartbeat"), `"long"`, `"int"`, 1), "field beat is int; it has to be long"},
		{"a union without our type", "MoneyTransferFailed", failedSchema(`["null","bytes"]`), "field reason is union of null and bytes"},
		{"a shorter id", "MoneyTransferFailed", strings.Replace(failedSchema(`"string"`), "16", "8", 1), "field id is fixed(8); it has to be fixed(16)"},
		{"an enum without one of our symbols", "ConfirmAccountCreation",
			strings.Replace(schemas.Text("ConfirmAccountCreation"), `"AUTO", `, "", 1), "field a_type is enum of MANUAL; it has to be enum of AUTO, MANUAL"},
		{"a default of another type", "MoneyTransferFailed", failedSchema(`"string"`, `{"name":"a","type":"int","default":"1"}`), `the default "1" is no int`},
		{"a default beyond the type", "MoneyTransferFailed", failedSchema(`"string"`, `{"name":"a","type":"int","default":2147483648}`), "is no int"},
		{"a default that is no symbol", "MoneyTransferFailed",
			failedSchema(`"string"`, `{"name":"a","type":{"type":"enum","name":"E","symbols":["X"]},"default":"Z"}`), "is no enum of X"},
		{"a fixed default of another length", "MoneyTransferFailed",
			failedSchema(`"string"`, `{"name":"a","type":{"type":"fixed","name":"F","size":2},"default":"x"}`), "is no fixed(2)"},
		{"names that Avro forbids", "MoneyTransferFailed", failedSchema(`"string"`, `{"name":"a b","type":"int","default":1}`), "not valid"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			encoder, err := schemas.NewEncoder(test.record, 9, test.schema)
			var incompatible *schemas.IncompatibleError
			if !errors.As(err, &incompatible) || !strings.Contains(err.Error(), test.want) || encoder != nil {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("an id that fits no record", func(t *testing.T) {
		t.Parallel()
		for _, id := range []int{-1, math.MaxInt32 + 1} {
			if _, err := schemas.NewEncoder("Heartbeat", id, schemas.Text("Heartbeat")); err == nil {
				t.Errorf("%d is accepted", id)
			}
		}
	})
}

func TestAppendRefusesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	// The extra field has the name of a field of another message, which must not get its default changed.
	schema := strings.Replace(schemas.Text("MoneyTransferConfirmed"), "\n  ]", `,{"name":"reason","type":"string","default":"none"}]`, 1)
	encoder, err := schemas.NewEncoder("MoneyTransferConfirmed", 9, schema)
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []any{&bank.MoneyTransferFailed{ID: uuid, Reason: "other"}, bank.MoneyTransferConfirmed{}, nil, "text"} {
		if got, err := encoder.Append([]byte("before"), wrong); err == nil || string(got) != "before" {
			t.Errorf("%T: got %q, %v", wrong, got, err)
		}
		want := "\x00\x00\x00\x00\x09" + string(uuid[:]) + "\x08none"
		if got, err := encoder.Append(nil, &bank.MoneyTransferConfirmed{ID: uuid}); err != nil || string(got) != want {
			t.Errorf("after a %T: got %q, %v", wrong, got, err)
		}
	}
	creation, err := schemas.NewEncoder("ConfirmAccountCreation", 9, schemas.Text("ConfirmAccountCreation"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := creation.Append([]byte("before"), &bank.ConfirmAccountCreation{Type: "ROBOT"}); err == nil || string(got) != "before" {
		t.Errorf("an unknown account type: got %q, %v", got, err)
	}
}

func TestWhatIsEncodedIsDecoded(t *testing.T) {
	t.Parallel()
	decoder := schemas.NewDecoder()
	encoders := map[string]*schemas.Encoder{}
	for i, record := range schemas.Names {
		var err error
		if encoders[record], err = schemas.NewEncoder(record, i, jvm(record)); err != nil {
			t.Fatal(err)
		}
		decoder.Learn(i, jvm(record))
	}
	text, id := rapid.String(), rapid.Custom(func(t *rapid.T) (id bank.ID) {
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		return id
	})
	rapid.Check(t, func(t *rapid.T) {
		message := rapid.SampledFrom([]any{
			&schemas.Heartbeat{Beat: rapid.Int64().Draw(t, "beat")},
			&bank.ConfirmMoneyTransfer{
				ID: id.Draw(t, "id"), Token: text.Draw(t, "token"), Amount: rapid.Int64().Draw(t, "amount"), From: text.Draw(t, "from"),
				To: text.Draw(t, "to"), Description: text.Draw(t, "description"),
			},
			&bank.AccountCreationConfirmed{
				ID: id.Draw(t, "id"), IBAN: text.Draw(t, "iban"), Token: text.Draw(t, "token"),
				Type: rapid.SampledFrom([]bank.AccountType{bank.Auto, bank.Manual}).Draw(t, "type"),
			},
			&bank.BalanceChanged{
				IBAN: text.Draw(t, "iban"), NewBalance: rapid.Int64().Draw(t, "new"), ChangedBy: rapid.Int64().Draw(t, "by"),
				FromTo: text.Draw(t, "from to"), Description: text.Draw(t, "description"),
			},
		}).Draw(t, "message")
		record := reflect.TypeOf(message).Elem().Name()
		wire, err := encoders[record].Append(nil, message)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decoder.Decode(wire); err != nil || !reflect.DeepEqual(got, message) {
			t.Fatalf("got %+v, %v, want %+v", got, err, message)
		}
		codec, err := goavro.NewCodec(schemas.Text(record))
		if err != nil {
			t.Fatal(err)
		}
		if _, rest, err := codec.NativeFromBinary(wire[5:]); err != nil || len(rest) > 0 {
			t.Fatalf("a plain reader: %d bytes left, %v", len(rest), err)
		}
	})
}

func TestOneEncoderServesManyGoroutines(t *testing.T) {
	t.Parallel()
	encoder, err := schemas.NewEncoder("MoneyTransferFailed", 9, failedSchema(`["null","string"]`))
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			message := &bank.MoneyTransferFailed{ID: bank.ID{byte(i)}, Reason: strings.Repeat("x", i)}
			want, err := encoder.Append(nil, message)
			for range 100 {
				got, again := encoder.Append(nil, message)
				if err != nil || again != nil || !bytes.Equal(got, want) || len(got) != 23+i {
					t.Errorf("got %q, %v, %v", got, err, again)
					return
				}
			}
		})
	}
	group.Wait()
}
