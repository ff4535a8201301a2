package topology

import (
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

func lintText(t *testing.T, text string, schemas map[string]string, options LintOptions) string {
	t.Helper()
	files := fstest.MapFS{"topology.yaml": {Data: []byte(text)}}
	for name, schema := range schemas {
		files[name] = &fstest.MapFile{Data: []byte(schema)}
	}
	topology, err := Load(files, "topology.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, finding := range Lint(topology, options) {
		said = append(said, finding.String())
	}
	return strings.Join(said, "\n")
}

func TestTheEmbeddedTopologyHasNoFindings(t *testing.T) {
	t.Parallel()
	topology, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	if found := Lint(topology, LintOptions{}); len(found) > 0 {
		t.Error(found)
	}
}

func TestEachRuleFindsWhatItIsFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ topic, want string }{
		"more in sync than replicas":  {"replicas: 2, config: {min.insync.replicas: 3}", "error: topic orders: min.insync.replicas is 3 with 2 replicas"},
		"as many in sync as replicas": {"replicas: 3, config: {min.insync.replicas: 3}", "warning: topic orders: min.insync.replicas is as high as replicas"},
		"one replica":                 {"replicas: 1", "there is one replica"},
		"unclean election":            {"replicas: 3, config: {unclean.leader.election.enable: true}", "acknowledged records get lost"},
		"retention of compacted":      {"replicas: 3, config: {cleanup.policy: compact, retention.ms: 1000}", "retention.ms has no effect"},
		"compaction of deleted":       {"replicas: 3, config: {delete.retention.ms: 1000}", "delete.retention.ms has no effect"},
		"kept for ever":               {"replicas: 3, config: {retention.ms: -1}", "nothing is ever deleted"},
		"segments that last longer":   {"replicas: 3, config: {retention.ms: 1000, segment.ms: 2000}", "segment.ms is more than retention.ms"},
		"segments that are larger":    {"replicas: 3, config: {retention.bytes: 1000, segment.bytes: 2000}", "segment.bytes is more than retention.bytes"},
		"a lag beyond the most":       {"replicas: 3, config: {cleanup.policy: compact, min.compaction.lag.ms: 20, max.compaction.lag.ms: 10}", "error: topic orders: min.compaction.lag.ms is more"},
		"nothing":                     {"replicas: 3, config: {min.insync.replicas: 2, cleanup.policy: 'compact,delete', retention.ms: 1000}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := lintText(t, "topics: [{name: orders, partitions: 1, "+c.topic+"}]", nil, LintOptions{})
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestNamesAndNumbersOfPartitionsAreHeldToTheFlags(t *testing.T) {
	t.Parallel()
	got := lintText(t, "topics: [{name: shop.orders, partitions: 10, replicas: 3}, {name: Orders, partitions: 1, replicas: 3}]", nil,
		LintOptions{NamePattern: regexp.MustCompile(`^(?:[a-z]+(\.[a-z]+)*)$`), MaxPartitions: 9})
	if got != "error: topic shop.orders: 10 partitions are more than 9 [partitions]\nerror: topic Orders: the name does not match ^(?:[a-z]+(\\.[a-z]+)*)$ [name]" {
		t.Error(got)
	}
}

func TestSchemasAreHeldToTheirLevelAgainstAnEarlierTopology(t *testing.T) {
	t.Parallel()
	const (
		plain    = `{"type":"record","name":"R","fields":[{"name":"a","type":"string"}]}`
		required = `{"type":"record","name":"R","fields":[{"name":"a","type":"string"},{"name":"b","type":"long"}]}`
		optional = `{"type":"record","name":"R","fields":[{"name":"a","type":"string"},{"name":"b","type":"long","default":0}]}`
		renamed  = `{"type":"record","name":"R","fields":[{"name":"c","type":"string"}]}`
		wider    = `{"type":"record","name":"R","fields":[{"name":"a","type":["null","string"]}]}`
	)
	for name, c := range map[string]struct{ level, before, after, want string }{
		"a required field, backward":      {"BACKWARD", plain, required, "error: subject t-R: BACKWARD: the new schema does not read what the earlier one wrote"},
		"a required field, forward":       {"FORWARD", plain, required, ""},
		"a required field, by default":    {"", plain, required, "BACKWARD"},
		"a field with a default":          {"FULL", plain, optional, ""},
		"a required field that goes":      {"FORWARD", required, plain, "FORWARD: the earlier schema does not read"},
		"a renamed field, full":           {"FULL_TRANSITIVE", plain, renamed, "FULL_TRANSITIVE: the new schema does not read"},
		"a renamed field, none":           {"NONE", plain, renamed, ""},
		"a union for its branch":          {"BACKWARD", plain, wider, ""},
		"a union for its branch, forward": {"FORWARD", plain, wider, "FORWARD"},
		"only the layout":                 {"FULL", plain, strings.ReplaceAll(plain, ",", ",\n "), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := "topics: [{name: t, partitions: 1, replicas: 3, schemas: [./r.avsc]}]"
			if c.level != "" {
				text += "\ndefaults: {compatibility: " + c.level + "}"
			}
			before, err := Load(fstest.MapFS{"topology.yaml": {Data: []byte(text)}, "r.avsc": {Data: []byte(c.before)}}, "topology.yaml")
			if err != nil {
				t.Fatal(err)
			}
			got := lintText(t, text, map[string]string{"r.avsc": c.after}, LintOptions{Against: before})
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestReferencedSchemasAreFollowed(t *testing.T) {
	t.Parallel()
	text := `
topics: [{name: t, partitions: 1, replicas: 3, schemas: [{file: ./r.avsc, references: [{name: n.A, subject: n.A}]}]}]
subjects: [{file: ./a.avsc, subject: n.A}]
`
	const r, a = `{"type":"record","name":"R","namespace":"n","fields":[{"name":"a","type":"n.A"}]}`, `{"type":"record","name":"A","namespace":"n","fields":[{"name":"x","type":"int"}]}`
	before, err := Load(fstest.MapFS{"topology.yaml": {Data: []byte(text)}, "r.avsc": {Data: []byte(r)}, "a.avsc": {Data: []byte(a)}}, "topology.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got := lintText(t, text, map[string]string{"r.avsc": strings.Replace(r, `"a"`, `"b"`, 1), "a.avsc": a}, LintOptions{Against: before})
	if !strings.Contains(got, "subject t-n.R: BACKWARD: the new schema does not read") || strings.Contains(got, "n.A:") {
		t.Error(got)
	}
}

func TestWhatBecameOfTopicsIsTold(t *testing.T) {
	t.Parallel()
	before, err := Load(fstest.MapFS{"topology.yaml": {Data: []byte("topics: [{name: a, partitions: 4, replicas: 3}, {name: b, partitions: 1, replicas: 3}, {name: c, partitions: 1, replicas: 3, config: {cleanup.policy: compact}}]")}}, "topology.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got := lintText(t, "topics: [{name: a, partitions: 2, replicas: 3}, {name: c, partitions: 2, replicas: 3}]", nil, LintOptions{Against: before})
	for _, want := range []string{"error: topic a: 4 partitions became 2", "warning: topic b: it is not listed any more", "warning: topic c: 1 partitions became 2", "warning: topic c: with another cleanup.policy"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
