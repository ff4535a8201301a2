package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"openbank/certs"
	"openbank/environment"
)

// The environments of the two handlers before ours, as the stack sets them, with another directory for the certificates.
func clojureEnvironment(password string) []string {
	return []string{
		"KAFKA_BROKERS=kafka-1:19093,kafka-2:19095,kafka-3:19097", "SCHEMA_REGISTRY_URL=http://schema-registry:8081",
		"DB_HOSTNAME=db", "DB_PORT=25432", "DB_PASSWORD=" + password,
		"SSL_KEYSTORE_LOCATION=jdk8.keystore.jks", "SSL_TRUSTSTORE_LOCATION=jdk8.truststore.jks", "SSL_PASSWORD=openbanksafe",
		"SSL_STORE_DIRECTORY=../../certs/testdata",
	}
}

func rustEnvironment(o certs.Options) []string {
	files := o.Files("command-handler")
	return []string{
		"KAFKA_BROKERS=kafka-1:19093,kafka-2:19095,kafka-3:19097", "SCHEMA_REGISTRY_URL=http://schema-registry:8081",
		"DATABASE_URL=postgres://rust_ch:open-bank@db:25432/balancedb",
		"KAFKA_SSL_CA_LOCATION=" + files.CA, "KAFKA_SSL_CERT_LOCATION=" + files.Cert, "KAFKA_SSL_KEY_LOCATION=" + files.Key, "KAFKA_SSL_KEY_PASSWORD=" + files.Password,
	}
}

func configured(t *testing.T, env []string, args ...string) config {
	t.Helper()
	v, err := parse(args, variables(env...))
	if err != nil {
		t.Fatal(err)
	}
	c, err := v.configure()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheClojureEnvironmentIsUnderstood(t *testing.T) {
	t.Parallel()
	c := configured(t, clojureEnvironment("op/en@bank"))
	if c.environment != environment.Clojure || c.store.Prefer != "clojure" || c.store.Setting != environment.DatabaseSetting || c.store.URL != "postgres://clojure_ch:op%2Fen%40bank@db:25432/balancedb" {
		t.Errorf("environment %q, database %s", c.environment, c.store.URL)
	}
	tls := c.handler.Kafka.TLS
	if !tls.Text || tls.KeyPassword != "" || tls.SkipHostnameCheck {
		t.Errorf("text %t, a password %t, host names unchecked %t", tls.Text, tls.KeyPassword != "", tls.SkipHostnameCheck)
	}
	if said := c.handler.Kafka.Certificates; !strings.Contains(said, "SSL_KEYSTORE_LOCATION, ../../certs/testdata/jdk8.keystore.jks, valid until 2") ||
		!strings.Contains(said, "SSL_TRUSTSTORE_LOCATION, ../../certs/testdata/jdk8.truststore.jks") || strings.Contains(said, "KAFKA_SSL") {
		t.Errorf("of the certificates it says %q", said)
	}
	for _, text := range []string{tls.CA, tls.Cert, tls.Key} {
		if block, _ := pem.Decode([]byte(text)); block == nil {
			t.Errorf("no PEM but %q", text)
		}
	}
	absolute, err := filepath.Abs("../../certs/testdata/jdk17.keystore.jks")
	if err != nil {
		t.Fatal(err)
	}
	if got := configured(t, clojureEnvironment("x"), "--ssl-keystore-location="+absolute); got.handler.Kafka.TLS.Cert == tls.Cert {
		t.Error("an absolute path does not win over the directory")
	}
}

func TestTheRustEnvironmentIsUnderstood(t *testing.T) {
	t.Parallel()
	o := certs.Options{Dir: t.TempDir(), Servers: []string{"kafka-1"}}
	if err := certs.Generate(o); err != nil {
		t.Fatal(err)
	}
	c := configured(t, rustEnvironment(o))
	tls := c.handler.Kafka.TLS
	if c.environment != environment.Rust || c.store.Prefer != "rust" || c.store.URL != "postgres://rust_ch:open-bank@db:25432/balancedb" || tls.Text || tls.CA != o.Files("").CA {
		t.Errorf("environment %q, database %s, TLS %v %s", c.environment, c.store.URL, tls.Text, tls.CA)
	}
}

func TestTheGroupIsThePredecessors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args, env     []string
		group, client string
	}{
		"nothing is set":                        {nil, nil, "command-handler", "command-handler"},
		"the Clojure handler's database":        {nil, []string{"DB_HOSTNAME=db"}, "command-handler", "command-handler"},
		"a client id":                           {nil, []string{"KAFKA_CLIENT_ID=ch-2"}, "ch-2", "ch-2"},
		"a client id by flag":                   {[]string{"--kafka-client-id=ch-3"}, []string{"KAFKA_CLIENT_ID=ch-2"}, "ch-3", "ch-3"},
		"a client id and a group":               {nil, []string{"KAFKA_CLIENT_ID=ch-2", "KAFKA_GROUP=g"}, "g", "ch-2"},
		"the Rust handler's database":           {nil, []string{"DATABASE_URL=postgres://u:p@h/d"}, "rust-command-handler", "rust-command-handler"},
		"its database by flag is nobody's":      {[]string{"--database-url=postgres://u:p@h/d"}, nil, "command-handler", "command-handler"},
		"the Rust handler's, and a group":       {nil, []string{"DATABASE_URL=postgres://u:p@h/d", "KAFKA_GROUP=g"}, "g", "g"},
		"the Rust handler's, a group and an id": {[]string{"--kafka-group=g"}, []string{"DATABASE_URL=postgres://u:p@h/d", "KAFKA_CLIENT_ID=ch-2"}, "g", "ch-2"},
	} {
		got := configured(t, c.env, c.args...)
		if got.handler.Group != c.group || got.handler.ClientID != c.client {
			t.Errorf("%s: group %q and client id %q, want %q and %q", name, got.handler.Group, got.handler.ClientID, c.group, c.client)
		}
	}
}

