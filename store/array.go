package store

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/lib/pq"
	"github.com/lib/pq/oid"

	"openbank/bank"
)

// array builds a one-dimensional Postgres array in its binary form: five int32 (dimensions, has nulls, element type,
// length, lower bound), then for each element its length, -1 for null, and its bytes. lib/pq hands []byte through as it
// is with binary_parameters=yes; the text form that it would make costs both sides several times as much.
type array struct {
	b []byte
	n uint32
}

const (
	arrayHeader = 5 * 4
	usualText   = 24 // bytes: an IBAN, a token
)

// newArray starts an array of about n elements of type element.
func newArray(element oid.Oid, n int) *array {
	var size int
	switch element {
	case oid.T_int4:
		size = 4
	case oid.T_int8:
		size = 8
	case oid.T_uuid:
		size = 16
	default:
		size = usualText
	}
	a := &array{b: make([]byte, arrayHeader, arrayHeader+n*(4+size))}
	binary.BigEndian.PutUint32(a.b[0:], 1)
	binary.BigEndian.PutUint32(a.b[8:], uint32(element))
	binary.BigEndian.PutUint32(a.b[16:], 1)
	return a
}

// bytes returns the array, to which nothing may be added any more.
func (a *array) bytes() []byte {
	binary.BigEndian.PutUint32(a.b[12:], a.n)
	return a.b
}

func (a *array) null() {
	a.b = append(a.b, 0xff, 0xff, 0xff, 0xff)
	binary.BigEndian.PutUint32(a.b[4:], 1)
	a.n++
}

func (a *array) int8(v int64) {
	a.b = append(a.b, 0, 0, 0, 8)
	a.b = binary.BigEndian.AppendUint64(a.b, uint64(v))
	a.n++
}

func (a *array) int4(v int32) {
	a.b = append(a.b, 0, 0, 0, 4)
	a.b = binary.BigEndian.AppendUint32(a.b, uint32(v))
	a.n++
}

func (a *array) text(v string) {
	a.b = binary.BigEndian.AppendUint32(a.b, uint32(len(v)))
	a.b = append(a.b, v...)
	a.n++
}

// textOrNull appends "" as null.
func (a *array) textOrNull(v string) {
	if v == "" {
		a.null()
		return
	}
	a.text(v)
}

func (a *array) uuid(v bank.ID) {
	a.b = append(a.b, 0, 0, 0, 16)
	a.b = append(a.b, v[:]...)
	a.n++
}

// literal builds a one-dimensional array in its text form, for a statement that can have no parameters.
type literal struct {
	b []byte
	n int
}

func (l *literal) begin() {
	separator := byte(',')
	if l.n == 0 {
		separator = '{'
	}
	l.b = append(l.b, separator)
	l.n++
}

func (l *literal) text(v string) {
	l.begin()
	l.b = append(l.b, '"')
	for i := range len(v) {
		if v[i] == '"' || v[i] == '\\' {
			l.b = append(l.b, '\\')
		}
		l.b = append(l.b, v[i])
	}
	l.b = append(l.b, '"')
}

func (l *literal) uuid(v bank.ID) {
	l.begin()
	l.b = hex.AppendEncode(l.b, v[:])
}

// sql is the array as it stands in a statement, whatever its texts are.
func (l *literal) sql() string {
	if l.n == 0 {
		return "'{}'"
	}
	return pq.QuoteLiteral(string(append(l.b, '}')))
}
