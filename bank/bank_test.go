package bank_test

import (
	"encoding/json"
	"testing"

	"go.uber.org/goleak"

	"openbank/bank"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseID(t *testing.T) {
	t.Parallel()
	id := bank.ID{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10}
	const text = "01234567-89ab-cdef-fedc-ba9876543210"

	t.Run("the text of an id is lower case and in network order", func(t *testing.T) {
		t.Parallel()
		if got := id.String(); got != text {
			t.Errorf("got %s, want %s", got, text)
		}
		if got, err := json.Marshal(id); err != nil || string(got) != `"`+text+`"` {
			t.Errorf("as JSON: got %s, %v", got, err)
		}
	})
	for _, accepted := range []string{text, "01234567-89AB-CDEF-FEDC-BA9876543210"} {
		t.Run("accepts "+accepted, func(t *testing.T) {
			t.Parallel()
			if got, err := bank.ParseID(accepted); err != nil || got != id {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
	for _, refused := range []string{
		"", "0", "0123456789abcdeffedcba9876543210", text + "0", " " + text[1:],
		"{1234567-89ab-cdef-fedc-ba987654321}", "0123456789ab-cdef-fedc-ba98-76543210", "g1234567-89ab-cdef-fedc-ba9876543210",
	} {
		t.Run("refuses "+refused, func(t *testing.T) {
			t.Parallel()
			if got, err := bank.ParseID(refused); err == nil || got != (bank.ID{}) {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}

func TestAccountTypesAreTheSymbolsOfAtype(t *testing.T) {
	t.Parallel()
	for accountType, want := range map[bank.AccountType]bool{"AUTO": true, "MANUAL": true, "": false, "auto": false} {
		if got := accountType.Valid(); got != want {
			t.Errorf("%q: got %t, want %t", accountType, got, want)
		}
	}
}

func TestTheCompanyAccountIsAsTheStackHasIt(t *testing.T) {
	t.Parallel()
	want := bank.Account{
		IBAN: "NL66OPEN0000000000", Token: "00000000000000000000", Type: "AUTO",
		Balance: 100000000000000000, Limit: -50000,
	}
	if got := *bank.Company(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
