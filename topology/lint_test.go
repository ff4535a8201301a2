package topology

import (
	"fmt"
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
	for _, want := range []string{"error: topic a: 4 partitions became 2", "warning: topic b: it is not listed any more", "warning: topic c: 1 partition became 2", "warning: topic c: with another cleanup.policy"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestSchemaFilesAreChecked(t *testing.T) {
	t.Parallel()
	const address, order = `{"$id": "http://shop/address.json", "type": "object"}`, `{"type": "object", "properties": {"to": {"$ref": "address.json"}}}`
	const key = "syntax = \"proto3\";\nimport \"google/protobuf/timestamp.proto\";\nimport \"shop/id.proto\";\nmessage Key { shop.Id id = 1; }\n"
	const payment = `{"type":"record","name":"Payment","namespace":"shop","fields":[{"name":"to","type":"shop.Address"}]}`
	for name, c := range map[string]struct {
		topology string
		files    map[string]string
		want     string
	}{
		"JSON Schema": {"subjects: [{file: ./o.json, subject: o}]", map[string]string{"o.json": `{"type": "object", "additionalProperties": {"$ref": "#/$defs/x"}, "$defs": {"x": true}}`}, ""},
		"JSON that is no schema": {
			"subjects: [{file: ./o.json, subject: o}]", map[string]string{"o.json": `{"type": "objekt"}`},
			"topology.yaml:1:19: error: subject o: the schema is not JSON Schema: /type: value must be one of",
		},
		"a place in it that is not there": {"subjects: [{file: ./o.json, subject: o}]", map[string]string{"o.json": `{"$ref": "#/nowhere"}`}, "error: subject o: the schema is not JSON Schema: "},
		"a JSON reference": {
			"subjects: [{file: ./o.json, subject: o, references: [{name: address.json, subject: a}]}, {file: ./a.json, subject: a}]", map[string]string{"o.json": order, "a.json": address}, "",
		},
		"a JSON reference to the registry": {"subjects: [{file: ./o.json, subject: o, references: [{name: address.json, subject: a}]}]", map[string]string{"o.json": order}, ""},
		"a JSON reference without a name": {
			"subjects: [{file: ./o.json, subject: o}]", map[string]string{"o.json": order}, "warning: subject o: it refers to address.json, which is not among its references",
		},
		"Protobuf": {"subjects: [{file: ./k.proto, subject: k, references: [{name: shop/id.proto, subject: id}]}]", map[string]string{"k.proto": key}, ""},
		"Protobuf that is none": {
			"subjects: [{file: ./k.proto, subject: k}]", map[string]string{"k.proto": "syntax = \"proto3\";\nmessage Key {\n  string = 1;\n}\n"},
			"error: subject k: the schema is not Protobuf: 3:10: ",
		},
		"text in a .proto":   {"subjects: [{file: ./k.proto, subject: k}]", map[string]string{"k.proto": "hello"}, "error: subject k: the schema is not Protobuf"},
		"a proto of nothing": {"subjects: [{file: ./k.proto, subject: k}]", map[string]string{"k.proto": "syntax = \"proto3\";"}, "error: subject k: the schema has no message in it"},
		"an import without reference": {
			"subjects: [{file: ./k.proto, subject: k}]", map[string]string{"k.proto": key}, "error: subject k: it imports shop/id.proto, which is not among its references",
		},
		"a reference without import": {
			"subjects: [{file: ./k.proto, subject: k, references: [{name: shop/id.proto, subject: id}, {name: x.proto, subject: x}]}]", map[string]string{"k.proto": key},
			"topology.yaml:1:98: warning: subject k: it refers to subject x as x.proto, which it does not import",
		},
		"an Avro reference to a type that is not there": {
			"subjects: [{file: ./p.avsc, subject: p, references: [{name: shop.Address, subject: a}]}, {file: ./a.avsc, subject: a}]",
			map[string]string{"p.avsc": payment, "a.avsc": strings.Replace(payment, "shop.Address", "string", 1)},
			"error: subject p: the schema can't be read with what it refers to: ",
		},
		"an Avro reference by another name": {
			"subjects: [{file: ./p.avsc, subject: p, references: [{name: Address, subject: a}]}, {file: ./a.avsc, subject: a}]",
			map[string]string{"p.avsc": payment, "a.avsc": `{"type":"record","name":"Address","namespace":"shop","fields":[]}`},
			"warning: subject p: it refers to subject a as Address, and the type there is shop.Address",
		},
		"a reference to another type of schema": {
			"subjects: [{file: ./k.proto, subject: k, references: [{name: shop/id.proto, subject: a}]}, {file: ./a.json, subject: a}]", map[string]string{"k.proto": key, "a.json": address},
			"error: subject k: it is PROTOBUF and refers to subject a, which is JSON",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := fstest.MapFS{"topology.yaml": {Data: []byte(c.topology)}}
			for file, text := range c.files {
				files[file] = &fstest.MapFile{Data: []byte("\ufeff" + text)}
			}
			topology, err := Load(files, "topology.yaml")
			if err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			for _, finding := range Lint(topology, LintOptions{}) {
				fmt.Fprintf(&said, "topology.yaml:%d:%d: %s\n", finding.Line, finding.Column, finding)
			}
			if got := said.String(); c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestWhatIsGoneIsToldWithItsPlaceAndWhetherItCanBeDeleted(t *testing.T) {
	t.Parallel()
	const schema = `{"type":"record","name":"R","namespace":"n","fields":[]}`
	files := fstest.MapFS{
		"r.avsc": {Data: []byte(schema)},
		"before.yaml": {Data: []byte(`topics:
  - {name: stays, partitions: 1, replicas: 3}
  - {name: old, partitions: 1, replicas: 3, schemas: [./r.avsc]}
  - {name: audit.2019, partitions: 1, replicas: 3, schemas: [./r.avsc]}
subjects: [{file: ./r.avsc, subject: alone}]
acls:
  - {principal: User:shop, reads: [stays], groups: [shop]}
  - {principal: User:admin, reads: ["*"]}
`)},
		"after.yaml": {Data: []byte(`topics: [{name: stays, partitions: 1, replicas: 3}]
acls: [{principal: User:shop, reads: [stays]}]
protected: {topics: [audit.*], principals: [User:admin]}
`)},
		"without.yaml": {Data: []byte("topics: [{name: stays, partitions: 1, replicas: 3}]")},
	}
	load := func(name string) *Topology {
		t.Helper()
		topology, err := Load(files, name)
		if err != nil {
			t.Fatal(err)
		}
		return topology
	}
	lint := func(name string) string {
		var said strings.Builder
		for _, finding := range Lint(load(name), LintOptions{Against: load("before.yaml")}) {
			if !finding.Earlier {
				t.Errorf("not of the earlier file: %+v", finding)
			}
			fmt.Fprintf(&said, "%d:%d %s\n", finding.Line, finding.Column, finding)
		}
		return said.String()
	}
	const deletable, kept = "it is not listed any more: apply leaves it, and --allow-delete ", "it is not listed any more, and stays: it is internal, protected or referred to [removed]\n"
	want := "3:5 warning: topic old: " + deletable + "topics deletes it with its records [removed]\n" +
		"3:55 warning: subject old-n.R: " + deletable + "subjects deletes it [removed]\n" +
		"4:5 warning: topic audit.2019: " + kept +
		"4:62 warning: subject audit.2019-n.R: " + kept +
		"5:19 warning: subject alone: " + deletable + "subjects deletes it [removed]\n" +
		"7:17 warning: ACL User:shop: allow read on group shop: " + deletable + "acls deletes it [removed]\n" +
		"8:17 warning: ACL User:admin: allow describe on topic *: " + kept +
		"8:17 warning: ACL User:admin: allow read on topic *: " + kept
	if got := lint("after.yaml"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := lint("without.yaml"); !strings.Contains(got, "0:0 warning: acls: the key is not there any more") || strings.Contains(got, "ACL User") {
		t.Error(got)
	}
}

func TestACLsThatMatchNothingAreFound(t *testing.T) {
	t.Parallel()
	got := lintText(t, `acls:
  - {principal: User:a, host: my-host, reads: ["orders*", "*"], groups: ["*x"]}
  - {principal: User:b, host: "10.0.0.1", rules: [{resource: topic, name: "orders*", pattern: prefixed, operations: [read, write]}]}
  - {principal: User:c, host: "::1", reads: [orders]}
`, nil, LintOptions{})
	want := "warning: ACLs of User:a: the * in group *x is one of the name's characters: only * alone, and one at the end in reads, writes, groups and transactional_ids, is more [acl]\n" +
		"warning: ACLs of User:a: the host my-host is no address: Kafka compares addresses, and looks up no names [acl]\n" +
		"warning: ACLs of User:b: the * in topic orders* is one of the name's characters: only * alone, and one at the end in reads, writes, groups and transactional_ids, is more [acl]"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Each of forty schemas refers twice to the one before: paths double with each, schemas do not.
func TestReferencesThatMeetAgainAreFollowedOnce(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	files := map[string]string{"0.json": `{"type": "object"}`, "0.avsc": `{"type":"record","name":"R0","fields":[]}`}
	text.WriteString("subjects:\n  - {file: ./0.avsc, subject: a0}\n  - {file: ./0.json, subject: j0}\n")
	for i := 1; i < 40; i++ {
		files[fmt.Sprintf("%d.avsc", i)] = fmt.Sprintf(`{"type":"record","name":"R%d","fields":[{"name":"a","type":"R%d"}]}`, i, i-1)
		files[fmt.Sprintf("%d.json", i)] = fmt.Sprintf(`{"$ref": "%d.json"}`, i-1)
		fmt.Fprintf(&text, "  - {file: ./%d.avsc, subject: a%d, references: [{name: R%d, subject: a%d}, {name: R%d, subject: a%d}]}\n", i, i, i-1, i-1, i-1, i-1)
		fmt.Fprintf(&text, "  - {file: ./%d.json, subject: j%d, references: [{name: %d.json, subject: j%d}, {name: x.json, subject: j%d}]}\n", i, i, i-1, i-1, i-1)
	}
	if got := lintText(t, text.String(), files, LintOptions{}); got != "" {
		t.Error(got)
	}
}
