package topology

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v5"
	"go.yaml.in/yaml/v4"
)

// validator compiles the JSON Schema as an editor does, and holds a topology to it.
func validator(t *testing.T) func(text []byte) error {
	t.Helper()
	schema, err := jsonschema.CompileString("topology.schema.json", string(JSONSchema()))
	if err != nil {
		t.Fatal(err)
	}
	return func(text []byte) error {
		var read, value any
		if err := yaml.Load(text, &read); err != nil {
			return err
		}
		asJSON, err := json.Marshal(read)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(asJSON, &value); err != nil {
			return err
		}
		return schema.Validate(value)
	}
}

func TestTheJSONSchemaAcceptsWhatLoadAccepts(t *testing.T) {
	t.Parallel()
	validate := validator(t)
	if err := validate(embedded); err != nil {
		t.Errorf("the embedded topology: %v", err)
	}
	files, err := filepath.Glob("testdata/good/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Load(os.DirFS(filepath.Dir(path)), filepath.Base(path)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if err := validate(text); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// beyondASchema are the malformed files that no JSON Schema can tell: rules between values, other files, YAML itself.
var beyondASchema = map[string]bool{
	"01-empty": true, "04-key-twice": true, "06-no-partitions": true, "08-no-replicas": true, "12-name-that-kafka-bans": true, "13-topic-twice": true,
	"14-dot-and-underscore": true, "15-internal-topic": true, "17-config-misspelt": true, "24-record-of-nobody": true, "25-schema-file-missing": true,
	"26-schema-that-is-not-json": true, "27-schema-that-is-not-avro": true, "28-schema-outside": true, "29-schema-twice": true,
	"30-json-schema-without-subject": true, "31-file-of-unknown-type": true, "34-subject-without-name": true, "35-references-in-a-circle": true,
	"36-principal-without-type": true, "37-principal-twice": true, "38-nothing-allowed": true, "39-operation-of-another-resource": true,
	"40-rule-without-name": true, "43-alias-without-anchor": true, "44-two-documents": true, "45-tab": true, "46-bracket-left-open": true,
	"54-utf-16": true, "59-principals": true, "60-tag-of-another-program": true, "67-schemas-of-another-encoding": true, "68-no-operation": true, "69-schema-from-the-root": true,
	"74-tags-that-would-change-values": true,
}

func TestTheJSONSchemaRefusesWhatItCanOfMalformedTopologies(t *testing.T) {
	t.Parallel()
	validate := validator(t)
	files, err := filepath.Glob("testdata/malformed/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !beyondASchema[name] && validate(text) == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
