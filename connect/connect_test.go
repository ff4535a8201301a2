package connect_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"openbank/connect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hushPEM is what $(cat x.key) makes of a variable.
const hushPEM = "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----"

type settings struct {
	Kafka    connect.Kafka    `embed:""`
	Registry connect.Registry `embed:""`
	Database connect.Database `embed:""`
}

func parse(t *testing.T, environment map[string]string, args ...string) settings {
	t.Helper()
	var s settings
	var out bytes.Buffer
	parsed, err := connect.Program{Name: "tool"}.Parse(&s, args, func(name string) string { return environment[name] }, &out, &out)
	if err != nil || parsed == nil {
		t.Fatalf("parsing %q: %v", args, err)
	}
	return s
}

func TestAFlagWinsOverTheEnvironmentAndTheEnvironmentOverTheDefault(t *testing.T) {
	t.Parallel()
	environment := map[string]string{"KAFKA_BROKERS": "a:1,b:2", "KAFKA_SSL_VERIFY_HOSTNAME": "false", "SCHEMA_REGISTRY_URL": ""}
	s := parse(t, environment)
	if got := strings.Join(s.Kafka.Brokers, " "); got != "a:1 b:2" {
		t.Errorf("brokers %s", got)
	}
	if s.Kafka.SSLVerifyHostname {
		t.Error("the host name check is on")
	}
	if got := s.Registry.URLs; len(got) != 1 || got[0] != "http://localhost:8081" {
		t.Errorf("an empty variable counts: %q", got)
	}
	s = parse(t, environment, "--kafka-brokers=c:3", "--kafka-ssl-verify-hostname")
	if got := strings.Join(s.Kafka.Brokers, " "); got != "c:3" || !s.Kafka.SSLVerifyHostname {
		t.Errorf("brokers %s, check %v", got, s.Kafka.SSLVerifyHostname)
	}
}

func TestWhatIsOnOrOffIsSpelledAsForTheHandler(t *testing.T) {
	t.Parallel()
	const flag, variable = "--kafka-ssl-verify-hostname", "KAFKA_SSL_VERIFY_HOSTNAME"
	for text, want := range map[string]bool{"T": true, "yes": true, "1": true, "f": false, "No": false, "0": false} {
		if s := parse(t, map[string]string{variable: text}); s.Kafka.SSLVerifyHostname != want {
			t.Errorf("%s=%s: %v", variable, text, !want)
		}
		if s := parse(t, nil, flag+"="+text); s.Kafka.SSLVerifyHostname != want {
			t.Errorf("%s=%s: %v", flag, text, !want)
		}
	}
	if s := parse(t, map[string]string{variable: "yes"}, "--no-kafka-ssl-verify-hostname"); s.Kafka.SSLVerifyHostname {
		t.Error("the flag that negates does not")
	}
	_, err := connect.Program{Name: "test"}.Parse(&settings{}, nil, func(string) string { return "maybe" }, nil, nil)
	if err == nil || !strings.Contains(err.Error(), flag+`: "maybe" is neither true (t, yes, 1) nor false (f, no, 0) ($`+variable+")") {
		t.Errorf("error %v", err)
	}
}

func TestTheDatabaseIsNamedEitherWayAndAFlagOverrulesTheOther(t *testing.T) {
	t.Parallel()
	url, parts := map[string]string{"DATABASE_URL": "postgres://u:p@h/d"}, map[string]string{"DB_HOSTNAME": "db", "DB_PORT": "25432"}
	for name, c := range map[string]struct {
		environment map[string]string
		args        []string
		want        string
	}{
		"a URL":                    {url, nil, "postgres://u:p@h/d?sslmode=prefer"},
		"pairs":                    {map[string]string{"DATABASE_URL": "host=h password=a://b"}, nil, "host=h password=a://b sslmode=prefer"},
		"pairs with an sslmode":    {map[string]string{"DATABASE_URL": "host=h sslmode=require"}, nil, "host=h sslmode=require"},
		"the system's authorities": {map[string]string{"DATABASE_URL": "postgres://u:p@h/d?sslrootcert=system"}, nil, "postgres://u:p@h/d?sslrootcert=system"},
		"a directory":              {map[string]string{"DATABASE_URL": "postgres:///d?host=/run"}, nil, "postgres:///d?host=/run&sslmode=prefer"},
		"parts":                    {parts, nil, "postgres://clojure_ch:open-bank@db:25432/balancedb?sslmode=prefer"},
		"parts, and a URL by flag": {parts, []string{"--database-url=postgres://x:y@z/w?sslmode=require"}, "postgres://x:y@z/w?sslmode=require"},
		"a URL, and parts by flag": {url, []string{"--db-hostname=elsewhere"}, "postgres://clojure_ch:open-bank@elsewhere:5432/balancedb?sslmode=prefer"},
	} {
		s := parse(t, c.environment, c.args...)
		if err := s.Database.Check(); err != nil || s.Database.URL() != c.want {
			t.Errorf("%s: %s, %v", name, s.Database.URL(), err)
		}
	}
}

