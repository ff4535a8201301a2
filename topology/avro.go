package topology

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/avro"
)

// validSchema says what is wrong with a schema as far as that shows without those that it refers to.
func validSchema(text, kind string, references []Reference) error {
	switch {
	case strings.TrimSpace(text) == "":
		return errors.New("the schema is empty: write one into the file")
	case kind == typeProtobuf:
		return nil // the registry compiles it
	case !json.Valid([]byte(text)):
		var anything any
		return fmt.Errorf("the schema is not JSON (%w): mend the file", json.Unmarshal([]byte(text), &anything))
	case kind == typeAvro && len(references) == 0:
		if _, err := avro.Parse(text); err != nil {
			return fmt.Errorf("the schema is not Avro (%w): mend the file", err)
		}
	}
	return nil
}

// assumedLevel is what a registry mostly has when a topology says nothing.
const assumedLevel = "BACKWARD"

// evolution checks what became of an earlier topology's Avro schemas, by the Avro specification's rules of schema resolution: for
// BACKWARD the new schema must read what the old one wrote, for FORWARD the other way round, for FULL both. Of the transitive
// levels it checks the one earlier version that it has. Schemas of other types are left to the registry.
func (l *linter) evolution(before, after *Topology) {
	old, now := before.bySubject(), after.bySubject()
	for _, schema := range after.schemas() {
		earlier, there := old[schema.Subject]
		if !there || sameAs(version{Text: earlier.Text, Type: earlier.Type, References: earlier.References}, schema) {
			continue
		}
		l.about("subject "+schema.Subject, schema.origin)
		switch {
		case earlier.kind() != schema.kind():
			l.error("evolution", "its type was %s and is %s", earlier.kind(), schema.kind())
		case schema.kind() != typeAvro:
			l.warn("evolution", "a change of a schema of type %s is left to the registry", schema.kind())
		default:
			l.avroEvolution(earlier, old, schema, now, after.Compatibility)
		}
	}
}

func (l *linter) avroEvolution(earlier Schema, old map[string]Schema, schema Schema, now map[string]Schema, level string) {
	level = firstOf(schema.Compatibility, level, assumedLevel)
	if level == "NONE" {
		return
	}
	from, err := parseAvro(earlier, old)
	if err != nil {
		l.warn("evolution", "the earlier schema can't be read without the registry: %v", err)
		return
	}
	to, err := parseAvro(schema, now)
	if err != nil {
		l.warn("evolution", "the schema can't be read without the registry: %v", err)
		return
	}
	if !strings.HasPrefix(level, "FORWARD") {
		if err := avro.CheckCompatibility(from, to); err != nil {
			l.error("evolution", "%s: the new schema does not read what the earlier one wrote: %v", level, err)
		}
	}
	if !strings.HasPrefix(level, "BACKWARD") {
		if err := avro.CheckCompatibility(to, from); err != nil {
			l.error("evolution", "%s: the earlier schema does not read what the new one writes: %v", level, err)
		}
	}
}

// bySubject are all schemas by their subject.
func (t *Topology) bySubject() map[string]Schema {
	all := map[string]Schema{}
	for _, schema := range t.schemas() {
		all[schema.Subject] = schema
	}
	return all
}

// parseAvro parses a schema after those of a topology that it refers to, each once.
func parseAvro(schema Schema, bySubject map[string]Schema) (*avro.Schema, error) {
	var cache avro.SchemaCache
	parsed := map[string]bool{}
	var parse func(s Schema) (*avro.Schema, error)
	parse = func(s Schema) (*avro.Schema, error) {
		for _, reference := range s.References {
			other, ours := bySubject[reference.Subject]
			if !ours {
				return nil, fmt.Errorf("%s is not in the topology", reference.Subject)
			}
			if parsed[reference.Subject] {
				continue
			}
			parsed[reference.Subject] = true
			if _, err := parse(other); err != nil {
				return nil, err
			}
		}
		return cache.Parse(s.Text)
	}
	return parse(schema)
}
