package topology

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"go.uber.org/goleak"

	"openbank/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheDefaultHoldsTheWholeStack(t *testing.T) {
	t.Parallel()
	topology, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	partitions := map[string]int32{}
	subjects := map[string]bool{}
	for _, topic := range topology.Topics {
		partitions[topic.Name] = topic.Partitions
		if topic.Replicas != (Replicas{Count: 3, Capped: true}) || topic.Purpose == "" {
			t.Errorf("%s: %s replicas, purpose %q", topic.Name, topic.Replicas, topic.Purpose)
		}
		for _, schema := range topic.Schemas {
			subjects[schema.Subject] = true
		}
	}
	for topic, want := range map[string]int32{
		"heartbeat": 1, "confirm_account_creation": 1, "account_creation_feedback": 1, "confirm_money_transfer": 9,
		"money_transfer_feedback": 9, "balance_changed": 9, "confirm_account_creation.dead-letter": 1, "confirm_money_transfer.dead-letter": 9,
	} {
		if partitions[topic] != want {
			t.Errorf("%s has %d partitions, want %d", topic, partitions[topic], want)
		}
	}
	if len(subjects) != len(schemas.Names) || !subjects["confirm_money_transfer-nl.openweb.data.ConfirmMoneyTransfer"] {
		t.Errorf("subjects: %v", subjects)
	}
}
func TestAFileBesideTheTopologyIsASchema(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{
		"x/topology.yaml": {Data: []byte("topics:\n- {name: a, partitions: 1, replicas: 1, schemas: [./own.avsc]}\n")},
		"x/own.avsc":      {Data: []byte(`{"type":"record","name":"Own","namespace":"n","fields":[]}`)},
	}
	topology, err := Load(files, "x/topology.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := topology.Topics[0].Schemas[0].Subject; got != "a-n.Own" {
		t.Errorf("subject %s", got)
	}
}
func TestSchemasAreTheSameWhenTheyMeanTheSame(t *testing.T) {
	t.Parallel()
	const plain = `{"type":"record","name":"R","namespace":"n","fields":[{"name":"a","type":"string"},{"name":"e","type":{"type":"enum","name":"E","symbols":["X"]}}]}`
	for name, c := range map[string]struct {
		other string
		same  bool
	}{
		"spaces":                   {strings.ReplaceAll(plain, ",", " ,\n"), true},
		"order of attributes":      {`{"namespace":"n","name":"R","fields":[{"type":"string","name":"a"},{"type":{"symbols":["X"],"name":"E","type":"enum"},"name":"e"}],"type":"record"}`, true},
		"full names":               {`{"type":"record","name":"n.R","fields":[{"name":"a","type":{"type":"string"}},{"name":"e","type":{"type":"enum","name":"n.E","symbols":["X"]}}]}`, true},
		"a JVM's strings and docs": {`{"type":"record","name":"R","namespace":"n","doc":"d","fields":[{"name":"a","doc":"d","type":{"type":"string","avro.java.string":"String"}},{"name":"e","type":{"type":"enum","name":"E","symbols":["X"]}}]}`, true},
		"the order that holds":     {strings.Replace(plain, `"type":"string"`, `"type":"string","order":"ascending"`, 1), true},
		"another sort order":       {strings.Replace(plain, `"type":"string"`, `"type":"string","order":"ignore"`, 1), false},
		"a program's attribute":    {strings.Replace(plain, `"namespace"`, `"connect.name":"n.R","namespace"`, 1), false},
		"one of a field":           {strings.Replace(plain, `"type":"string"`, `"type":"string","connect.default":""`, 1), false},
		"one of a field's type":    {strings.Replace(plain, `"string"`, `{"type":"string","java-class":"java.net.URI"}`, 1), false},
		"another order of fields":  {`{"type":"record","name":"R","namespace":"n","fields":[{"name":"e","type":{"type":"enum","name":"E","symbols":["X"]}},{"name":"a","type":"string"}]}`, false},
		"a default":                {strings.Replace(plain, `"type":"string"`, `"type":"string","default":""`, 1), false},
		"another symbol":           {strings.Replace(plain, `"X"`, `"Y"`, 1), false},
		"another namespace":        {strings.Replace(plain, `"n"`, `"m"`, 1), false},
		"no JSON":                  {"{", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := sameSchema(plain, c.other); got != c.same {
				t.Errorf("same: %v", got)
			}
		})
	}
	if sameSchema("{", "{") {
		t.Error("what can't be read is the same")
	}
}

