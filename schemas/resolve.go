package schemas

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// readableAs returns whether a value that was written as t may be read as want, one of our fields' types. Names of
// fixed and enum types don't matter to us: the bytes are the same.
func (t *avroType) readableAs(want *avroType) bool {
	switch t.kind {
	case kindUnion: // which branch it is shows in each record
		return slices.ContainsFunc(t.branches, func(branch *avroType) bool { return branch.readableAs(want) })
	case "int":
		return want.kind == "long"
	case "bytes":
		return want.kind == "string"
	case kindFixed:
		return want.kind == kindFixed && t.size == want.size
	}
	return t.kind == want.kind
}

// readableBranches names the branches of a union whose values may be read as want.
func (t *avroType) readableBranches(want *avroType) []string {
	var names []string
	for _, branch := range t.branches {
		if branch.readableAs(want) {
			names = append(names, branch.branchName())
		}
	}
	return names
}

// holds returns whether every value of ours, one of our fields' types, can be written as t.
func (t *avroType) holds(ours *avroType) bool {
	if t.kind != ours.kind {
		return false
	}
	switch t.kind {
	case kindFixed:
		return t.size == ours.size
	case kindEnum:
		return !slices.ContainsFunc(ours.symbols, func(symbol string) bool { return !slices.Contains(t.symbols, symbol) })
	}
	return true
}

// native turns a default from a schema's JSON into what goavro encodes as t.
func (t *avroType) native(value any) (any, error) {
	switch v := value.(type) {
	case nil:
		if t.kind == "null" {
			return nil, nil
		}
	case bool:
		if t.kind == "boolean" {
			return v, nil
		}
	case json.Number:
		if n, ok := t.nativeNumber(v.String()); ok {
			return n, nil
		}
	case string:
		if n, ok := t.nativeText(v); ok {
			return n, nil
		}
	case []any:
		if t.kind == kindArray {
			return t.nativeItems(v)
		}
	case map[string]any:
		switch t.kind {
		case kindMap:
			return t.nativeValues(v)
		case kindRecord:
			return t.nativeFields(v)
		}
	}
	// The first branch by Avro 1.8, any by 1.12.
	for _, branch := range t.branches {
		if n, err := branch.native(value); err == nil {
			if n == nil {
				return nil, nil
			}
			return map[string]any{branch.branchName(): n}, nil
		}
	}
	return nil, fmt.Errorf("the default %.40q is no %s", fmt.Sprint(value), t)
}

func (t *avroType) nativeNumber(text string) (any, bool) {
	switch t.kind {
	case "int":
		n, err := strconv.ParseInt(text, 10, 32)
		return int32(n), err == nil
	case "long":
		n, err := strconv.ParseInt(text, 10, 64)
		return n, err == nil
	case "float", "double":
		n, err := strconv.ParseFloat(text, 64)
		return n, err == nil
	}
	return nil, false
}

func (t *avroType) nativeText(text string) (any, bool) {
	switch t.kind {
	case "string":
		return text, true
	case kindEnum:
		return text, slices.Contains(t.symbols, text)
	case "bytes", kindFixed: // Avro writes a byte as the character with its number
		var bytes []byte
		for _, r := range text {
			if r > 0xff {
				return nil, false
			}
			bytes = append(bytes, byte(r))
		}
		return bytes, t.kind == "bytes" || len(bytes) == t.size
	}
	return nil, false
}

func (t *avroType) nativeItems(values []any) (any, error) {
	items := make([]any, len(values))
	for i, value := range values {
		var err error
		if items[i], err = t.items.native(value); err != nil {
			return nil, err
		}
	}
	return items, nil
}

func (t *avroType) nativeValues(values map[string]any) (any, error) {
	natives := make(map[string]any, len(values))
	for key, value := range values {
		var err error
		if natives[key], err = t.items.native(value); err != nil {
			return nil, err
		}
	}
	return natives, nil
}

func (t *avroType) nativeFields(values map[string]any) (any, error) {
	natives := make(map[string]any, len(t.fields))
	for _, field := range t.fields {
		value, ok := values[field.name]
		if !ok {
			if value = field.value; !field.hasDefault {
				return nil, fmt.Errorf("the default has no %.80s", field.name)
			}
		}
		var err error
		if natives[field.name], err = field.typ.native(value); err != nil {
			return nil, err
		}
	}
	return natives, nil
}
