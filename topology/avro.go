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
	old := map[string]Schema{}
	for _, schema := range before.schemas() {
		old[schema.Subject] = schema
	}
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
			l.avroEvolution(before, earlier, after, schema)
		}
	}
}

func (l *linter) avroEvolution(before *Topology, earlier Schema, after *Topology, schema Schema) {
	level := firstOf(schema.Compatibility, after.Compatibility, assumedLevel)
	if level == "NONE" {
		return
	}
	from, err := before.parseAvro(earlier)
	if err != nil {
		l.warn("evolution", "the earlier schema can't be read without the registry: %v", err)
		return
	}
	to, err := after.parseAvro(schema)
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

// parseAvro parses a schema after those of the topology that it refers to.
func (t *Topology) parseAvro(schema Schema) (*avro.Schema, error) {
	bySubject := map[string]Schema{}
	for _, other := range t.schemas() {
		bySubject[other.Subject] = other
	}
	var cache avro.SchemaCache
	var parse func(s Schema) (*avro.Schema, error)
	parse = func(s Schema) (*avro.Schema, error) {
		for _, reference := range s.References {
			other, ours := bySubject[reference.Subject]
			if !ours {
				return nil, fmt.Errorf("%s is not in the topology", reference.Subject)
			}
			if _, err := parse(other); err != nil {
				return nil, err
			}
		}
		return cache.Parse(s.Text)
	}
	return parse(schema)
}
