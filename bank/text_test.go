package bank_test

import (
	"encoding/hex"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"openbank/bank"
)

func TestTextReason(t *testing.T) {
	t.Parallel()
	type command = bank.ConfirmMoneyTransfer
	for _, test := range []struct {
		name    string
		command command
		want    string
	}{
		{"empty texts are fine here", command{}, ""},
		{"every text at its limit", command{
			Token: strings.Repeat("t", 64), From: strings.Repeat("f", 64), To: strings.Repeat("é", 128),
			Description: strings.Repeat("\U0001f4b6", 1024),
		}, ""},
		{"a token of 65 bytes", command{Token: strings.Repeat("1", 65)}, "token is too long"},
		{"a from of 65 bytes", command{From: strings.Repeat("1", 65)}, "from is too long"},
		{"a to of 257 bytes", command{To: strings.Repeat("1", 257)}, "to is too long"},
		{"limits count bytes, not characters", command{To: strings.Repeat("é", 129)}, "to is too long"},
		{"a description of 4,097 bytes", command{Description: strings.Repeat("1", 4097)}, "description is too long"},
		{"NUL in the token", command{Token: "1\x00"}, "token is not valid text"},
		{"NUL in from", command{From: "\x00"}, "from is not valid text"},
		{"NUL in to", command{To: "a\x00b"}, "to is not valid text"},
		{"NUL in the description", command{Description: "a\x00b"}, "description is not valid text"},
		{"invalid UTF-8 in the token", command{Token: "\xff"}, "token is not valid text"},
		{"a surrogate in UTF-8 in from", command{From: "\xed\xa0\x80"}, "from is not valid text"},
		{"an overlong encoding in to", command{To: "\xc0\x80"}, "to is not valid text"},
		{"a cut character in the description", command{Description: "caf\xc3"}, "description is not valid text"},
		{"the replacement character is text", command{Description: "\ufffd"}, ""},
		{"the first unfit text is named", command{Token: "\x00", From: "\x00", To: "\x00", Description: "\x00"}, "token is not valid text"},
		{"from comes before to", command{To: "\x00", From: strings.Repeat("1", 65)}, "from is too long"},
		{"too long comes before not valid", command{To: strings.Repeat("\xff", 257)}, "to is too long"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := test.command.TextReason(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestTextsThatPassCanBeStored(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOfN(rapid.Byte(), 0, 80).Draw(t, "text"))
		c := bank.ConfirmMoneyTransfer{Token: text, From: text, To: text, Description: text}
		fits := len(text) <= 64 && utf8.ValidString(text) && !strings.Contains(text, "\x00")
		if got := c.TextReason() == ""; got != fits {
			t.Fatalf("%q passes: %t", text, got)
		}
	})
}

// These bytes are in databases: a change here is a wrong change of Fingerprint.
func TestFingerprintNeverChanges(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		command bank.ConfirmMoneyTransfer
		want    string
	}{
		{"an empty command", bank.ConfirmMoneyTransfer{}, "9d908ecfb6b256de"},
		{"a payment", bank.ConfirmMoneyTransfer{
			Token: "01234567890123456789", Amount: 1999, From: "NL66OPEN0000000000", To: "Albert Heijn BV", Description: "groceries",
		}, "998a739fa0fb797b"},
		{"a refused amount and texts beyond ASCII", bank.ConfirmMoneyTransfer{
			Token: "\xff\x00", Amount: math.MinInt64, From: "cash", To: "Café Ω", Description: strings.Repeat("é", 4096),
		}, "57d40fcee5028a22"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := test.command.Fingerprint()
			if hex.EncodeToString(got[:]) != test.want {
				t.Errorf("got %x, want %s", got, test.want)
			}
		})
	}
}

func TestFingerprintTellsCommandsApart(t *testing.T) {
	t.Parallel()
	text := rapid.SampledFrom([]string{"", "a", "b", "aa", "ab", "\x00", "\x00\x00\x00\x01a", strings.Repeat("x", 400)})
	amount := rapid.SampledFrom([]int64{0, 1, -1, 256, math.MaxInt64, math.MinInt64})
	command := rapid.Custom(func(t *rapid.T) bank.ConfirmMoneyTransfer {
		return bank.ConfirmMoneyTransfer{
			Token: text.Draw(t, "token"), Amount: amount.Draw(t, "amount"), From: text.Draw(t, "from"), To: text.Draw(t, "to"),
			Description: text.Draw(t, "description"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := command.Draw(t, "a"), command.Draw(t, "b")
		if (a.Fingerprint() == b.Fingerprint()) != (a == b) {
			t.Fatalf("%+v and %+v", a, b)
		}
		b = a
		b.ID = bank.ID{1}
		if a.Fingerprint() != b.Fingerprint() {
			t.Fatal("the id counts")
		}
	})
}

func BenchmarkFingerprint(b *testing.B) {
	c := payment()
	b.ReportAllocs()
	for b.Loop() {
		c.Fingerprint()
	}
}

func TestFingerprintAllocatesNothing(t *testing.T) {
	c := payment()
	if allocs := testing.AllocsPerRun(100, func() { c.Fingerprint() }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