func TestAFlagOverrulesTheOtherHandlersVariables(t *testing.T) {
	t.Parallel()
	c := configured(t, clojureEnvironment("hush"), "--database-url=postgres://me:too@elsewhere/bank")
	if c.store.URL != "postgres://me:too@elsewhere/bank" || c.environment != environment.Clojure || c.handler.Group != "command-handler" {
		t.Errorf("database %s, environment %q, group %q", c.store.URL, c.environment, c.handler.Group)
	}
	c = configured(t, []string{"DATABASE_URL=postgres://rust_ch:hush@db/balancedb"}, "--db-hostname=elsewhere")
	if c.store.URL != "postgres://clojure_ch:open-bank@elsewhere:5432/balancedb" || c.handler.Group != "rust-command-handler" {
		t.Errorf("database %s, group %q", c.store.URL, c.handler.Group)
	}
}

func TestCheckConfigShowsWhatComesOfIt(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--check-config"}, variables(clojureEnvironment("hush")...), &out, &out); err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(out.String(), "What comes of it:\n")
	want, err := os.ReadFile("testdata/check-config")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("it says\n%s\nand should say\n%s", got, want)
	}
	if text := out.String(); strings.Contains(text, "hush") || strings.Contains(text, "openbanksafe") {
		t.Errorf("a secret is printed:\n%s", text)
	}
}

// Brokers in Java say of an expired certificate no more than that they do not know it.
func TestAnExpiredCertificateIsSaid(t *testing.T) {
	t.Parallel()
	for validFor, want := range map[time.Duration]bool{time.Hour: false, time.Nanosecond: true} {
		o := certs.Options{Dir: filepath.Join(t.TempDir(), "certs"), Servers: []string{"kafka-1"}, ValidFor: validFor, WithoutStores: true}
		if err := certs.Generate(o); err != nil {
			t.Fatal(err)
		}
		var out, log bytes.Buffer
		if err := run(t.Context(), []string{"--check-config"}, variables(rustEnvironment(o)...), &out, &out); err != nil || strings.Contains(out.String(), "expired since ") != want {
			t.Errorf("valid for %s: %v, printed\n%s", validFor, err, &out)
		}
		stopped, stop := context.WithCancel(t.Context())
		stop()
		err := run(stopped, []string{"--http-address=off"}, variables(rustEnvironment(o)...), &out, &log)
		if err != nil || strings.Contains(log.String(), "set KAFKA_SSL_CERT_LOCATION and KAFKA_SSL_KEY_LOCATION") != want {
			t.Errorf("valid for %s: %v, logged\n%s", validFor, err, &log)
		}
	}
}
