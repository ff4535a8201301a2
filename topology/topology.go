// Package topology knows which topics, schema subjects and access control lists there must be, and makes a cluster and a
// registry so.
//
// A Topology is read from a strict YAML file; the bank's own is embedded. A Target, one Kafka cluster and one registry, compares
// it with what is there (Plan, which writes nothing) and does what the plan says (Apply). Export goes the other way, and Lint
// looks at files alone. Nothing is deleted unless Options say so, and what is internal or protected never is. Plan and Apply may
// run again, and twice at once.
//
//	topology.yaml ── Load ──▶ Topology ─┐
//	                                    ├─ Plan ──▶ changes ── Apply ──▶ done, or *PartialError
//	Kafka, registry ────────▶ Target ───┘             └── Save, LoadPlan (and only if the world did not move)
//	                            └──── Export ──▶ topology.yaml
//
// Not here: quotas, users and their passwords, moving partitions between brokers for balance.
package topology

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
)

//go:embed topology.yaml
var embedded []byte

// Default is the open-bank stack's topology.
func Default() (*Topology, error) {
	return parse(embedded, "the embedded topology.yaml", nil)
}

// DefaultText is the file that Default reads.
func DefaultText() []byte { return embedded }

// Load reads a topology from fsys; schema files are looked for beside it, or in directories below. What is wrong with the file
// is a *FileError that lists all of it.
func Load(fsys fs.FS, name string) (*Topology, error) {
	text, err := readBounded(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("reading the topology: %w", err)
	}
	return parse(text, name, func(file string) ([]byte, error) {
		if path.IsAbs(file) {
			return nil, errors.New("it is named from the root, and has to be beside the topology or below")
		}
		below := path.Join(path.Dir(name), file)
		if !fs.ValidPath(below) {
			return nil, errors.New("it lies outside of the topology's directory")
		}
		return readBounded(fsys, below)
	})
}

// mostBytes is the most that a topology or a schema may have; brokers and registries take less.
const mostBytes = 16 << 20

// readBounded reads a file of at most mostBytes, whatever it is: also a device that never ends.
func readBounded(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, mostBytes+1))
	if err == nil && len(text) > mostBytes {
		err = fmt.Errorf("%s has more than %d bytes, which no topology and no schema has", name, mostBytes)
	}
	return text, err
}

func parse(text []byte, name string, readFile func(string) ([]byte, error)) (*Topology, error) {
	c := &checker{
		decoder: newDecoder(name, text), readFile: readFile,
		topics: map[string]place{}, folded: map[string]string{}, subjects: map[string]place{},
	}
	c.decode(text, &c.file)
	if c.values > mostValues {
		return nil, c.err()
	}
	topology := c.topology()
	if err := c.err(); err != nil {
		return nil, err
	}
	return topology, nil
}