func TestListsMayHaveSpaces(t *testing.T) {
	t.Parallel()
	s := parse(t, map[string]string{"KAFKA_BROKERS": "a:1, b:2", "SCHEMA_REGISTRY_URL": "http://a:8081, http://b:8081"})
	if err := errors.Join(s.Kafka.Check(), s.Registry.Check()); err != nil {
		t.Error(err)
	}
}

func TestFaultsAreReportedTogetherAndNameTheSetting(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		environment map[string]string
		want        []string // none: no fault
	}{
		"plaintext is fine":      {map[string]string{"DATABASE_URL": "postgres://u:p@h/d"}, nil},
		"a database is missing":  {nil, []string{"DATABASE_URL (--database-url) is not set"}},
		"some of four are set":   {map[string]string{"KAFKA_SSL_CA_LOCATION": file}, []string{"KAFKA_SSL_CERT_LOCATION and KAFKA_SSL_KEY_LOCATION and KAFKA_SSL_KEY_PASSWORD missing: set all four KAFKA_SSL_* for TLS, or none of them for plaintext"}},
		"a file is not there":    {map[string]string{"KAFKA_SSL_CA_LOCATION": file, "KAFKA_SSL_CERT_LOCATION": file, "KAFKA_SSL_KEY_LOCATION": "/nowhere/x.key", "KAFKA_SSL_KEY_PASSWORD": "hush"}, []string{"KAFKA_SSL_KEY_LOCATION (--kafka-ssl-key-location): stat /nowhere/x.key"}},
		"several things are bad": {map[string]string{"KAFKA_BROKERS": "nowhere", "SCHEMA_REGISTRY_URL": "ftp://x", "DATABASE_URL": "mysql://x"}, []string{`"nowhere" is not HOST:PORT`, "SCHEMA_REGISTRY_URL", "DATABASE_URL"}},
		"half of basic auth":     {map[string]string{"SCHEMA_REGISTRY_USERNAME": "u"}, []string{"SCHEMA_REGISTRY_PASSWORD"}},
		"some of three are set":  {map[string]string{"SSL_PASSWORD": "hush"}, []string{"SSL_KEYSTORE_LOCATION and SSL_TRUSTSTORE_LOCATION missing"}},
		"both ways of each":      {map[string]string{"SSL_PASSWORD": "hush", "KAFKA_SSL_CA_LOCATION": file, "DB_PORT": "1", "DATABASE_URL": "postgres://h/d"}, []string{"SSL_PASSWORD and KAFKA_SSL_CA_LOCATION both say", "DB_PORT and DATABASE_URL both say"}},
		"a key for its path": {map[string]string{"KAFKA_SSL_CA_LOCATION": file, "KAFKA_SSL_CERT_LOCATION": file, "KAFKA_SSL_KEY_LOCATION": hushPEM, "KAFKA_SSL_KEY_PASSWORD": "hush"},
			[]string{"KAFKA_SSL_KEY_LOCATION (--kafka-ssl-key-location) holds a key or certificate itself; it must be the path of a file"}},
		"a key for its path, with SSL":        {map[string]string{"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CERT_LOCATION": file, "KAFKA_SSL_KEY_LOCATION": hushPEM}, []string{"KAFKA_SSL_KEY_LOCATION (--kafka-ssl-key-location) holds a key"}},
		"a key for its path, to the registry": {map[string]string{"SCHEMA_REGISTRY_CERT_LOCATION": file, "SCHEMA_REGISTRY_KEY_LOCATION": hushPEM}, []string{"SCHEMA_REGISTRY_KEY_LOCATION (--schema-registry-key-location) holds a key"}},
		"a key for its path, to Postgres":     {map[string]string{"DATABASE_URL": "host=h sslkey='" + hushPEM + "'"}, []string{"the sslkey of DATABASE_URL (--database-url) holds a key"}},
		"a registry's URL with a query":       {map[string]string{"SCHEMA_REGISTRY_URL": "http://h/?api_key=hush"}, []string{"SCHEMA_REGISTRY_URL (--schema-registry-url): URL 1 has a query or fragment"}},
		"a # in a password":                   {map[string]string{"DATABASE_URL": "postgres://u:4711#hush@h/d"}, []string{"DATABASE_URL (--database-url) is not a Postgres URL"}},
		"brokers with a password":             {map[string]string{"KAFKA_BROKERS": "SASL://u:hush@h:1"}, []string{"KAFKA_BROKERS (--kafka-brokers) is a URL"}},
		"pairs are fine":                      {map[string]string{"DATABASE_URL": "host=h password=hush"}, nil},
		"a directory with a socket is fine":   {map[string]string{"DATABASE_URL": "postgres:///d?host=/var/run/postgresql"}, nil},
		"a port that is none":                 {map[string]string{"DB_PORT": "x"}, []string{"DB_PORT (--db-port)"}},
		"stores and their parts are fine": {map[string]string{
			"SSL_KEYSTORE_LOCATION": "jdk8.keystore.jks", "SSL_TRUSTSTORE_LOCATION": "jdk17.truststore.jks", "SSL_PASSWORD": "openbanksafe", "SSL_STORE_DIRECTORY": "../certs/testdata", "DB_HOSTNAME": "db",
		}, nil},
		"SASL without a protocol":      {map[string]string{"KAFKA_SASL_USERNAME": "u", "KAFKA_SASL_PASSWORD": "hush"}, []string{"KAFKA_SASL_USERNAME is set without KAFKA_SECURITY_PROTOCOL: set that to SASL_SSL"}},
		"a protocol that is none":      {map[string]string{"KAFKA_SECURITY_PROTOCOL": "TLS"}, []string{`"TLS" is none of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL`}},
		"TLS with the system's CAs":    {map[string]string{"KAFKA_SECURITY_PROTOCOL": "ssl", "DB_PORT": "1"}, nil},
		"SASL over TLS is fine":        {map[string]string{"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512", "KAFKA_SASL_USERNAME": "u", "KAFKA_SASL_PASSWORD": "hush", "DB_PORT": "1"}, nil},
		"SASL without a password":      {map[string]string{"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_USERNAME": "u"}, []string{"set KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"}},
		"a mechanism that is none":     {map[string]string{"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "GSSAPI", "KAFKA_SASL_USERNAME": "u", "KAFKA_SASL_PASSWORD": "hush"}, []string{`"GSSAPI" is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512`}},
		"SASL, and a protocol without": {map[string]string{"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SASL_USERNAME": "u"}, []string{"KAFKA_SASL_USERNAME is set, and KAFKA_SECURITY_PROTOCOL (--kafka-security-protocol) is SSL: set it to SASL_SSL"}},
		"TLS, and a protocol without":  {map[string]string{"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SSL_CA_LOCATION": file, "KAFKA_SASL_USERNAME": "u", "KAFKA_SASL_PASSWORD": "hush"}, []string{"there are settings for TLS: set it to SASL_SSL"}},
		"half of a certificate":        {map[string]string{"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CERT_LOCATION": file}, []string{"KAFKA_SSL_CERT_LOCATION and KAFKA_SSL_KEY_LOCATION belong together"}},
		"two ways to ask the registry": {map[string]string{"SCHEMA_REGISTRY_BEARER_TOKEN": "hush", "SCHEMA_REGISTRY_USERNAME": "u", "SCHEMA_REGISTRY_PASSWORD": "hush"}, []string{"SCHEMA_REGISTRY_BEARER_TOKEN and SCHEMA_REGISTRY_USERNAME both say who asks"}},
		"a token with a line break":    {map[string]string{"SCHEMA_REGISTRY_BEARER_TOKEN": "hush\n"}, []string{"SCHEMA_REGISTRY_BEARER_TOKEN has the character U+000A in it"}},
		"line ends of the files they were in": {map[string]string{
			"KAFKA_SSL_CA_LOCATION": file + "\n", "KAFKA_SSL_CERT_LOCATION": file, "KAFKA_SSL_KEY_LOCATION": file, "KAFKA_SSL_KEY_PASSWORD": "hush\n",
			"SCHEMA_REGISTRY_USERNAME": "u", "SCHEMA_REGISTRY_PASSWORD": "hush\r\n", "SCHEMA_REGISTRY_KEY_PASSWORD": "\nhush", "DATABASE_URL": "postgres://u:hush@h/d\n",
		}, []string{
			`KAFKA_SSL_CA_LOCATION (--kafka-ssl-ca-location): "` + file + `\n" begins or ends with white space; set it to ` + file,
			"KAFKA_SSL_KEY_PASSWORD (--kafka-ssl-key-password) begins or ends with a line break, which belongs to the file that it was read from: set it without",
			"SCHEMA_REGISTRY_PASSWORD (--schema-registry-password) begins", "SCHEMA_REGISTRY_KEY_PASSWORD (--schema-registry-key-password) begins", "DATABASE_URL (--database-url) begins",
		}},
		"those of SASL": {map[string]string{"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_USERNAME": "u\n", "KAFKA_SASL_PASSWORD": "hush\n", "KAFKA_SSL_KEY_PASSWORD": "hush\n"}, []string{
			"KAFKA_SASL_USERNAME (--kafka-sasl-username) begins", "KAFKA_SASL_PASSWORD (--kafka-sasl-password) begins", "KAFKA_SSL_KEY_PASSWORD (--kafka-ssl-key-password) begins",
		}},
		"those of the Clojure handler's": {map[string]string{
			"SSL_KEYSTORE_LOCATION": "jdk8.keystore.jks", "SSL_TRUSTSTORE_LOCATION": "jdk17.truststore.jks", "SSL_PASSWORD": "hush\n", "SSL_STORE_DIRECTORY": "../certs/testdata", "DB_PASSWORD": "hush\n",
		}, []string{"SSL_PASSWORD (--ssl-password) begins", "DB_PASSWORD (--db-password) begins"}},
		"another password": {map[string]string{
			"SSL_KEYSTORE_LOCATION": "jdk8.keystore.jks", "SSL_TRUSTSTORE_LOCATION": "jdk17.truststore.jks", "SSL_PASSWORD": "hush", "SSL_STORE_DIRECTORY": "../certs/testdata",
		}, []string{"SSL_PASSWORD (--ssl-password) does not open SSL_KEYSTORE_LOCATION"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := parse(t, c.environment)
			err := connect.Check(s.Kafka, s.Registry, s.Database)
			if len(c.want) == 0 {
				if err != nil {
					t.Fatalf("a fault: %v", err)
				}
				return
			}
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
			if err != nil && strings.Contains(err.Error(), "hush") {
				t.Errorf("a secret is in %v", err)
			}
		})
	}
}

func TestNoFaultContainsAPassword(t *testing.T) {
	t.Parallel()
	s := parse(t, map[string]string{
		"KAFKA_BROKERS": "x", "KAFKA_SSL_KEY_PASSWORD": "hush1", "SCHEMA_REGISTRY_URL": "ftp://u:hush2@h", "DATABASE_URL": "mysql://u:hush3@h:x%",
		"SCHEMA_REGISTRY_PASSWORD": "hush4",
	})
	err := connect.Check(s.Kafka, s.Registry, s.Database)
	if err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("got %v", err)
	}
}

