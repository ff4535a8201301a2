//go:build !realkafka

package main

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sr"
)

// conversation runs the command as if somebody sat there.
func conversation(t *testing.T, getenv func(string) string, in io.Reader, out io.Writer, args ...string) result {
	t.Helper()
	var stderr bytes.Buffer
	err := run(t.Context(), args, getenv, console{in: in, out: out, err: &stderr, interactive: true, colour: true})
	status := exitStatus(err, &stderr)
	return result{status: status, err: err, stderr: stderr.String()}
}

func TestAtATerminalItIsAskedAndOnlyYesIsYes(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	file := write(t, "topics: [{name: orders, partitions: 1, replicas: 1}]", nil)
	for _, answer := range []string{"", "\n", "y\n", "no\n", "yes please\n"} {
		var out bytes.Buffer
		conversation(t, s.getenv, strings.NewReader(answer), &out, "apply", "--topology", file).check(t, 1, "nothing was applied")
		if !strings.Contains(out.String(), "Apply this?") || !strings.Contains(out.String(), "\x1b[32m") {
			t.Errorf("shown: %q", out.String())
		}
	}
	if len(s.topics(t)) != 0 {
		t.Fatal("applied without a yes")
	}
	var out bytes.Buffer
	conversation(t, s.getenv, strings.NewReader("yes\n"), &out, "apply", "--topology", file).check(t, 0)
	if !s.topics(t).Has("orders") || !strings.Contains(out.String(), "Applied: 1 created") {
		t.Errorf("after yes: %s", out.String())
	}
}

// Whoever is asked may take hours to answer.
func TestWhatMovedWhileItWasAskedIsNotApplied(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	file := write(t, "topics: [{name: orders, partitions: 2, replicas: 1}]", nil)
	in, answer := io.Pipe()
	out := &lines{}
	done := make(chan result)
	go func() { done <- conversation(t, s.getenv, in, out, "apply", "--topology", file) }()
	out.await(t.Context(), t, "Apply this?")
	s.create(t, "orders", 1, 1, nil)
	if _, err := io.WriteString(answer, "yes\n"); err != nil {
		t.Fatal(err)
	}
	(<-done).check(t, 1, "topic orders: nothing to create any more", "partitions of topic orders: to update, which was not planned")
	if got := len(s.topics(t)["orders"].Partitions); got != 1 {
		t.Errorf("%d partitions", got)
	}
}

func TestBrokersThatFailHalfWayAreToldAndTheNextRunFinishes(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	file := write(t, "topics: [{name: a, partitions: 1, replicas: 1, schemas: [Heartbeat]}, {name: b, partitions: 1, replicas: 1}]", nil)
	s.embedded.kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: "b", Err: kerr.PolicyViolation, When: func(request kmsg.Request) bool {
		return !request.(*kmsg.CreateTopicsRequest).ValidateOnly // the brokers change their mind after the plan
	}})
	failed := s.run(t, "apply", "--topology", file)
	failed.check(t, 1, "topic b: POLICY_VIOLATION", "applied:\n  subject a-nl.openweb.data.Heartbeat\n  topic a")
	s.run(t, "apply", "--topology", file).check(t, 0)
	s.run(t, "plan", "--topology", file).check(t, 0)
}

func TestApplyAnswersInJSON(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	file := write(t, "topics: [{name: orders, partitions: 1, replicas: 1}, {name: big, partitions: 1, replicas: 9}]", nil)
	got := s.run(t, "apply", "--topology", file, "--output", "json")
	got.check(t, 1)
	var said struct {
		Plan struct {
			Changes []struct {
				Kind, Action, Name, Blocked string
			}
			Summary map[string]int
		}
		Applied    []string
		NotApplied []string `json:"not_applied"`
	}
	if err := json.Unmarshal([]byte(got.stdout), &said); err != nil {
		t.Fatalf("%v: %s", err, got.stdout)
	}
	if len(said.Applied) != 1 || said.Applied[0] != "topic orders" || len(said.NotApplied) != 1 || len(said.Plan.Changes) != 2 || said.Plan.Summary["create"] != 1 || said.Plan.Changes[1].Blocked == "" {
		t.Errorf("%+v", said)
	}
}

