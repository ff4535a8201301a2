package topology

import (
	"encoding/json"
	"reflect"
	"slices"
)

// JSONSchema is topology.yaml as a JSON Schema (draft 2020-12), for editors. It is made of the types that read the file. It knows
// no rule that spans several values: Load does.
func JSONSchema() []byte {
	schema := objectSchema(reflect.TypeFor[fileTopology]())
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "A topology: the topics, schemas and access control lists that a Kafka cluster must have"
	text, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		panic("topology: the JSON Schema is no JSON: " + err.Error()) // it is made of maps, strings and numbers
	}
	return append(text, '\n')
}

func objectSchema(of reflect.Type) map[string]any {
	properties := map[string]any{}
	var required []string
	for i := range of.NumField() {
		field := of.Field(i)
		name := field.Tag.Get("yaml")
		if name == "" {
			continue
		}
		property := valueSchema(field.Type, field.Tag)
		property["description"] = field.Tag.Get("doc")
		properties[name] = property
		if field.Tag.Get("required") != "" {
			required = append(required, name)
		}
	}
	schema := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if required != nil {
		schema["required"] = required
	}
	if reflect.PointerTo(of).Implements(reflect.TypeFor[interface{ short() *string }]()) {
		return map[string]any{"oneOf": []any{map[string]any{"type": "string", "minLength": 1}, schema}}
	}
	return schema
}

func valueSchema(of reflect.Type, tag reflect.StructTag) map[string]any {
	if of == reflect.TypeFor[Replicas]() {
		return map[string]any{"oneOf": []any{
			map[string]any{"type": "integer", "minimum": 1, "maximum": 1<<15 - 1},
			map[string]any{"type": "string", "pattern": "^max( [1-9][0-9]*)?$"},
		}}
	}
	switch of.Kind() {
	case reflect.Struct:
		return objectSchema(of)
	case reflect.Slice:
		return map[string]any{"type": "array", "items": valueSchema(of.Elem(), tag)}
	case reflect.Map:
		return configSchema()
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int32:
		return map[string]any{"type": "integer", "minimum": 1, "maximum": 1<<31 - 1}
	default:
		schema := map[string]any{"type": "string", "minLength": 1}
		if allowed := choices(tag.Get("enum")); allowed != nil {
			schema["enum"] = allowed
			delete(schema, "minLength")
		}
		return schema
	}
}

// configSchema knows Kafka's topic configurations by name, so that an editor completes them, and lets others be.
func configSchema() map[string]any {
	properties := map[string]any{}
	for name, rule := range topicConfigs {
		var property map[string]any
		switch rule.kind {
		case configNumber, configMillis, configBytes:
			property = map[string]any{"type": []string{"integer", "string"}, "minimum": rule.least, "pattern": "^-?[0-9]+$"}
		case configRatio:
			property = map[string]any{"type": []string{"number", "string"}, "minimum": 0, "maximum": 1, "pattern": "^[0-9.]+$"}
		case configBool:
			property = map[string]any{"enum": []any{true, false, "true", "false"}}
		case configWord:
			property = map[string]any{"enum": rule.choices}
		case configWords:
			either := slices.Clone(rule.choices)
			property = map[string]any{"enum": append(either, "compact,delete", "delete,compact")}
		case configOther:
			property = map[string]any{"type": []string{"string", "number", "boolean"}}
		}
		properties[name] = property
	}
	return map[string]any{"type": "object", "properties": properties, "additionalProperties": map[string]any{"type": []string{"string", "number", "boolean"}}}
}