func TestJSONIsTheSameWhenItMeansTheSame(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		a, b string
		same bool
	}{
		"layout and order": {`{"a": 1, "b": [true, null]}`, `{"b":[true,null],"a":1}`, true},
		"ways of writing":  {`{"minimum": 1.0, "maximum": 1e2, "multipleOf": -0}`, `{"minimum": 1, "maximum": 100, "multipleOf": 0}`, true},
		"large bounds":     {`{"maximum": 9007199254740993}`, `{"maximum": 9007199254740992}`, false},
		"huge bounds":      {`{"maximum": 1e999999999}`, `{"maximum": 1e999999998}`, false},
		"fractions":        {`{"minimum": 0.1}`, `{"minimum": 0.2}`, false},
		"an order that is": {`[1, 2]`, `[2, 1]`, false},
		"more behind it":   {`{}`, `{} {}`, false},
	} {
		if got := sameJSON(c.a, c.b); got != c.same {
			t.Errorf("%s: same %t", name, got)
		}
	}
}

// What stands commented in the embedded topology is what docs/security.md says that the handler needs, and can be read.
func TestTheACLsThatTheDefaultProposesAreThoseOfTheSecurityPage(t *testing.T) {
	t.Parallel()
	before, commented, found := strings.Cut(string(embedded), "# acls:\n")
	if !found {
		t.Fatal("there are none")
	}
	text := before + "acls:\n" + regexp.MustCompile(`(?m)^# `).ReplaceAllString(commented, "")
	topology, err := parse([]byte(text), "topology.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	has := map[ACL]bool{}
	for _, acl := range topology.ACLs {
		has[acl] = true
	}
	page, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	words := map[string]string{"Topic": "topic", "Group": "group", "TransactionalId": "transactional_id"}
	programs := map[string]string{"command-handler": "User:CN=command-handler", "open-bank account, transfer": "User:CN=open-bank", "open-bank check": "User:CN=open-bank"}
	rows := 0
	for _, row := range strings.Split(string(page), "\n") {
		cells := strings.Split(row, " | ")
		if len(cells) < 6 || programs[strings.TrimPrefix(cells[0], "| ")] == "" {
			continue
		}
		rows++
		for _, operation := range strings.Split(cells[4], ", ") {
			want := ACL{
				Principal: programs[strings.TrimPrefix(cells[0], "| ")], Host: "*", Resource: words[cells[1]], Name: strings.Trim(cells[2], "`"),
				Pattern: strings.ToLower(cells[3]), Operation: strings.ToLower(operation), Permission: "allow",
			}
			if !has[want] {
				t.Errorf("not among them: %v", want)
			}
		}
	}
	if rows < 15 {
		t.Errorf("%d rows of the page were read", rows)
	}
}

// What is far too long, as a device that never ends is, is not read to its end.
func TestAFileThatIsFarTooLongIsRefused(t *testing.T) {
	t.Parallel()
	_, err := Load(os.DirFS("/dev"), "zero")
	if err == nil || !strings.Contains(err.Error(), "zero has more than 16777216 bytes") {
		t.Errorf("%v", err)
	}
}

func TestTheSubjectsOfAProtectedOrInternalTopicAreKept(t *testing.T) {
	t.Parallel()
	topology := &Topology{Internal: []string{"connect-*"}, Protected: Protected{Topics: []string{"orders"}, Subjects: []string{"alone"}}}
	for subject, kept := range map[string]bool{
		"orders-value": true, "orders-key": true, "orders-nl.shop.Order": true, "alone": true, "connect-offsets-value": true,
		"orders-archive-value": false, "orders2-value": false, "nl.shop.Order": false, "others-nl.shop.Order": false,
	} {
		if topology.keepsSubject(subject) != kept {
			t.Errorf("%s: kept %t", subject, !kept)
		}
	}
}

func TestMergeKeysWithinMergeKeysAreBounded(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	text.WriteString("topics:\n- &t0 {<<: {name: a}}\n")
	for i := range 24 {
		fmt.Fprintf(&text, "- &t%d {<<: [*t%d, *t%d, *t%d, *t%d]}\n", i+1, i, i, i, i)
	}
	_, err := Load(fstest.MapFS{"topology.yaml": {Data: []byte(text.String())}}, "topology.yaml")
	if err == nil || !strings.Contains(err.Error(), "bring more than 1000 mappings") {
		t.Errorf("got %v", err)
	}
}
