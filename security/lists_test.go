//go:build realkafka

package security

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
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

// builder is the entry as kadm has it, for a principal that is a certificate's CN.
func (e entry) builder(cn string) *kadm.ACLBuilder {
	b := kadm.NewACLs().Operations(e.operation).Allow("User:CN=" + cn).AllowHosts("*")
	switch e.resource {
	case "Topic":
		b.Topics(e.name)
	case "Group":
		b.Groups(e.name)
	case "TransactionalId":
		b.TransactionalIDs(e.name)
	case "Cluster":
		b.Clusters()
	}
	if e.pattern == "Prefixed" {
		return b.ResourcePatternType(kadm.ACLPatternPrefixed)
	}
	return b.ResourcePatternType(kadm.ACLPatternLiteral)
}