func TestHelpNamesTheVariables(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	parsed, err := connect.Program{Name: "tool"}.Parse(&settings{}, []string{"--help"}, func(string) string { return "" }, &out, &out)
	if parsed != nil || err != nil {
		t.Fatalf("--help: %v %v", parsed, err)
	}
	names, err := connect.VariableNames(&settings{})
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != 27 {
		t.Errorf("variables %q", names)
	}
	for _, name := range names {
		if !strings.Contains(out.String(), "$"+name) {
			t.Errorf("the help doesn't name %s", name)
		}
	}
}

func TestHelpShowsOwnFlagsFirstAndDefaults(t *testing.T) {
	t.Parallel()
	var own struct {
		settings
		Count int           `default:"7" help:"How many."`
		Wait  time.Duration `default:"5m" placeholder:"LONG" help:"How long."`
		Force bool          `help:"Whatever happens."`
	}
	var out bytes.Buffer
	if _, err := (connect.Program{Name: "tool"}).Parse(&own, []string{"--help"}, func(string) string { return "" }, &out, &out); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{"--count=7 How many.", "How long. Default: 5m.", "Whatever happens.", "Default: localhost:9092."} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %s", want, &out)
		}
	}
	if strings.Contains(text, "Whatever happens. Default") || strings.Index(text, "--count") > strings.Index(text, "Where the bank is:") {
		t.Errorf("%s", &out)
	}
}
