package schemas

import (
	"reflect"
	"slices"
)

// Name returns the short name of the record that msg, a pointer to a message, is, or "" when it is none. The Go types of the
// messages have the names of their records.
func Name(msg any) string {
	t := reflect.TypeOf(msg)
	if t == nil || t.Kind() != reflect.Pointer || !slices.Contains(Names, t.Elem().Name()) {
		return ""
	}
	return t.Elem().Name()
}
