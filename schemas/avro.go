package schemas

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/linkedin/goavro/v2"
)

// The kinds of types that need more than their name. All others are primitives.
const (
	kindRecord = "record"
	kindEnum   = "enum"
	kindFixed  = "fixed"
	kindArray  = "array"
	kindMap    = "map"
	kindUnion  = "union"
)

var primitives = []string{"null", "boolean", "int", "long", "float", "double", "bytes", "string"}

// Anyone who can register a schema chooses what we decode with. goavro reserves room for as many items as a block
// claims, follows a type into itself for as long as the bytes say so, and makes a value of every field: an item of one
// byte may have a thousand. Within these limits no record costs more than some 20 MB, or the stack.
const (
	maxText    = 256 << 10 // bytes of a schema; ours have 1 KB
	maxBlock   = 16384     // items in one block of an array or map; of a field that we then ignore
	maxNodes   = 1000      // types within a type, a named one counted wherever it is used
	maxNesting = 4         // arrays and maps within each other
	maxValues  = 1 << 18   // bytes of a record times the types within an item of its arrays and maps
)

// goavro has this limit as a variable of the package, and no other way to set it
func init() { goavro.MaxBlockCount = maxBlock }

// avroType is a schema. goavro keeps what it parsed to itself, and we need to look: is a field there, of which type,
// with which default.
type avroType struct {
	kind     string // a primitive's name or one of the kinds above
	name     string // full name of a record, enum or fixed
	size     int    // bytes of a fixed
	symbols  []string
	fields   []avroField
	items    *avroType // of an array, values of a map
	branches []*avroType

	least    int // bytes that the shortest value takes
	nodes    int
	nesting  int
	repeated int // nodes of the largest item of an array or map; 0 without any
}

type avroField struct {
	name       string
	typ        *avroType
	value      any // the default as in the JSON, numbers as json.Number
	hasDefault bool
}

func (t *avroType) field(name string) *avroField {
	for i := range t.fields {
		if t.fields[i].name == name {
			return &t.fields[i]
		}
	}
	return nil
}

// branchName is what goavro calls the type among a union's branches.
func (t *avroType) branchName() string {
	if t.name != "" {
		return t.name
	}
	return t.kind
}

// String describes the type for a person.
func (t *avroType) String() string {
	switch t.kind {
	case kindFixed:
		return fmt.Sprintf("fixed(%d)", t.size)
	case kindEnum:
		return "enum of " + strings.Join(t.symbols, ", ")
	case kindUnion:
		names := make([]string, len(t.branches))
		for i, branch := range t.branches {
			names[i] = branch.String()
		}
		return "union of " + strings.Join(names, " and ")
	}
	return t.kind
}

// parse reads a schema's JSON. It refuses types that contain themselves and those beyond the limits above.
func parse(text string) (*avroType, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("the schema has %d bytes, it may have %d", len(text), maxText)
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber() // a long default would lose digits as float64
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return nil, fmt.Errorf("the schema is no JSON: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the schema goes on after its end")
	}
	p := parser{named: map[string]*avroType{}}
	return p.parse(tree, "")
}

// parser holds the named types met so far; nil while one is being read.
type parser struct{ named map[string]*avroType }

func (p *parser) parse(tree any, namespace string) (*avroType, error) {
	t, err := p.read(tree, namespace)
	if err != nil {
		return nil, err
	}
	if t.nodes == 0 {
		t.measure()
	}
	switch {
	case t.nodes > maxNodes:
		return nil, fmt.Errorf("the schema is too large: more than %d types", maxNodes)
	case t.nesting > maxNesting:
		return nil, fmt.Errorf("more than %d arrays and maps within each other", maxNesting)
	case t.kind == kindArray && t.items.least == 0:
		return nil, errors.New("an array of items that take no bytes could have any length")
	}
	return t, nil
}

func (p *parser) read(tree any, namespace string) (*avroType, error) {
	switch v := tree.(type) {
	case string:
		if slices.Contains(primitives, v) {
			return &avroType{kind: v}, nil
		}
		return p.lookUp(v, namespace)
	case []any:
		t := &avroType{kind: kindUnion}
		for _, branch := range v {
			b, err := p.parse(branch, namespace)
			if err != nil {
				return nil, err
			}
			t.branches = append(t.branches, b)
		}
		if len(v) == 0 {
			return nil, errors.New("a union without branches")
		}
		return t, nil
	case map[string]any:
		switch kind := v["type"]; kind {
		case kindRecord, kindEnum, kindFixed:
			return p.define(kind.(string), v, namespace)
		case kindArray, kindMap:
			of := "items"
			if kind == kindMap {
				of = "values"
			}
			items, err := p.parse(v[of], namespace)
			return &avroType{kind: kind.(string), items: items}, err
		default:
			return p.parse(kind, namespace)
		}
	}
	return nil, fmt.Errorf("a type can't be %.40q", fmt.Sprint(tree))
}

