package bank

import (
	"encoding/hex"
	"fmt"
)

// ID is a command's UUID: most significant 64 bits first, big endian, as Avro's fixed(16) carries it.
type ID [16]byte

const idText = 36 // 8-4-4-4-12

// ParseID reads the usual text of a UUID, in either case: 8-4-4-4-12 hexadecimal digits and nothing around them.
func ParseID(text string) (ID, error) {
	var id ID
	if len(text) != idText || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return ID{}, fmt.Errorf("parsing id %.40q: not of the form 8-4-4-4-12", text)
	}
	digits := make([]byte, 0, 32)
	digits = append(digits, text[:8]...)
	digits = append(digits, text[9:13]...)
	digits = append(digits, text[14:18]...)
	digits = append(digits, text[19:23]...)
	digits = append(digits, text[24:]...)
	if _, err := hex.Decode(id[:], digits); err != nil {
		return ID{}, fmt.Errorf("parsing id %.40q: %w", text, err)
	}
	return id, nil
}

// AppendText appends the UUID's text in lower case. It never fails.
func (id ID) AppendText(dst []byte) ([]byte, error) {
	dst = hex.AppendEncode(dst, id[:4])
	dst = append(dst, '-')
	dst = hex.AppendEncode(dst, id[4:6])
	dst = append(dst, '-')
	dst = hex.AppendEncode(dst, id[6:8])
	dst = append(dst, '-')
	dst = hex.AppendEncode(dst, id[8:10])
	dst = append(dst, '-')
	return hex.AppendEncode(dst, id[10:]), nil
}

// MarshalText is AppendText for encoding/json and log/slog.
func (id ID) MarshalText() ([]byte, error) { return id.AppendText(make([]byte, 0, idText)) }

// String returns the UUID's text in lower case.
func (id ID) String() string {
	var text [idText]byte
	b, _ := id.AppendText(text[:0])
	return string(b)
}