func TestLintSaysWhereAndEndsWithItsStatus(t *testing.T) {
	t.Parallel()
	nobody := func(string) string { return "" }
	synchronize(t, nobody, "lint").check(t, 0, "0 findings")
	file := write(t, "topics:\n  - {name: orders, partitions: 1, replicas: 1}\n  - {name: payments, partitions: 1, replicas: 2, config: {min.insync.replicas: 3}}\n", nil)
	synchronize(t, nobody, "lint", "--topology", file).check(t, 2, file+":2:45: warning: topic orders: ", file+":3:80: error: topic payments: ", "2 findings")
	warned := write(t, "topics: [{name: orders, partitions: 1, replicas: 1}]", nil)
	synchronize(t, nobody, "lint", "--topology", warned).check(t, 0, "\n1 finding\n")
	synchronize(t, nobody, "lint", "--strict", "--topology", warned).check(t, 2)
	synchronize(t, nobody, "lint", "--name-pattern", "[", "--topology", warned).check(t, 1, "--name-pattern is no regular expression")
	synchronize(t, nobody, "lint", "--topology", warned, "--against", file).check(t, 0, file+":3:5: warning: topic payments: it is not listed any more")
	var findings []map[string]any
	got := synchronize(t, nobody, "lint", "--topology", file, "--output=json")
	if err := json.Unmarshal([]byte(got.stdout), &findings); err != nil || len(findings) != 2 {
		t.Errorf("%v, %s", err, got.stdout)
	}
	bad := write(t, "topics:\n  - {name: orders, partition: 1, replicas: 1}\n", nil)
	got = synchronize(t, nobody, "lint", "--topology", bad, "--output=json")
	got.check(t, 1, `"column": 20`, `"rule": "malformed"`, `"message": "there is no such key in a topic: did you mean partitions?"`)
	if !json.Valid([]byte(got.stdout)) {
		t.Error(got.stdout)
	}
	synchronize(t, nobody, "plan", "--topology", bad).check(t, 1, bad+":2:20: partition: there is no such key in a topic: did you mean partitions?", "1 fault")
}

func TestTheDefaultCanBeTakenForAFileOfOnesOwn(t *testing.T) {
	t.Parallel()
	got := synchronize(t, func(string) string { return "" }, "default")
	got.check(t, 0)
	s := startServers(t)
	s.run(t, "apply").check(t, 0)
	s.run(t, "plan", "--topology", write(t, got.stdout, nil)).check(t, 0, "all 16 topics and subjects")
}

