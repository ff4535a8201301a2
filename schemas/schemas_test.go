package schemas_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"openbank/bank"
	"openbank/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const goldenID = 258 // 00000102 on the wire

var uuid = bank.ID{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10}

// golden has each record's bytes as a program of its own wrote them from Avro's specification.
var golden = []struct {
	record, wire string
	message      any
}{
	{"Heartbeat", "00 00000102 8eda9601", &schemas.Heartbeat{Beat: 1234567}},
	{"ConfirmAccountCreation", "00 00000102 0123456789abcdeffedcba9876543210 02",
		&bank.ConfirmAccountCreation{ID: uuid, Type: bank.Manual}},
	{"AccountCreationConfirmed", "00 00000102 0123456789abcdeffedcba9876543210 244e4c36364f50454e30303030303030303030 " +
		"283031323334353637383930313233343536373839 00",
		&bank.AccountCreationConfirmed{ID: uuid, IBAN: "NL66OPEN0000000000", Token: "01234567890123456789", Type: bank.Auto}},
	{"AccountCreationFailed", "00 00000102 0123456789abcdeffedcba9876543210 " +
		"5067656e657261746564206962616e20616c7265616479206578697374732c2074727920616761696e",
		&bank.AccountCreationFailed{ID: uuid, Reason: "generated iban already exists, try again"}},
	{"ConfirmMoneyTransfer", "00 00000102 0123456789abcdeffedcba9876543210 283031323334353637383930313233343536373839 9e1f " +
		"244e4c36364f50454e30303030303030303030 10436166c3a920cea9 00",
		&bank.ConfirmMoneyTransfer{ID: uuid, Token: "01234567890123456789", Amount: 1999, From: "NL66OPEN0000000000", To: "Café Ω"}},
	{"MoneyTransferConfirmed", "00 00000102 0123456789abcdeffedcba9876543210", &bank.MoneyTransferConfirmed{ID: uuid}},
	{"MoneyTransferFailed", "00 00000102 0123456789abcdeffedcba9876543210 24696e73756666696369656e742066756e6473",
		&bank.MoneyTransferFailed{ID: uuid, Reason: "insufficient funds"}},
	{"BalanceChanged", "00 00000102 244e4c36364f50454e30303030303030303030 e2e0cfd88bdea2e302 9d1f 10436166c3a920cea9 1267726f636572696573",
		&bank.BalanceChanged{
			IBAN: "NL66OPEN0000000000", NewBalance: 99999999999998001, ChangedBy: -1999, FromTo: "Café Ω", Description: "groceries",
		}},
}

func bytesOf(t testing.TB, text string) []byte {
	t.Helper()
	wire, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// jvm is the schema as a JVM service registers it: strings carry an attribute.
func jvm(record string) string {
	return strings.ReplaceAll(schemas.Text(record), `"type": "string"`, `"type": {"type": "string", "avro.java.string": "String"}`)
}

func TestGoldenBytes(t *testing.T) {
	t.Parallel()
	if len(golden) != len(schemas.Names) {
		t.Fatalf("%d golden records, want %d", len(golden), len(schemas.Names))
	}
	for i, test := range golden {
		if test.record != schemas.Names[i] {
			t.Errorf("record %d is %s, want %s", i, schemas.Names[i], test.record)
		}
		for variant, schema := range map[string]string{"our schema": schemas.Text(test.record), "the JVM's schema": jvm(test.record)} {
			t.Run(fmt.Sprintf("%s by %s", test.record, variant), func(t *testing.T) {
				t.Parallel()
				want := bytesOf(t, test.wire)
				encoder, err := schemas.NewEncoder(test.record, goldenID, schema)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := encoder.Append([]byte("before"), test.message); err != nil || string(got) != "before"+string(want) {
					t.Errorf("encoding: got %x, %v, want %x", got, err, want)
				}
				decoder := schemas.NewDecoder()
				decoder.Learn(goldenID, schema)
				if got, err := decoder.Decode(want); err != nil || !reflect.DeepEqual(got, test.message) {
					t.Errorf("decoding: got %+v, %v, want %+v", got, err, test.message)
				}
			})
		}
	}
}

// The facts of the stack, as a list of their own: name, then field and type.
func TestTheSchemasAreThoseOfTheStack(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"Heartbeat":                "beat:long",
		"ConfirmAccountCreation":   "id:Uuid a_type:Atype",
		"AccountCreationConfirmed": "id:Uuid iban:string token:string a_type:Atype",
		"AccountCreationFailed":    "id:Uuid reason:string",
		"ConfirmMoneyTransfer":     "id:Uuid token:string amount:long from:string to:string description:string",
		"MoneyTransferConfirmed":   "id:Uuid",
		"MoneyTransferFailed":      "id:Uuid reason:string",
		"BalanceChanged":           "iban:string new_balance:long changed_by:long from_to:string description:string",
	}
	for _, record := range schemas.Names {
		var schema struct {
			Type, Name, Namespace string
			Fields                []struct {
				Name string
				Type any
			}
		}
		if err := json.Unmarshal([]byte(schemas.Text(record)), &schema); err != nil {
			t.Fatal(err)
		}
		var fields []string
		for _, field := range schema.Fields {
			typ := field.Type
			if named, ok := typ.(map[string]any); ok {
				typ = named["name"]
			}
			fields = append(fields, fmt.Sprintf("%s:%s", field.Name, typ))
		}
		if got := strings.Join(fields, " "); got != want[record] || schema.Type != "record" || schema.Name != record || schema.Namespace != "nl.openweb.data" {
			t.Errorf("%s.%s (%s): %s", schema.Namespace, schema.Name, schema.Type, got)
		}
	}
}

func TestSubjectsFollowTopicRecordNameStrategy(t *testing.T) {
	t.Parallel()
	const want = "confirm_money_transfer-nl.openweb.data.ConfirmMoneyTransfer"
	if got := schemas.Subject("confirm_money_transfer", "ConfirmMoneyTransfer"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
