package bank

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// The longest texts that a transfer may carry, in bytes.
const (
	MaxToken       = 64
	MaxFrom        = 64
	MaxTo          = 256
	MaxDescription = 4096
)

// TextReason returns the reason to refuse the command's texts, or "". A text must be valid UTF-8 without NUL (Postgres
// takes no other, and one such text would fail a whole batch) and no longer than its limit.
//
// Transfer looks at the amount first: a command that fails for its amount can have unfit texts as well, so whoever
// stores texts asks here, and not the outcome's reason, whether they may be stored.
func (c *ConfirmMoneyTransfer) TextReason() string {
	switch {
	case len(c.Token) > MaxToken:
		return ReasonTokenTooLong
	case !isText(c.Token):
		return ReasonTokenNotText
	case len(c.From) > MaxFrom:
		return ReasonFromTooLong
	case !isText(c.From):
		return ReasonFromNotText
	case len(c.To) > MaxTo:
		return ReasonToTooLong
	case !isText(c.To):
		return ReasonToNotText
	case len(c.Description) > MaxDescription:
		return ReasonDescriptionTooLong
	case !isText(c.Description):
		return ReasonDescriptionNotText
	}
	return ""
}

func isText(s string) bool { return strings.IndexByte(s, 0) < 0 && utf8.ValidString(s) }

// Fingerprint tells a redelivered command from another one under the same id: the first 8 bytes of the SHA-256 of
// token, amount, from, to and description, in this order; a text as its length in bytes (4 bytes, big endian) and its
// bytes, the amount as 8 bytes, big endian. The id is left out. Stored rows hold fingerprints, so this never changes.
func (c *ConfirmMoneyTransfer) Fingerprint() [8]byte {
	var space [384]byte // enough for ordinary texts, so that nothing is allocated
	b := appendText(space[:0], c.Token)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Amount))
	b = appendText(b, c.From)
	b = appendText(b, c.To)
	b = appendText(b, c.Description)
	sum := sha256.Sum256(b)
	return [8]byte(sum[:8])
}

func appendText(dst []byte, text string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(text))) // a record is far below 4 GiB
	return append(dst, text...)
}
