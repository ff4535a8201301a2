package topology

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file, or writes it anew.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant (%s)\n%s", got, path, want)
	}
}

// Each file in testdata/malformed has its errors beside it, whole: the place, what is written there, what is wrong, the mend.
func TestAMalformedTopologyIsToldWhereAndHowToMendIt(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/malformed/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 30 {
		t.Fatalf("%d files", len(files))
	}
	placed := regexp.MustCompile(`(?m)^[0-9a-z-]+\.yaml:[0-9]+:[0-9]+: .+: .+$`)
	for _, path := range files {
		name := filepath.Base(path)
		t.Run(strings.TrimSuffix(name, ".yaml"), func(t *testing.T) {
			t.Parallel()
			_, err := Load(os.DirFS("testdata/malformed"), name)
			var bad *FileError
			if !errors.As(err, &bad) {
				t.Fatalf("got %v", err)
			}
			for _, fault := range bad.Faults {
				if fault.Wrong == "" || fault.Mend == "" {
					t.Errorf("%+v", fault)
				}
				if name != "01-empty.yaml" && !placed.MatchString(fault.Error()) {
					t.Errorf("without a place or a mend: %v", fault)
				}
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".txt", err.Error()+"\n")
		})
	}
}

func TestYAMLIsReadHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	const plain = "topics: [{name: orders, partitions: 1, replicas: 1}]\n"
	for name, text := range map[string]string{
		"a byte order mark":                   "\ufeff" + plain,
		"a directive":                         "%YAML 1.2\n---\n" + plain,
		"all at the beginning":                "\ufeff# mine\r\n%YAML 1.1 # really\r\n---\r\n" + plain,
		"a document's marks":                  "---\n" + plain + "...\n",
		"an empty document before and behind": "---\n---\n" + plain + "---\n",
		"Windows' lines":                      "topics:\r\n  - name: orders\r\n    partitions: 1\r\n    replicas: 1\r\n",
		"JSON":                                `{"topics": [{"name": "orders", "partitions": 1, "replicas": 1}]}`,
		"a type of principal of one's own":    plain + "acls: [{principal: 'Service-Account_2:robot', groups: [app]}]\n",
		"colons in lists":                     plain + "protected: {principals: [User:shop, User:CN=admin*]}\nacls: [{principal: User:shop, groups: [app:v1, 'b:c', \"d:e\"], transactional_ids: [a:b:c]}]\n",
		"tags that say what is there":         "!!map\ntopics: !!seq [!!map {!!str name: !!str orders, partitions: !!int 1, replicas: !!str 1, !!merge <<: !!map {purpose: !!str 1}}]",
		"an anchor that is given anew":        "internal: [&a x, *a]\ntopics: [{name: &a orders, partitions: &n 1, replicas: *n, purpose: *a}]\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topology, err := Load(fstest.MapFS{"topology.yaml": {Data: []byte(text)}}, "topology.yaml")
			if err != nil {
				t.Fatal(err)
			}
			if len(topology.Topics) != 1 || topology.Topics[0].Name != "orders" {
				t.Errorf("%+v", topology)
			}
			if name == "colons in lists" && (len(topology.ACLs) != 5 || topology.ACLs[0].Principal != "User:shop" || topology.Protected.Principals[1] != "User:CN=admin*") {
				t.Errorf("%+v", topology)
			}
		})
	}
}

func TestWhatAliasesComeToIsBounded(t *testing.T) {
	t.Parallel()
	nested := "subjects:\n- &s {file: Heartbeat, subject: s, references: &r [" + strings.Repeat("&x {name: a, subject: b}, ", 1) + strings.Repeat("*x, ", 2000) + "]}\n" + strings.Repeat("- *s\n", 2000)
	_, err := Load(fstest.MapFS{"topology.yaml": {Data: []byte(nested)}}, "topology.yaml")
	if err == nil || !strings.Contains(err.Error(), "more than 1000000 values") {
		t.Errorf("got %v", err)
	}
	if n := strings.Count(err.Error(), "\n"); n > 500 {
		t.Errorf("%d lines of faults", n)
	}
}

func TestNothingThatATerminalObeysIsPrinted(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain é 日本 – text":           "plain é 日本 – text",
		"a\x1b[2Jb":                   `a\x1b[2Jb`,
		"a\r\nb\tc":                   "a\\r\nb\tc",
		"\x9b1m \u009b1m \x7f \ufffd": "\\x9b1m \\u009b1m \\u007f \ufffd",
		"user\u202etxt":               "user\\u202etxt",
	} {
		if got := Printable(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	fault := Fault{File: "f", Line: 1, Column: 3, Text: "\x1b]0;\a\n", Wrong: "\x1b", source: "a\x1bb" + strings.Repeat("x", 1000)}
	if got := fault.Error(); strings.ContainsAny(got, "\x1b\a") || len(got) > 300 || !strings.HasSuffix(got, "|      ^") {
		t.Errorf("%q", got)
	}
}
