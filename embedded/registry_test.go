package embedded_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"openbank/certs"
	"openbank/embedded"
)

func registry(t *testing.T, config embedded.RegistryConfig) *embedded.Registry {
	t.Helper()
	r, err := embedded.StartRegistry(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestTheRegistryAnswersTheSameAfterARestart(t *testing.T) {
	t.Parallel()
	r := registry(t, embedded.RegistryConfig{})
	base := r.URL()
	record := `{"type":"record","name":"A","fields":[{"name":"x","type":"long"}]}`
	register(t, base, "one", record)
	register(t, base, "two", `"string"`)
	register(t, base, "two", record) // a version 2 that shares its id with another subject
	register(t, base, "gone", `"bytes"`)
	register(t, base, "one", record) // nothing new
	request(t, http.DefaultClient, http.MethodDelete, base+"/subjects/gone", nil)
	request(t, http.DefaultClient, http.MethodPut, base+"/config/one", []byte(`{"compatibility":"FULL"}`))
	referring, err := json.Marshal(map[string]any{
		"schema":     `{"type":"record","name":"B","fields":[{"name":"a","type":"A"}]}`,
		"references": []map[string]any{{"name": "A", "subject": "one", "version": 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	request(t, http.DefaultClient, http.MethodPost, base+"/subjects/refers/versions", referring)

	paths := []string{
		"/subjects", "/subjects?deleted=true", "/schemas", "/subjects/one/versions/1", "/subjects/two/versions/2", "/subjects/two/versions/latest",
		"/subjects/refers/versions/latest", "/subjects/gone/versions/1?deleted=true", "/schemas/ids/1", "/schemas/ids/4", "/schemas/ids/99",
		"/schemas/ids/1/versions", "/config/one", "/subjects/one/versions/1/referencedby",
	}
	before := make(map[string]string)
	for _, path := range paths {
		before[path] = ordered(request(t, http.DefaultClient, http.MethodGet, base+path, nil))
	}
	for range 2 {
		if err := r.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if got := ordered(request(t, http.DefaultClient, http.MethodGet, base+path, nil)); got != before[path] {
				t.Errorf("%s answers\n%s\nand answered\n%s", path, got, before[path])
			}
		}
	}
	if !strings.Contains(before["/schemas/ids/99"], "40403") {
		t.Errorf("an unknown id answers %s", before["/schemas/ids/99"])
	}
}

// ordered puts the elements of a JSON array in order: some answers come in another one each time.
func ordered(answer string) string {
	var elements []json.RawMessage
	if json.Unmarshal([]byte(answer), &elements) != nil {
		return answer
	}
	texts := make([]string, len(elements))
	for i, element := range elements {
		texts[i] = string(element)
	}
	slices.Sort(texts)
	return strings.Join(texts, "\n")
}

func TestARegistrationThatWasNeverAnsweredIsForgotten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	journal := filepath.Join(dir, "requests.jsonl")
	r := registry(t, embedded.RegistryConfig{Dir: dir})
	register(t, r.URL(), "one", `"string"`)
	if err := r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(journal, append(whole, `{"method":"POST","uri":"/subj`...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if id := register(t, r.URL(), "two", `"long"`); id != 2 {
		t.Errorf("the second id is %d", id)
	}
	if err := r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := request(t, http.DefaultClient, http.MethodGet, r.URL()+"/subjects", nil); got != `["one","two"]` {
		t.Errorf("the subjects are %s", got)
	}
}

func TestARegistryMayAskForTLSAndAuthorization(t *testing.T) {
	t.Parallel()
	o := certs.Options{Dir: filepath.Join(t.TempDir(), "certs")}
	if err := certs.Generate(o); err != nil {
		t.Fatal(err)
	}
	server, err := certs.ServerTLS(o.Files("schema-registry"))
	if err != nil {
		t.Fatal(err)
	}
	r := registry(t, embedded.RegistryConfig{TLS: server, Authorization: "Bearer secret"})
	config, err := certs.ClientTLS(o.Files("command-handler"))
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	if got := request(t, &http.Client{Transport: transport}, http.MethodGet, r.URL()+"/subjects", nil); !strings.Contains(got, `"error_code":401`) {
		t.Errorf("without authorization it answers %s", got)
	}
	stranger := &tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12}}
	if conn, err := stranger.DialContext(t.Context(), "tcp", strings.TrimPrefix(r.URL(), "https://")); err == nil {
		_ = conn.Close()
		t.Error("a client that does not know the CA trusts it")
	}
}
