// Package topology knows which topics and schema subjects there must be, and makes those that are missing.
//
// A Topology is read from a strict YAML file; the bank's own is embedded. A Target, one Kafka cluster and one registry, compares
// it with what is there (Plan) and creates the difference (Apply). Nothing that exists is changed or deleted; where it differs
// the plan says so. Both steps may run again, and twice at once.
//
//	topology.yaml ── Load ──▶ Topology ─┐
//	                                    ├─ Plan ──▶ topics, schemas to make ── Apply ──▶ done, or *PartialError
//	Kafka, registry ────────▶ Target ───┘
package topology

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"

	"openbank/schemas"
)

//go:embed topology.yaml
var embedded []byte

// Topology is what there must be.
type Topology struct {
	Topics []Topic
}

// Topic is one topic and the schemas of the records in it.
type Topic struct {
	Name       string
	Purpose    string
	Partitions int32             // at least 1
	Replicas   int16             // at least 1; capped at the number of brokers
	Config     map[string]string // Kafka's names and spelling
	Schemas    []Schema
}

// Schema is one record that a topic holds.
type Schema struct {
	Subject string // <topic>-<full name of the record>: TopicRecordNameStrategy
	Text    string // Avro JSON
}

// Default is the open-bank stack's topology.
func Default() (*Topology, error) {
	return parse(embedded, "the embedded topology.yaml", nil)
}

// Load reads a topology from fsys; schema files are looked for beside it. Errors carry the place in the file.
func Load(fsys fs.FS, name string) (*Topology, error) {
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("reading the topology: %w", err)
	}
	return parse(text, name, func(file string) ([]byte, error) {
		return fs.ReadFile(fsys, path.Join(path.Dir(name), file))
	})
}

type fileTopic struct {
	Name       string            `yaml:"name"`
	Purpose    string            `yaml:"purpose"`
	Partitions int32             `yaml:"partitions"`
	Replicas   int16             `yaml:"replicas"`
	Config     map[string]string `yaml:"config"`
	Schemas    []string          `yaml:"schemas"`
}

func parse(text []byte, name string, readFile func(string) ([]byte, error)) (*Topology, error) {
	var file struct {
		Topics []fileTopic `yaml:"topics"`
	}
	if err := yaml.UnmarshalWithOptions(text, &file, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("reading %s: %s", name, yaml.FormatError(err, false, true))
	}
	if len(file.Topics) == 0 {
		return nil, fmt.Errorf("reading %s: it lists no topics", name)
	}
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("reading %s: "+format, append([]any{name}, args...)...))
	}
	topology := &Topology{}
	seen := map[string]bool{}
	for i, t := range file.Topics {
		switch {
		case t.Name == "":
			fault("topic %d has no name", i+1)
			continue
		case !validName(t.Name):
			fault("topic %q: a name is up to 249 letters, digits, dots, dashes and underscores", t.Name)
		case seen[t.Name]:
			fault("topic %s is listed twice", t.Name)
		}
		seen[t.Name] = true
		if t.Partitions < 1 {
			fault("topic %s: partitions must be at least 1", t.Name)
		}
		if t.Replicas < 1 {
			fault("topic %s: replicas must be at least 1", t.Name)
		}
		topic := Topic{Name: t.Name, Purpose: t.Purpose, Partitions: t.Partitions, Replicas: t.Replicas, Config: t.Config}
		subjects := map[string]bool{}
		for _, reference := range t.Schemas {
			schema, err := loadSchema(t.Name, reference, readFile)
			if err != nil {
				fault("topic %s: %w", t.Name, err)
				continue
			}
			if subjects[schema.Subject] {
				fault("topic %s: schema %s is listed twice", t.Name, reference)
			}
			subjects[schema.Subject] = true
			topic.Schemas = append(topic.Schemas, schema)
		}
		topology.Topics = append(topology.Topics, topic)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return topology, nil
}

var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

func validName(name string) bool {
	return topicName.MatchString(name) && name != "." && name != ".."
}

func loadSchema(topic, reference string, readFile func(string) ([]byte, error)) (Schema, error) {
	var text string
	if isFile := strings.HasSuffix(reference, ".avsc"); isFile {
		if readFile == nil {
			return Schema{}, fmt.Errorf("schema %s: files can't be named here", reference)
		}
		content, err := readFile(reference)
		if err != nil {
			return Schema{}, fmt.Errorf("schema %s: %w", reference, err)
		}
		text = string(content)
	} else {
		if !isBankRecord(reference) {
			return Schema{}, fmt.Errorf("schema %q is neither one of the bank's records (%s) nor a file (./NAME.avsc)", reference, strings.Join(schemas.Names, ", "))
		}
		text = schemas.Text(reference)
	}
	name, err := recordName(text)
	if err != nil {
		return Schema{}, fmt.Errorf("schema %s: %w", reference, err)
	}
	return Schema{Subject: topic + "-" + name, Text: text}, nil
}

func isBankRecord(name string) bool {
	for _, known := range schemas.Names {
		if name == known {
			return true
		}
	}
	return false
}

// recordName is the full name of an Avro record.
func recordName(text string) (string, error) {
	var record struct {
		Type      string `json:"type"`
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	}
	if err := json.Unmarshal([]byte(text), &record); err != nil {
		return "", fmt.Errorf("reading the Avro schema: %w", err)
	}
	if record.Type != "record" || record.Name == "" {
		return "", errors.New("reading the Avro schema: it is not a record with a name")
	}
	if record.Namespace == "" || strings.Contains(record.Name, ".") {
		return record.Name, nil
	}
	return record.Namespace + "." + record.Name, nil
}