func TestWhatACommandCantUseIsASentence(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	for name, c := range map[string]struct {
		content string
		args    []string
		says    string
	}{
		"a directory that is a file": {"", []string{"export", "--dir", file}, "is a file: name a directory"},
		"one below a file":           {"", []string{"export", "--dir", file + "/x"}, "is a file: name a directory"},
		"a plan without anything":    {"{}", []string{"apply", file}, "it has no plan_format in it"},
		"a plan of another version":  {`{"plan_format": 99}`, []string{"apply", file}, "another version of this program: plan again"},
		"an empty plan":              {"", []string{"apply", file}, "it is empty: save a plan by `plan --out FILE`"},
		"a plan that was printed":    {`{"changes": []}`, []string{"apply", file}, "which can't be applied: save a plan by `plan --out FILE`"},
		"a plan that is a topology":  {"topics: []", []string{"apply", file}, "it is not a plan that `plan --out` wrote"},
		"a plan with more behind it": {`{"plan_format": 1} {}`, []string{"apply", file}, "there is something behind the plan"},
		"a variable that is not set": {"", []string{"plan", "--topology", ""}, "--topology is given and empty: give it a value, or leave it out"},
		"one for a plan":             {"", []string{"apply", ""}, "is given and empty"},
		"one for a list":             {"", []string{"plan", "--allow-delete="}, "--allow-delete is given and empty"},
		"a directory for a file":     {"", []string{"plan", "--topology", dir}, "reading the topology " + dir + ": it is a directory: name the file, such as " + dir + "/topology.yaml"},
		"a file that is not there":   {"", []string{"plan", "--topology", dir + "/nowhere"}, "reading the topology " + dir + "/nowhere: no such file or directory"},
		"what can't be deleted":      {"", []string{"plan", "--allow-delete", "topics, schemas"}, `--allow-delete: " schemas" is none of topics, subjects, acls`},
	} {
		if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		got := synchronize(t, func(string) string { return "" }, c.args...)
		if got.status != 1 || !strings.Contains(got.stderr, c.says) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// Who reads a file while it is written anew, or after a crash, has the old one or the new one to its end.
func TestFilesAreReplacedAsAWhole(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	s.create(t, "orders", 1, 1, nil)
	dir := t.TempDir()
	for name, args := range map[string][]string{
		"topology.yaml": {"export", "--dir", dir, "--without-registry", "--without-acls", "--force"},
		"plan.json":     {"plan", "--topology", write(t, "topics: [{name: orders, partitions: 1, replicas: 1}]", nil), "--out", filepath.Join(dir, "plan.json")},
	} {
		path, before := filepath.Join(dir, name), filepath.Join(t.TempDir(), "before")
		if err := errors.Join(os.WriteFile(path, []byte("old"), 0o600), os.Link(path, before)); err != nil {
			t.Fatal(err)
		}
		s.run(t, args...).check(t, 0)
		text, err := os.ReadFile(path)
		if old, oldErr := os.ReadFile(before); err != nil || oldErr != nil || !strings.Contains(string(text), "orders") || string(old) != "old" {
			t.Errorf("%s: the file that was there has %q, the new one %q: %v, %v", name, old, text, oldErr, err)
		}
	}
	if there, err := os.ReadDir(dir); err != nil || len(there) != 2 {
		t.Errorf("there are %v, %v", there, err)
	}
}

func TestWhatNeedsAWordIsNamedWithWhatWouldGiveIt(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	s.create(t, "orders", 1, 1, nil)
	s.create(t, "old", 1, 1, nil)
	refused := func(want string, args ...string) string {
		t.Helper()
		got := s.run(t, append([]string{"apply"}, args...)...)
		got.check(t, 1, want, "nothing was applied")
		return got.stderr
	}
	acls := write(t, "topics: [{name: orders, partitions: 1, replicas: 1}]\nacls: [{principal: User:shop, reads: [orders]}]", nil)
	if said := refused("the plan makes ACLs", "--topology", acls); !strings.Contains(said, "--create-only") || strings.Contains(said, "changes what exists") {
		t.Error(said)
	}
	if said := refused("the plan deletes", "--topology", acls, "--allow-delete", "topics, acls"); strings.Contains(said, "--create-only") {
		t.Error(said)
	}
	saved := filepath.Join(t.TempDir(), "plan.json")
	s.run(t, "plan", "--topology", acls, "--allow-delete=topics", "--out", saved).check(t, 2)
	if said := refused("the plan deletes", saved); strings.Contains(said, "--create-only") || strings.Contains(said, "makes ACLs") {
		t.Error(said) // what it makes was agreed to when it was looked at
	}
	s.run(t, "apply", "--create-only", saved).check(t, 1, "was made to delete or prune, and --create-only does neither")
}

func TestTheJSONSchemaIsPrinted(t *testing.T) {
	t.Parallel()
	got := synchronize(t, func(string) string { return "" }, "schema")
	got.check(t, 0)
	if !json.Valid([]byte(got.stdout)) {
		t.Error(got.stdout)
	}
}

// bash is asked what it would complete.
func TestBashCompletesCommandsFlagsAndValues(t *testing.T) {
	t.Parallel()
	script := synchronize(t, func(string) string { return "" }, "completion", "bash")
	script.check(t, 0)
	for line, want := range map[string]string{
		"synchronizer ":                                   "plan apply export lint schema default completion --help --version",
		"synchronizer pl":                                 "plan",
		"synchronizer apply --cre":                        "--create-only",
		"synchronizer plan --allow-delete t":              "topics",
		"synchronizer plan --output = j":                  "json",
		"synchronizer plan --kafka-security-protocol SA":  "SASL_PLAINTEXT SASL_SSL",
		"synchronizer export --kafka-sasl-mechanism = SC": "SCRAM-SHA-256 SCRAM-SHA-512",
		"synchronizer completion f":                       "fish",
		"synchronizer plan --kafka-brokers some":          "",
		"synchronizer plan --kafka-security-proto":        "--kafka-security-protocol",
	} {
		words := strings.Split(line, " ")
		command := exec.CommandContext(t.Context(), "bash", "-c", `eval "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _synchronizer; echo "${COMPREPLY[*]}"`, "bash", script.stdout)
		command.Args = append(command.Args, words...)
		got, err := command.CombinedOutput()
		if err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("%q: got %q, %v, want %q", line, got, err, want)
		}
	}
}

func TestOtherShellsGetScriptsOfTheSameFlags(t *testing.T) {
	t.Parallel()
	for shell, want := range map[string][]string{
		"zsh":  {"#compdef synchronizer", "'--allow-delete=[", ":value:(topics subjects acls)'", "'--topology=[The topology; the open-bank stacks when not given]:file:_files'"},
		"fish": {"complete -c synchronizer -n '__fish_seen_subcommand_from plan' -l allow-delete -x -a 'topics subjects acls'", "-l topology -r -F"},
	} {
		got := synchronize(t, func(string) string { return "" }, "completion", shell)
		got.check(t, 0, want...)
	}
	synchronize(t, func(string) string { return "" }, "completion", "tcsh").check(t, 1, "bash", "--help")
}

// built is the command as people have it, without C.
func built(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "synchronizer")
	command := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return binary
}

