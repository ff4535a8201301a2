package topology

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/emicklei/proto"
	"github.com/santhosh-tekuri/jsonschema/v5"
)

// schemas checks what reading a topology does not: schemas with those that they refer to, as far as the topology has them.
func (l *linter) schemas(t *Topology) {
	bySubject := t.bySubject()
	for _, schema := range t.schemas() {
		l.about("subject "+schema.Subject, schema.origin)
		switch schema.kind() {
		case typeAvro:
			l.avro(schema, bySubject)
		case typeJSON:
			l.jsonSchema(schema, bySubject)
		case typeProtobuf:
			l.protobuf(schema)
		}
		for _, reference := range schema.References {
			if other, ours := bySubject[reference.Subject]; ours && other.kind() != schema.kind() {
				l.here = reference.origin
				l.error("schema", "it is %s and refers to subject %s, which is %s", schema.kind(), reference.Subject, other.kind())
			}
		}
	}
}

func (l *linter) avro(schema Schema, bySubject map[string]Schema) {
	if len(schema.References) == 0 || !within(schema, bySubject, map[string]bool{}) {
		return // it was read without, or can't be read here
	}
	if _, err := parseAvro(schema, bySubject); err != nil {
		l.error("schema", "the schema can't be read with what it refers to: %v", err)
	}
	for _, reference := range schema.References {
		other := bySubject[reference.Subject]
		if name, err := recordName(other.Text, other.kind()); err == nil && name != reference.Name {
			l.here = reference.origin
			l.warn("schema", "it refers to subject %s as %s, and the type there is %s", reference.Subject, reference.Name, name)
		}
	}
}

// within says whether all that a schema refers to is in the topology. seen are the subjects that were looked at.
func within(schema Schema, bySubject map[string]Schema, seen map[string]bool) bool {
	for _, reference := range schema.References {
		other, ours := bySubject[reference.Subject]
		if !ours {
			return false
		}
		if !seen[reference.Subject] {
			seen[reference.Subject] = true
			if !within(other, bySubject, seen) {
				return false
			}
		}
	}
	return true
}

// errElsewhere is a schema that only the registry has.
var errElsewhere = errors.New("it is not in the topology")

func (l *linter) jsonSchema(schema Schema, bySubject map[string]Schema) {
	var unnamed []string
	compiler := jsonschema.NewCompiler()
	compiler.LoadURL = func(url string) (io.ReadCloser, error) { // nothing is fetched
		seen := map[string]bool{}
		var find func(of Schema) (string, bool)
		find = func(of Schema) (string, bool) {
			for _, reference := range of.References {
				other, ours := bySubject[reference.Subject]
				if url == reference.Name || strings.HasSuffix(url, "/"+strings.TrimPrefix(reference.Name, "./")) {
					return other.Text, true
				}
				if seen[reference.Subject] || !ours {
					continue
				}
				seen[reference.Subject] = true
				if text, found := find(other); found {
					return text, true
				}
			}
			return "", false
		}
		text, named := find(schema)
		if !named {
			unnamed = append(unnamed, strings.TrimPrefix(url, schemaBase))
		}
		if text == "" {
			return nil, errElsewhere
		}
		return io.NopCloser(strings.NewReader(text)), nil
	}
	const root = schemaBase + "subject.json"
	err := compiler.AddResource(root, strings.NewReader(schema.Text))
	if err == nil {
		_, err = compiler.Compile(root)
	}
	switch {
	case len(unnamed) > 0:
		l.warn("schema", "it refers to %s, which is not among its references: a registry may not find it", strings.Join(unnamed, " and "))
	case err != nil && !errors.Is(err, errElsewhere):
		l.error("schema", "the schema is not JSON Schema: %s", jsonSchemaFault(err))
	}
}

// schemaBase is where relative names of schemas are taken to be.
const schemaBase = "file:///schemas/"

// jsonSchemaFault is the innermost of what is wrong, which is what the others come of.
func jsonSchemaFault(err error) string {
	var failed *jsonschema.SchemaError
	if errors.As(err, &failed) {
		err = failed.Err
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return strings.ReplaceAll(err.Error(), schemaBase, "")
	}
	for len(invalid.Causes) > 0 {
		invalid = invalid.Causes[0]
	}
	at := invalid.InstanceLocation
	if at == "" {
		at = "the schema itself"
	}
	return fmt.Sprintf("%s: %s", at, invalid.Message)
}

// protobuf checks the syntax, and that imports and references are the same but for what registries have of their own.
func (l *linter) protobuf(schema Schema) {
	parsed, err := proto.NewParser(strings.NewReader(schema.Text)).Parse()
	if err != nil {
		l.error("schema", "the schema is not Protobuf: %s", strings.TrimPrefix(err.Error(), "<input>:"))
		return
	}
	imported := map[string]bool{}
	messages := 0
	proto.Walk(parsed,
		proto.WithImport(func(i *proto.Import) { imported[i.Filename] = true }),
		proto.WithMessage(func(*proto.Message) { messages++ }),
		proto.WithEnum(func(*proto.Enum) { messages++ }),
	)
	if messages == 0 {
		l.error("schema", "the schema has no message in it")
	}
	named := map[string]bool{}
	for _, reference := range schema.References {
		named[reference.Name] = true
		if !imported[reference.Name] {
			l.here = reference.origin
			l.warn("schema", "it refers to subject %s as %s, which it does not import", reference.Subject, reference.Name)
		}
	}
	l.here = schema.origin
	for _, name := range slices.Sorted(maps.Keys(imported)) {
		builtin := slices.ContainsFunc([]string{"google/protobuf/", "google/type/", "confluent/"}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		if !named[name] && !builtin {
			l.error("schema", "it imports %s, which is not among its references", name)
		}
	}
}
