package topology

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"openbank/schemas"
)

// schemaTypes are what the names of files say.
var schemaTypes = map[string]string{".avsc": typeAvro, ".json": typeJSON, ".proto": typeProtobuf}

// loadSchema reads a schema: a record of the bank, or a file. readFile is nil where files can't be named.
func loadSchema(reference, kind string, readFile func(string) ([]byte, error)) (text, schemaType string, err error) {
	byName, isFile := schemaTypes[path.Ext(reference)]
	if !isFile && !strings.Contains(reference, "/") {
		if !slices.Contains(schemas.Names, reference) {
			return "", "", fmt.Errorf("it is neither one of the bank's records (%s) nor a file: write ./%s.avsc for a file", strings.Join(schemas.Names, ", "), reference)
		}
		return schemas.Text(reference), typeAvro, nil
	}
	if kind == "" {
		kind = byName
	}
	if kind == "" {
		return "", "", errors.New("the file's name does not tell the schema's type: end it in .avsc, .json or .proto, or give the type")
	}
	if readFile == nil {
		return "", "", errors.New("there are no files beside this topology: name one of the bank's records")
	}
	content, err := readFile(reference)
	if err != nil {
		return "", "", fmt.Errorf("the file can't be read (%w): put it there, or mend the name", err)
	}
	content = bytes.TrimPrefix(content, byteOrderMark)
	switch {
	case utf16(content):
		return "", "", errors.New("the schema is UTF-16: save the file as UTF-8")
	case !utf8.Valid(content):
		return "", "", errors.New("the schema is not UTF-8: save the file as UTF-8")
	}
	return string(content), kind, nil
}

// recordName is the name that a strategy puts into a subject: an Avro type's full name.
func recordName(text, kind string) (string, error) {
	if kind != typeAvro {
		return "", fmt.Errorf("a subject that is named for a record needs an Avro schema, and this one is %s: give it a subject, or strategy: topic-name", kind)
	}
	var record struct {
		Type      any    `json:"type"`
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	}
	if err := json.Unmarshal([]byte(text), &record); err != nil || record.Name == "" {
		return "", errors.New("a subject that is named for a record needs a type with a name: write a record, or strategy: topic-name")
	}
	if record.Namespace == "" || strings.Contains(record.Name, ".") {
		return record.Name, nil
	}
	return record.Namespace + "." + record.Name, nil
}