// The command must run on nothing, and be built without a C compiler.
func TestTheCommandIsStaticAndWithoutC(t *testing.T) {
	t.Parallel()
	binary := built(t)
	file, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	for _, program := range file.Progs {
		if program.Type == elf.PT_INTERP {
			t.Error("it needs an interpreter")
		}
	}
	// /dev/null is no terminal: nothing is asked.
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	run := exec.CommandContext(t.Context(), binary, "plan", "--timeout=1s", "--kafka-brokers=127.0.0.1:1")
	run.Stdin = null
	out, err := run.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != statusError || !strings.Contains(string(out), "nothing answers there") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestBrokersWithoutAnAuthorizerAreANote(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	s.embedded.kafka.ControlKey(int16(kmsg.DescribeACLs), func(request kmsg.Request) (kmsg.Response, error, bool) {
		s.embedded.kafka.KeepControl()
		answer := request.(*kmsg.DescribeACLsRequest).ResponseKind().(*kmsg.DescribeACLsResponse)
		answer.ErrorCode = kerr.SecurityDisabled.Code
		return answer, nil, true
	})
	file := write(t, "topics: [{name: orders, partitions: 1, replicas: 1}]\nacls: [{principal: User:shop, reads: [orders]}]", nil)
	s.run(t, "apply", "--topology", file).check(t, 0, "Note: 2 ACLs of the topology can't be made: ", "no authorizer", "1 created")
	s.run(t, "plan", "--topology", file).check(t, 0)
	s.run(t, "export", "--dir", filepath.Join(t.TempDir(), "exported")).check(t, 0, "0 ACLs")
}

func TestSubjectsThatReferToEachOtherAreDeletedInAnyOrder(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	s.register(t, "a", sr.Schema{Schema: addressV1})
	s.register(t, "b", sr.Schema{Schema: paymentV1, References: []sr.SchemaReference{{Name: "shop.Address", Subject: "a", Version: 1}}})
	s.register(t, "kept-by-nobody", sr.Schema{Schema: orderV1})
	file := write(t, "subjects: [{file: Heartbeat, subject: beat}]", nil)
	s.run(t, "apply", "--yes", "--allow-delete", "subjects", "--topology", file).check(t, 0, "1 created, 0 changed, 3 deleted")
	if got := s.subjects(t); len(got) != 1 {
		t.Errorf("subjects: %q", got)
	}
}

// The embedded brokers move no replicas: more of them in sync than there are would lock all writers out, who want acks=all.
func TestMoreReplicasInSyncWaitForTheReplicas(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	s.create(t, "orders", 1, 1, nil)
	for name, c := range map[string]struct {
		replicas string
		status   int
		says     string
	}{
		"they do not come":    {"3", 1, "topic orders: of the 2 replicas that min.insync.replicas needs, 1 are in sync: nobody could write with acks=all"},
		"there are no others": {"5", 1, "topic orders: min.insync.replicas is 2 with 1 replica: nobody can write with acks=all, and more replicas are not possible"},
	} {
		file := write(t, "topics: [{name: orders, partitions: 1, replicas: "+c.replicas+", config: {min.insync.replicas: 2}}]", nil)
		s.run(t, "apply", "--yes", "--topology", file).check(t, c.status, c.says, "applied: nothing")
		if got := s.config(t, "orders", "min.insync.replicas"); got == "2" {
			t.Errorf("%s: it is set nevertheless", name)
		}
	}
	s.run(t, "plan", "--topology", write(t, "topics: [{name: orders, partitions: 1, replicas: 1, config: {min.insync.replicas: 2}}]", nil)).check(t, 2, "min.insync.replicas is 2 with 1 replica: nobody can write with acks=all")
}
