package bank

import (
	"errors"
	"fmt"
	"io"
)

const (
	ibanCountry = "NL"
	ibanBank    = "OPEN"
	ibanLength  = 18 // country, 2 check digits, bank, account
	ibanAccount = 8  // where the 10 digits of the account start

	tokenLength = 20
)

// NewIBAN draws an open-bank IBAN: the first of its 10 digits is 0, the other nine are uniform. It fails only when
// random does.
func NewIBAN(random io.Reader) (string, error) {
	var iban [ibanLength]byte
	copy(iban[:], ibanCountry+"00"+ibanBank+"0")
	if err := randomDigits(random, iban[ibanAccount+1:]); err != nil {
		return "", fmt.Errorf("drawing an iban: %w", err)
	}
	check := checkDigits(string(iban[ibanAccount:]))
	iban[2], iban[3] = check[0], check[1]
	return string(iban[:]), nil
}

// NewToken draws a token: 20 uniform decimal digits. It fails only when random does.
func NewToken(random io.Reader) (string, error) {
	var token [tokenLength]byte
	if err := randomDigits(random, token[:]); err != nil {
		return "", fmt.Errorf("drawing a token: %w", err)
	}
	return string(token[:]), nil
}

// ValidIBAN reports whether text has the form of an open-bank IBAN and the right check digits. The first of the 10
// digits may be any here, though NewIBAN only makes those with a 0: that is how the earlier handlers check.
func ValidIBAN(text string) bool {
	if len(text) != ibanLength || text[:2] != ibanCountry || text[4:ibanAccount] != ibanBank {
		return false
	}
	for i := ibanAccount; i < ibanLength; i++ {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	check := checkDigits(text[ibanAccount:])
	return text[2] == check[0] && text[3] == check[1]
}

// checkDigits applies ISO 7064 MOD 97-10 as ISO 13616 has it: 98 less the remainder of OPEN, the account, NL and 00,
// with A as 10 and Z as 35.
func checkDigits(account string) [2]byte {
	const open, nl00, nl00Scale = 24251423, 232100, 1000000
	n := open % 97
	for i := range len(account) {
		n = (n*10 + int(account[i]-'0')) % 97
	}
	n = 98 - (n*nl00Scale+nl00)%97
	return [2]byte{byte('0' + n/10), byte('0' + n%10)}
}

// randomDigits fills dst with uniform decimal digits. Bytes of 250 and more are drawn again: taken modulo 10 they
// would make 0 to 5 likelier than 6 to 9.
func randomDigits(random io.Reader, dst []byte) error {
	// One byte in 43 is refused, so a sound source never gets near this; one that only says 255 must not hang us.
	const maxDraws = 100
	drawn := make([]byte, len(dst))
	for range maxDraws {
		if len(dst) == 0 {
			return nil
		}
		drawn = drawn[:len(dst)]
		if _, err := io.ReadFull(random, drawn); err != nil {
			return err
		}
		for _, b := range drawn {
			if b < 250 {
				dst[0] = '0' + b%10
				dst = dst[1:]
			}
		}
	}
	if len(dst) == 0 {
		return nil
	}
	return errors.New("the source of randomness gives nothing but large bytes")
}
