package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCertsAreMade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	got := execute(t, dir, nil, "certs", "--dir=made", "--server=broker", "--client=me", "--host=broker.example", "--valid-for=24h")
	if got.code != 0 {
		t.Fatalf("%+v", got)
	}
	wrote, _, _ := strings.Cut(got.stdout, "\n\n")
	entries, err := os.ReadDir(filepath.Join(dir, "made"))
	if err != nil {
		t.Fatal(err)
	}
	var there []string
	for _, entry := range entries {
		there = append(there, filepath.Join("made", entry.Name()))
	}
	said := strings.Split(wrote, "\n")
	slices.Sort(said)
	if !slices.Equal(said, there) || !slices.Contains(there, "made/kafka.broker.truststore.jks") {
		t.Errorf("it says that it wrote %q, and there is %q", said, there)
	}
	told := values(got.stdout)
	if path := told["KAFKA_SSL_KEY_LOCATION"]; !filepath.IsAbs(path) || filepath.Base(path) != "me.key" || told["KAFKA_SSL_KEY_PASSWORD"] != "openbanksafe" {
		t.Errorf("%q", told)
	}
	if path := told["SSL_KEYSTORE_LOCATION"]; !filepath.IsAbs(path) || filepath.Base(path) != "kafka.me.keystore.jks" || told["SSL_PASSWORD"] != "openbanksafe" {
		t.Errorf("%q", told)
	}
	if got := execute(t, dir, nil, "certs", "--dir=made", "--server=another"); got.code != 1 || !strings.Contains(got.stderr, "ca-root.crt is there already") || got.stdout != "" {
		t.Errorf("over an old set: %+v", got)
	}
	if got := execute(t, dir, nil, "certs", "--dir=other", "--password=hush"); got.code != 0 || strings.Contains(got.stdout, "hush") || !strings.Contains(got.stdout, "command-handler.key") {
		t.Errorf("%+v", got)
	}
	for _, host := range []string{"bad host", "http://broker", "broker:9092", "broker."} {
		if got := execute(t, dir, nil, "certs", "--dir=fourth", "--host="+host); got.code != 1 || !strings.Contains(got.stderr, fmt.Sprintf("%q is neither a host name nor an IP address", host)) {
			t.Errorf("host %q: %+v", host, got)
		}
	}
	for _, command := range []string{"certs", "run"} {
		if got := execute(t, dir, nil, command, "--dir="); got.code != 1 || !strings.Contains(got.stderr, `--dir is "": name a directory`) {
			t.Errorf("%s without a directory: %+v", command, got)
		}
	}
	for fault, flag := range map[string]string{"--valid-for must be more than nothing": "--valid-for=0s", "no further names such as x": "--host=x", "--password is empty, and keys are written encrypted": "--password="} {
		if got := execute(t, dir, nil, "certs", "--dir=third", "--cn-only", flag); got.code != 1 || !strings.Contains(got.stderr, fault) {
			t.Errorf("%s: %+v", flag, got)
		}
	}
}
