package bank_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"math/big"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"openbank/bank"
)

// ibanOf writes an IBAN as the rule has it, by big integers: an independent second implementation.
func ibanOf(account string) string {
	n, ok := new(big.Int).SetString("24251423"+account+"232100", 10)
	if !ok {
		panic(account)
	}
	check := big.NewInt(98)
	check.Sub(check, n.Mod(n, big.NewInt(97)))
	digits := check.String()
	if len(digits) == 1 {
		digits = "0" + digits
	}
	return "NL" + digits + "OPEN" + account
}

func TestValidIBAN(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text string
		want       bool
	}{
		{"the company's", "NL66OPEN0000000000", true},
		{"the empty text", "", false},
		{"cash", "cash", false},
		{"wrong check digits", "NL67OPEN0000000000", false},
		{"check digits that are no digits", "NLAAOPEN0000000000", false},
		{"another bank", "NL66ABNA0000000000", false},
		{"another country", "BE66OPEN0000000000", false},
		{"lower case", "nl66open0000000000", false},
		{"17 characters", "NL66OPEN000000000", false},
		{"19 characters", "NL66OPEN00000000000", false},
		{"a letter in the account", "NL66OPEN00000000O0", false},
		{"spaces", "NL66 OPEN 00000000", false},
		{"18 bytes that are not ASCII", "NL66OPENéééééééééé"[:18], false},
		{"check digits that are right modulo 97 but not the ones written", shiftCheckDigits(t), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := bank.ValidIBAN(test.text); got != test.want {
				t.Errorf("ValidIBAN(%q) = %t, want %t", test.text, got, test.want)
			}
		})
	}
}

// shiftCheckDigits returns an IBAN whose check digits are 97 more than the right ones, which the remainder can't tell.
func shiftCheckDigits(t *testing.T) string {
	t.Helper()
	for i := range 1000 {
		account := big.NewInt(int64(i)).String()
		iban := ibanOf(strings.Repeat("0", 10-len(account)) + account)
		if iban[2:4] == "02" {
			return "NL99" + iban[4:]
		}
	}
	t.Fatal("no account with check digits 02")
	return ""
}

func TestEveryAccountHasOneValidIBAN(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		account := rapid.StringMatching(`[0-9]{10}`).Draw(t, "account")
		iban := ibanOf(account)
		if !bank.ValidIBAN(iban) {
			t.Fatalf("%s is refused", iban)
		}
		for check := range 100 {
			other := iban[:2] + string([]byte{byte('0' + check/10), byte('0' + check%10)}) + iban[4:]
			if bank.ValidIBAN(other) != (other == iban) {
				t.Fatalf("%s besides %s", other, iban)
			}
		}
		at := rapid.IntRange(0, len(iban)-1).Draw(t, "at")
		b := rapid.Byte().Draw(t, "b")
		if changed := iban[:at] + string([]byte{b}) + iban[at+1:]; changed != iban && bank.ValidIBAN(changed) {
			t.Fatalf("one changed character goes unnoticed: %q", changed)
		}
	})
}

func TestNewIBANsAreValidAndStartWithZero(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		random := rapid.SliceOfN(rapid.ByteRange(0, 249), 9, 9).Draw(t, "random")
		iban, err := bank.NewIBAN(bytes.NewReader(random))
		if err != nil {
			t.Fatal(err)
		}
		if !bank.ValidIBAN(iban) || iban[8] != '0' || iban != ibanOf(iban[8:]) {
			t.Fatal(iban)
		}
	})
}

func TestDrawnDigits(t *testing.T) {
	t.Parallel()
	t.Run("bytes of 250 and more are drawn again", func(t *testing.T) {
		t.Parallel()
		random := append(bytes.Repeat([]byte{255, 250}, 10), 249, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
		token, err := bank.NewToken(bytes.NewReader(random))
		if err != nil || token != "90123456789012345678" {
			t.Errorf("got %s, %v", token, err)
		}
	})
	t.Run("each accepted byte value gives each digit equally often", func(t *testing.T) {
		t.Parallel()
		all := make([]byte, 0, 260)
		for b := range 256 {
			all = append(all, byte(b))
		}
		// 250 digits are asked for in all, a token's worth at a time, from a source that never repeats a byte.
		source := bytes.NewReader(append(all, make([]byte, 10)...))
		counts := map[rune]int{}
		for range 12 {
			token, err := bank.NewToken(source)
			if err != nil {
				t.Fatal(err)
			}
			for _, digit := range token {
				counts[digit]++
			}
		}
		for digit, count := range counts {
			if count != 24 {
				t.Errorf("%c: %d times out of 240", digit, count)
			}
		}
	})
	t.Run("tokens from crypto/rand are 20 digits and differ", func(t *testing.T) {
		t.Parallel()
		seen := map[string]bool{}
		for range 1000 {
			token, err := bank.NewToken(rand.Reader)
			if err != nil || len(token) != 20 || strings.Trim(token, "0123456789") != "" || seen[token] {
				t.Fatalf("got %q, %v", token, err)
			}
			seen[token] = true
		}
	})
	t.Run("digits are uniform as far as chi-square over 200,000 of them can tell", func(t *testing.T) {
		t.Parallel()
		var counts [10]float64
		for range 10000 {
			token, err := bank.NewToken(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			for i := range len(token) {
				counts[token[i]-'0']++
			}
		}
		var chi2 float64
		for _, count := range counts {
			chi2 += (count - 20000) * (count - 20000) / 20000
		}
		if chi2 > 60 { // 9 degrees of freedom: once in 700 million runs
			t.Errorf("chi-square %.1f, counts %v", chi2, counts)
		}
	})
	t.Run("a failing source is an error, and so is one that never gives a usable byte", func(t *testing.T) {
		t.Parallel()
		broken := errors.New("broken")
		if _, err := bank.NewToken(iotest.ErrReader(broken)); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		if _, err := bank.NewIBAN(bytes.NewReader([]byte{1, 2})); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v", err)
		}
		if token, err := bank.NewToken(endless(255)); err == nil {
			t.Errorf("got %s", token)
		}
	})
}

type endless byte

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(e)
	}
	return len(p), nil
}
