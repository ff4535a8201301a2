package security

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"openbank/topology"
)

// entry is a line of the table of access control lists, for one operation.
type entry struct {
	program, resource, name, pattern string
	operation                        kadm.ACLOperation
}

func (e entry) String() string {
	return fmt.Sprintf("%s on %s %s", e.operation, e.resource, e.name)
}

// lists reads docs/security.md.
func lists(t *testing.T) []entry {
	t.Helper()
	text, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| program | resource |")
	table, _, _ = strings.Cut(table, "\n\n")
	var all []entry
	for _, line := range strings.Split(table, "\n")[2:] {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if len(cells) != 6 {
			t.Fatalf("docs/security.md: %q has %d cells", line, len(cells))
		}
		for _, name := range strings.Split(cells[4], ", ") {
			operation, err := kmsg.ParseACLOperation(name)
			if err != nil {
				t.Fatalf("docs/security.md: %q: %v", line, err)
			}
			all = append(all, entry{program: cells[0], resource: cells[1], name: strings.Trim(cells[2], "`"), pattern: cells[3], operation: operation})
		}
	}
	return all
}

// The file's form of the handler's list says the same as the table.
func TestTheTopologyFileHasTheHandlersList(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, file, _ := strings.Cut(string(text), "```yaml\n")
	file, _, _ = strings.Cut(file, "```")
	read, err := topology.Load(fstest.MapFS{"topology.yaml": {Data: []byte(file)}}, "topology.yaml")
	if err != nil {
		t.Fatal(err)
	}
	stated := map[string]bool{}
	for _, a := range read.ACLs {
		if a.Principal != "User:CN=command-handler" || a.Permission != "allow" {
			t.Errorf("%+v", a)
		}
		if a.Operation != "describe" { // which the others bring with them
			stated[fmt.Sprint(a.Resource, a.Name, a.Pattern, a.Operation)] = true
		}
	}
	for _, e := range of(lists(t), "command-handler") {
		resource := strings.ToLower(strings.ReplaceAll(e.resource, "TransactionalId", "transactional_id"))
		key := fmt.Sprint(resource, e.name, strings.ToLower(e.pattern), strings.ToLower(e.operation.String()))
		if !stated[key] {
			t.Errorf("%s is not in the file", e)
		}
		delete(stated, key)
	}
	for key := range stated {
		t.Errorf("%s is in the file alone", key)
	}
}

// of are the entries of a program.
func of(all []entry, program string) []entry {
	var its []entry
	for _, e := range all {
		if e.program == program {
			its = append(its, e)
		}
	}
	return its
}
