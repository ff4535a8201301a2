package topology

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
)

// sameSchema says whether two Avro schemas mean the same: the same bytes on the wire, the same names, aliases and defaults, and the
// same attributes of somebody's own (connect.name, java-class), which programs may go by and the registry keeps versions apart by.
// What only documents doesn't count, nor a JVM's choice of string class (avro.java.string), so a subject that such a program
// registered stays as it is. A text that can't be read is the same as nothing.
func sameSchema(a, b string) bool {
	left, err := canonical(a)
	if err != nil {
		return false
	}
	right, err := canonical(b)
	return err == nil && bytes.Equal(left, right)
}

// meaningless says of an attribute that it does not count. That of a name and its fields is in the full names already; where there
// is no name a namespace says nothing.
func meaningless(attribute string, value any) bool {
	switch attribute {
	case "doc", "avro.java.string", "namespace":
		return true
	case "order":
		return value == "ascending" // as without it
	}
	return false
}

// canonical writes a schema with full names, simple types as plain strings, without the attributes that do not count, sorted by name.
func canonical(text string) ([]byte, error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber() // a long default must not become a float
	var schema any
	if err := decoder.Decode(&schema); err != nil {
		return nil, fmt.Errorf("reading an Avro schema: %w", err)
	}
	return json.Marshal(reduce(schema, ""))
}

var primitives = map[string]bool{
	"null": true, "boolean": true, "int": true, "long": true, "float": true, "double": true, "bytes": true, "string": true,
	"record": true, "enum": true, "fixed": true, "array": true, "map": true, "error": true,
}

func reduce(schema any, namespace string) any {
	switch s := schema.(type) {
	case string:
		return fullName(s, namespace)
	case []any: // a union
		branches := make([]any, len(s))
		for i, branch := range s {
			branches[i] = reduce(branch, namespace)
		}
		return branches
	case map[string]any:
		return reduceObject(s, namespace)
	default:
		return schema
	}
}

func reduceObject(s map[string]any, namespace string) any {
	if name, ok := s["name"].(string); ok {
		if own, ok := s["namespace"].(string); ok {
			namespace = own
		}
		s["name"] = fullName(name, namespace)
		if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
			namespace = name[:dot]
		}
	}
	out := map[string]any{}
	for attribute, value := range s {
		if meaningless(attribute, value) {
			continue
		}
		switch attribute {
		case "type", "items", "values":
			value = reduce(value, namespace)
		case "fields":
			value = reduceFields(value, namespace)
		}
		out[attribute] = value
	}
	if len(out) == 1 && out["type"] != nil {
		return out["type"] // {"type": "string"} is "string"
	}
	return out
}

// reduceFields keeps field names as they are: they have no namespace.
func reduceFields(value any, namespace string) any {
	list, ok := value.([]any)
	if !ok {
		return value
	}
	fields := make([]any, len(list))
	for i, element := range list {
		field, ok := element.(map[string]any)
		if !ok {
			return value
		}
		out := map[string]any{}
		for attribute, value := range field {
			switch {
			case attribute == "type":
				out[attribute] = reduce(value, namespace)
			case !meaningless(attribute, value):
				out[attribute] = value
			}
		}
		fields[i] = out
	}
	return fields
}

func fullName(name, namespace string) string {
	if namespace == "" || primitives[name] || strings.Contains(name, ".") {
		return name
	}
	return namespace + "." + name
}

// sameJSON says whether two texts are the same JSON, whatever its layout and however its numbers are written.
func sameJSON(a, b string) bool {
	left, errA := valueOf(a)
	right, errB := valueOf(b)
	if errA != nil || errB != nil {
		return false
	}
	one, errA := json.Marshal(left)
	other, errB := json.Marshal(right)
	return errA == nil && errB == nil && bytes.Equal(one, other)
}

func valueOf(text string) (any, error) {
	if !json.Valid([]byte(text)) {
		return nil, errors.New("it is not JSON")
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	err := decoder.Decode(&value)
	return plainNumbers(value), err
}

// exactIntegers is up to where a float64 has every whole number.
const exactIntegers = 1 << 53

// plainNumbers writes 1.0 and 1e0 as 1. What a float64 can't hold stays as it is written: two bounds that differ are not the same.
func plainNumbers(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for name, element := range v {
			v[name] = plainNumbers(element)
		}
	case []any:
		for i, element := range v {
			v[i] = plainNumbers(element)
		}
	case json.Number:
		if f, err := v.Float64(); err == nil && f == math.Trunc(f) && math.Abs(f) < exactIntegers {
			return int64(f)
		}
	}
	return value
}