func (p *parser) lookUp(name, namespace string) (*avroType, error) {
	candidates := []string{name}
	if namespace != "" && !strings.Contains(name, ".") {
		candidates = []string{namespace + "." + name, name}
	}
	for _, candidate := range candidates {
		if t, ok := p.named[candidate]; ok {
			if t == nil {
				return nil, fmt.Errorf("type %.80s contains itself", candidate)
			}
			return t, nil
		}
	}
	return nil, fmt.Errorf("unknown type %.80q", name)
}

func (p *parser) define(kind string, tree map[string]any, namespace string) (*avroType, error) {
	name, _ := tree["name"].(string)
	if own, ok := tree["namespace"].(string); ok && own != "" {
		namespace = own
	}
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
		namespace = name[:dot]
	} else if namespace != "" {
		name = namespace + "." + name
	}
	if _, twice := p.named[name]; twice {
		return nil, fmt.Errorf("type %.80q is defined twice", name)
	}
	p.named[name] = nil
	t := &avroType{kind: kind, name: name}
	var err error
	switch kind {
	case kindFixed:
		t.size, err = strconv.Atoi(fmt.Sprint(tree["size"]))
		if err != nil || t.size < 1 {
			return nil, fmt.Errorf("%.80s has no size", name)
		}
	case kindEnum:
		symbols, _ := tree["symbols"].([]any)
		for _, symbol := range symbols {
			t.symbols = append(t.symbols, fmt.Sprint(symbol))
		}
	case kindRecord:
		t.fields, err = p.fields(tree["fields"], name, namespace)
	}
	if err != nil {
		return nil, err
	}
	p.named[name] = t
	return t, nil
}

func (p *parser) fields(tree any, record, namespace string) ([]avroField, error) {
	list, ok := tree.([]any)
	if !ok {
		return nil, fmt.Errorf("record %.80s has no fields", record)
	}
	fields := make([]avroField, 0, len(list))
	for _, item := range list {
		field, _ := item.(map[string]any)
		name, ok := field["name"].(string)
		if !ok {
			return nil, fmt.Errorf("record %.80s has a field without a name", record)
		}
		typ, err := p.parse(field["type"], namespace)
		if err != nil {
			return nil, fmt.Errorf("field %.80s: %w", name, err)
		}
		value, hasDefault := field["default"]
		fields = append(fields, avroField{name: name, typ: typ, value: value, hasDefault: hasDefault})
	}
	return fields, nil
}

// measure sets least, nodes, nesting and repeated from the parts, which have theirs.
func (t *avroType) measure() {
	var parts []*avroType
	switch t.kind {
	case kindRecord:
		for i := range t.fields {
			parts = append(parts, t.fields[i].typ)
			t.least += t.fields[i].typ.least
		}
	case kindUnion:
		parts = t.branches
		t.least = 1
	case kindArray, kindMap:
		parts = []*avroType{t.items}
		t.least = 1
		t.nesting = 1
	case kindFixed:
		t.least = t.size
	case "null":
	default:
		t.least = 1
	}
	t.nodes = 1
	deepest := 0
	for _, part := range parts {
		t.nodes += part.nodes
		deepest = max(deepest, part.nesting)
		t.repeated = max(t.repeated, part.repeated)
	}
	t.nesting += deepest
	if t.kind == kindArray || t.kind == kindMap {
		t.repeated = max(t.repeated, t.items.nodes+1)
	}
}

// codec makes goavro's codec from what concerns the bytes alone. Logical types would come out as times and fractions,
// at a price that the schema sets; goavro refuses some defaults that Avro allows and reads others wrong.
func (t *avroType) codec() (*goavro.Codec, error) {
	text, err := json.Marshal(t.plain(map[string]bool{}))
	if err != nil {
		return nil, fmt.Errorf("writing the schema: %w", err)
	}
	codec, err := goavro.NewCodec(string(text))
	if err != nil {
		return nil, fmt.Errorf("the schema is not valid: %w", err)
	}
	return codec, nil
}

// plain is the schema's JSON with full names and without attributes; a type in defined is referred to by its name.
func (t *avroType) plain(defined map[string]bool) any {
	if defined[t.name] {
		return t.name
	}
	if t.name != "" {
		defined[t.name] = true
	}
	switch t.kind {
	case kindRecord:
		fields := make([]any, len(t.fields))
		for i, field := range t.fields {
			fields[i] = map[string]any{"name": field.name, "type": field.typ.plain(defined)}
		}
		return map[string]any{"type": t.kind, "name": t.name, "fields": fields}
	case kindEnum:
		return map[string]any{"type": t.kind, "name": t.name, "symbols": t.symbols}
	case kindFixed:
		return map[string]any{"type": t.kind, "name": t.name, "size": t.size}
	case kindArray:
		return map[string]any{"type": t.kind, "items": t.items.plain(defined)}
	case kindMap:
		return map[string]any{"type": t.kind, "values": t.items.plain(defined)}
	case kindUnion:
		branches := make([]any, len(t.branches))
		for i, branch := range t.branches {
			branches[i] = branch.plain(defined)
		}
		return branches
	}
	return t.kind
}
