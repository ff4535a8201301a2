//go:build !realkafka

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
)

// answer has the registry answer requests whose path has a text in it, with a status and a body.
func (s *servers) answer(in string, status int, body string) {
	s.embedded.registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, in) {
			return false
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // the client reads it, or the test fails
		return true
	})
}

// setLevel gives a subject a level of its own as somebody else would.
func (s *servers) setLevel(t *testing.T, subject, name string) {
	t.Helper()
	var level sr.CompatibilityLevel
	if err := level.UnmarshalText([]byte(name)); err != nil {
		t.Fatal(err)
	}
	if err := s.registry(t).SetCompatibility(t.Context(), sr.SetCompatibility{Level: level}, subject)[0].Err; err != nil {
		t.Fatal(err)
	}
}

// level is a subject's own, "" when it has none.
func (s *servers) level(t *testing.T, subject string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.environment["SCHEMA_REGISTRY_URL"]+"/config/"+subject+"?defaultToGlobal=false", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode == http.StatusNotFound {
		return ""
	}
	var own struct {
		Level string `json:"compatibilityLevel"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&own); err != nil {
		t.Fatal(err)
	}
	return own.Level
}

const forbidden = `{"error_code": 40301, "message": "not yours"}`

func TestASubjectThatMayNotBeReadEndsNothing(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	for _, subject := range []string{"secret", "open"} {
		s.register(t, subject, sr.Schema{Schema: orderV1})
	}
	s.answer("/secret", http.StatusForbidden, forbidden)
	file := write(t, "topics: [{name: orders, partitions: 1, replicas: 1}]\nsubjects: [{file: ./order.avsc, subject: secret}, {file: ./order.avsc, subject: open}]", shopFiles())
	s.run(t, "plan", "--topology", file).check(t, 2, "! subject secret", "not possible: it may not be compared: ", "who may not do this", "+ topic orders", "1 not possible; 1 as they must be")
	s.run(t, "apply", "--topology", file).check(t, 1, "subject secret: it may not be compared", "applied:\n  topic orders")
	dir := filepath.Join(t.TempDir(), "exported")
	s.run(t, "export", "--dir", dir).check(t, 0, "subject secret is left out, and protected", "1 topic, 1 subject")
	s.run(t, "plan", "--allow-delete=subjects", "--topology", filepath.Join(dir, "topology.yaml")).check(t, 0)
}

func TestARegistryThatTellsOnlyWhatItIsAskedForIsEnough(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	s.register(t, "open", sr.Schema{Schema: orderV1})
	file := write(t, "registry: {compatibility: BACKWARD}\nsubjects: [{file: ./order.avsc, subject: open}]", shopFiles())
	s.embedded.registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/subjects" && r.URL.Path != "/config" {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, forbidden) // the client reads it, or the test fails
		return true
	})
	s.run(t, "plan", "--topology", file).check(t, 1, "Not compared: which subjects there are besides", "Not compared: the registry's compatibility level", "all 1 topics and subjects")
	s.run(t, "plan", "--allow-delete=subjects", "--topology", file).check(t, 1, "listing the subjects, to delete those that the topology does not list")
	s.run(t, "export", "--dir", filepath.Join(t.TempDir(), "exported")).check(t, 0, "subjects are left out", "0 subjects")
}

// A plan asks for a subject twice at once when another schema refers to it. Between the answers another registers it here.
func TestASubjectThatComesBetweenTwoLooksIsThereForAllOrForNone(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	answer, err := json.Marshal(map[string]any{"subject": "shop.Address", "version": 1, "id": 1, "schema": addressV1})
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	first, second := make(chan struct{}), make(chan struct{})
	wait := func(r *http.Request, until chan struct{}) {
		select {
		case <-until:
		case <-r.Context().Done():
		}
	}
	s.embedded.registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case strings.Contains(r.URL.Path, "/payment/versions"): // the schema that refers to it is the second to ask
			wait(r, first)
		case strings.Contains(r.URL.Path, "/shop.Address/versions"):
			switch asked.Add(1) {
			case 1:
				close(first)
				wait(r, second)
			case 2:
				close(second)
				w.WriteHeader(http.StatusNotFound)
				_, _ = io.WriteString(w, `{"error_code": 40401, "message": "Subject not found."}`) // the client reads it, or the test fails
				return true
			}
			_, _ = w.Write(answer)
			return true
		}
		return false
	})
	file := write(t, "subjects: [{file: ./payment.avsc, subject: payment, references: [{name: shop.Address, subject: shop.Address}]}, {file: ./address.avsc, subject: shop.Address}]", shopFiles())
	got := s.run(t, "plan", "--topology", file, "--timeout=30s")
	got.check(t, 2, "+ subject payment")
	if asked.Load() != 2 || strings.Contains(got.stdout, "not possible") {
		t.Errorf("asked %d times: %s", asked.Load(), got.stdout)
	}
}

// What the registry says of a new version holds for the level that it has now, and the plan changes levels first.
func TestAVerdictIsTakenForTheLevelThatWillHold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ own, registry, order, says, saysNot string }{
		"the level becomes stricter":               {"", "FULL", orderV2, "by the level that holds (BACKWARD); the level becomes FULL before it is registered", "not possible:"},
		"the level becomes weaker":                 {"FULL", "NONE", orderV2, "+ subject order", "warning"},
		"a level of its own is not the registry's": {"BACKWARD", "NONE", orderBad, "! subject order", "the level becomes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServers(t)
			s.register(t, "order", sr.Schema{Schema: orderV1})
			if c.own != "" {
				s.setLevel(t, "order", c.own)
			}
			file := write(t, "registry: {compatibility: "+c.registry+"}\nsubjects: [{file: ./order.avsc, subject: order}]", map[string]string{"order.avsc": c.order})
			got := s.run(t, "plan", "--topology", file)
			got.check(t, 2, c.says)
			if strings.Contains(got.stdout, c.saysNot) {
				t.Errorf("%q is said: %s", c.saysNot, got.stdout)
			}
		})
	}
}

// A level that was set for a schema which is then refused goes with it. That of a subject that is there is a change of its own.
func TestARefusedSchemaLeavesNoLevelUnsaid(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before, after string // "" for none
		there         bool
		answers       map[string]int // to requests, besides the refusal
		said, unsaid  string
	}{
		"a new subject":                      {said: "subject order: ", unsaid: "all the same"},
		"a new subject with a level":         {before: "FORWARD", after: "FORWARD", said: "subject order: ", unsaid: "all the same"},
		"a new subject with that level":      {before: "FULL", after: "FULL", said: "subject order: ", unsaid: "all the same"},
		"a registry that forgets no level":   {after: "FULL", answers: map[string]int{"DELETE /config/order": http.StatusMethodNotAllowed}, said: "its compatibility level is FULL all the same, which could not be taken back: "},
		"a registry that tells no level":     {after: "FULL", answers: map[string]int{"GET /config/order": http.StatusForbidden}, said: "its compatibility level is FULL all the same, which could not be taken back: "},
		"a subject that is there":            {there: true, before: "BACKWARD", after: "FULL", said: "its compatibility level is FULL all the same, as the topology says (before: BACKWARD)"},
		"a subject that is there, with none": {there: true, after: "FULL", said: "its compatibility level is FULL all the same, as the topology says (before: none of its own)"},
		"a subject that is there, with it":   {there: true, before: "FULL", after: "FULL", said: "subject order: ", unsaid: "all the same"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServers(t)
			if c.there {
				s.register(t, "order", sr.Schema{Schema: orderV1})
			}
			if c.before != "" {
				s.setLevel(t, "order", c.before)
			}
			s.embedded.registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				request := r.Method + " " + r.URL.Path
				status := c.answers[request]
				if request == "POST /subjects/order/versions" {
					status = http.StatusUnprocessableEntity
				}
				if status == 0 {
					return false
				}
				w.WriteHeader(status)
				_, _ = fmt.Fprintf(w, `{"error_code": %d01, "message": "refused"}`, status) // the client reads it, or the test fails
				return true
			})
			file := write(t, "subjects: [{file: ./order.avsc, subject: order, compatibility: FULL}]", map[string]string{"order.avsc": orderV2})
			got := s.run(t, "apply", "--yes", "--topology", file)
			got.check(t, 1, "refused", c.said)
			if c.unsaid != "" && strings.Contains(got.stderr, c.unsaid) {
				t.Errorf("%q is said: %s", c.unsaid, got.stderr)
			}
			s.embedded.registry.ClearInterceptors()
			if level := s.level(t, "order"); level != c.after {
				t.Errorf("the level is %q, want %q", level, c.after)
			}
		})
	}
}

// --create-only leaves the change of level out that a plan makes first.
func TestCreateOnlyHoldsANewVersionToTheLevelThatStays(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"NONE", "FORWARD"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			s := startServers(t)
			s.register(t, "order", sr.Schema{Schema: orderV1})
			file := write(t, "registry: {compatibility: "+level+"}\nsubjects: [{file: ./order.avsc, subject: order}]", map[string]string{"order.avsc": orderBad})
			got := s.run(t, "apply", "--create-only", "--topology", file)
			got.check(t, 1, "not possible: the registry says that it is not compatible (BACKWARD)")
			if strings.Contains(got.stdout, "the level becomes") {
				t.Error("the level is said to become another one: ", got.stdout)
			}
		})
	}
}

func TestASubjectWithALevelAndNoVersionsEndsNoExport(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
	}{
		"null": {http.StatusOK, "null"}, "404 with a code": {http.StatusNotFound, `{"error_code": 40402, "message": "Version not found."}`},
		"404 without one": {http.StatusNotFound, `{"error_code": 404, "message": "HTTP 404 Not Found"}`}, "404 without JSON": {http.StatusNotFound, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServers(t)
			s.register(t, "bare", sr.Schema{Schema: orderV1})
			s.register(t, "open", sr.Schema{Schema: orderV1})
			s.answer("/bare/versions", c.status, c.body)
			dir := filepath.Join(t.TempDir(), "exported")
			s.run(t, "export", "--dir", dir).check(t, 0, "subject bare is left out: it has no versions", "1 subject")
			if text, err := os.ReadFile(filepath.Join(dir, "topology.yaml")); err != nil || strings.Contains(string(text), "bare") {
				t.Errorf("%v, %s", err, text)
			}
		})
	}
}

func TestWhatARegistrySaysOrdersNoTerminal(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	const evil = "\x1b[2J\u009b2J\u202e\x7f\r"
	s.register(t, "order", sr.Schema{Schema: orderV1})
	s.register(t, "evil"+evil, sr.Schema{Schema: orderV1})
	message, err := json.Marshal(map[string]any{"is_compatible": false, "messages": []string{"first" + evil + "\nsecond\n+ topic forged"}})
	if err != nil {
		t.Fatal(err)
	}
	s.answer("/compatibility", http.StatusOK, string(message))
	file := write(t, "subjects: [{file: ./order.avsc, subject: order}]", map[string]string{"order.avsc": orderV2})
	for _, args := range [][]string{
		{"plan", "--topology", file}, {"plan", "--output=json", "--topology", file}, {"plan", "--log-json", "--allow-delete=subjects", "--topology", file},
		{"apply", "--yes", "--topology", file}, {"apply", "--yes", "--output=json", "--topology", file}, {"plan", "--topology", "/nowhere/" + evil},
		{"export", "--dir", filepath.Join(t.TempDir(), evil)}, {"plan", "--topology=" + evil, "--evil" + evil},
	} {
		got := s.run(t, args...)
		if said := got.stdout + got.stderr; said == "" || strings.ContainsAny(said, "\x1b\u009b\u202e\x7f\r") || strings.Contains(said, "\n+ topic forged") {
			t.Errorf("%q: %q", args, said)
		}
		if strings.Contains(strings.Join(args, " "), "json --topology") && !json.Valid([]byte(got.stdout)) {
			t.Errorf("%q: no JSON: %s", args, got.stdout)
		}
	}
}

func TestSubjectsWhoseNamesFilesCantHaveAreExportedApart(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	for _, subject := range []string{"order", "Order", "../order", "a/b", "a?b", strings.Repeat("long", 60)} {
		s.register(t, subject, sr.Schema{Schema: strings.Replace(orderV1, `"id"`, `"id`+strconv.Itoa(len(subject))+`"`, 1)})
	}
	dir := filepath.Join(t.TempDir(), "exported")
	s.run(t, "export", "--dir", dir).check(t, 0, "6 subjects")
	s.run(t, "plan", "--topology", filepath.Join(dir, "topology.yaml")).check(t, 0)
	files, err := os.ReadDir(filepath.Join(dir, "schemas"))
	if err != nil || len(files) != 6 {
		t.Fatal(err, files)
	}
	seen := map[string]bool{}
	for _, file := range files {
		seen[strings.ToLower(file.Name())] = true
	}
	if len(seen) != 6 {
		t.Errorf("%v", files)
	}
}

// Apicurio takes no new version of Avro with references while a level holds: it checks without them.
func TestAnotherReferenceAloneIsShown(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	s.register(t, "shop.Address", sr.Schema{Schema: addressV1})
	s.register(t, "shop.Address", sr.Schema{Schema: addressV2})
	s.register(t, "payment", sr.Schema{Schema: paymentV1, References: []sr.SchemaReference{{Name: "shop.Address", Subject: "shop.Address", Version: 1}}})
	file := write(t, "subjects: [{file: ./payment.avsc, subject: payment, references: [{name: shop.Address, subject: shop.Address, version: 2}]}]", shopFiles())
	s.run(t, "plan", "--topology", file).check(t, 2, "reference shop.Address  shop.Address version 1 -> shop.Address version 2")
	var said struct {
		Changes []struct {
			Fields []struct{ Name, From, To string }
		}
	}
	plan := s.run(t, "plan", "--output=json", "--topology", file)
	if err := json.Unmarshal([]byte(plan.stdout), &said); err != nil || len(said.Changes) != 1 || len(said.Changes[0].Fields) != 2 || said.Changes[0].Fields[1].From != "shop.Address version 1" {
		t.Errorf("%v, %s", err, plan.stdout)
	}
	s.settle(t, file, "1 created")
	gone := write(t, "subjects: [{file: ./payment.avsc, subject: payment}]", map[string]string{"payment.avsc": strings.Replace(paymentV1, `"shop.Address"`, `"string"`, 1)})
	s.run(t, "plan", "--topology", gone).check(t, 2, "reference shop.Address  shop.Address version 2 -> none")
}

func TestWhatAListedSchemaRefersToIsNotDeleted(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	s.register(t, "deep", sr.Schema{Schema: addressV1})
	s.register(t, "shop.Address", sr.Schema{Schema: addressV2, References: []sr.SchemaReference{{Name: "deep", Subject: "deep", Version: 1}}})
	file := write(t, "subjects: [{file: ./payment.avsc, subject: payment, references: [{name: shop.Address, subject: shop.Address}]}]", shopFiles())
	s.run(t, "apply", "--yes", "--allow-delete=subjects", "--topology", file).check(t, 0, "1 created, 0 changed, 0 deleted")
}
