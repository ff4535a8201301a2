package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func variables(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, p := range pairs {
			if k, v, _ := strings.Cut(p, "="); k == name {
				return v, true
			}
		}
		return "", false
	}
}

// hushPEM is what $(cat x.key) makes of a variable.
const hushPEM = "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----"

func TestAFlagWinsOverTheEnvironmentAndThatOverTheDefault(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		env  []string
		want string
	}{
		"nothing is set":                   {want: "localhost:9092"},
		"the environment is set":           {env: []string{"KAFKA_BROKERS=env:1"}, want: "env:1"},
		"an empty variable counts as none": {env: []string{"KAFKA_BROKERS="}, want: "localhost:9092"},
		"both are set":                     {args: []string{"--kafka-brokers=flag:1"}, env: []string{"KAFKA_BROKERS=env:1"}, want: "flag:1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, err := parse(c.args, variables(c.env...))
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := v.configure()
			if err != nil {
				t.Fatal(err)
			}
			if got := cfg.handler.Kafka.Brokers; got != c.want {
				t.Errorf("brokers %q, want %q", got, c.want)
			}
		})
	}
}

func TestWhatIsOnOrOffHasManySpellings(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"yes": true, "T": true, "1": true, "no": false, "f": false, "0": false, "False": false} {
		c := configured(t, []string{"LEAVE_ON_STOP=" + text, "DATABASE_GUARD=" + text, "KAFKA_SSL_VERIFY_HOSTNAME=" + text})
		if c.handler.LeaveOnStop != want || c.store.Unguarded == want {
			t.Errorf("%s: %v, guarded %v", text, c.handler.LeaveOnStop, !c.store.Unguarded)
		}
	}
}

func TestWrongSettingsAreNamedAllTogether(t *testing.T) {
	t.Parallel()
	garbage := filepath.Join(t.TempDir(), "garbage.pem")
	if err := os.WriteFile(garbage, []byte("this is no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	tls := func(ca, cert, key, password string) []string {
		return []string{"KAFKA_SSL_CA_LOCATION=" + ca, "KAFKA_SSL_CERT_LOCATION=" + cert, "KAFKA_SSL_KEY_LOCATION=" + key, "KAFKA_SSL_KEY_PASSWORD=" + password}
	}
	stores := func(key, trust, password string) []string {
		return []string{"SSL_KEYSTORE_LOCATION=" + key, "SSL_TRUSTSTORE_LOCATION=" + trust, "SSL_PASSWORD=" + password}
	}
	fixtures := []string{"--ssl-store-directory=../../certs/testdata"}
	for name, c := range map[string]struct {
		args, env, want []string
	}{
		"a flag that there is not":            {args: []string{"--kafka-broker=x:1"}, want: []string{"-kafka-broker", "--help"}},
		"an argument without a flag":          {args: []string{"start"}, want: []string{`"start"`, "--help"}},
		"only some of the TLS settings":       {env: tls("ca.crt", "", "", "secret"), want: []string{"KAFKA_SSL_CERT_LOCATION and KAFKA_SSL_KEY_LOCATION missing", "all four"}},
		"TLS files that are not there":        {env: tls("/nowhere/ca", "/nowhere/cert", "/nowhere/key", "x"), want: []string{"KAFKA_SSL_CA_LOCATION", "/nowhere/ca", "KAFKA_SSL_CERT_LOCATION", "/nowhere/key"}},
		"TLS files that are no PEM":           {env: tls(garbage, garbage, garbage, "x"), want: []string{"KAFKA_SSL_", garbage}},
		"a key in place of its path":          {env: tls(garbage, garbage, hushPEM, "x"), want: []string{"KAFKA_SSL_KEY_LOCATION (--kafka-ssl-key-location) holds a key or certificate itself; it must be the path of a file"}},
		"a key without its first line":        {env: tls(garbage, garbage, "hush\nhush", "x"), want: []string{"KAFKA_SSL_KEY_LOCATION (--kafka-ssl-key-location) has a line break in it", "the path of a file"}},
		"all three in place of their paths":   {env: tls(hushPEM, hushPEM, hushPEM, "x"), want: []string{"KAFKA_SSL_CA_LOCATION", "KAFKA_SSL_CERT_LOCATION", "KAFKA_SSL_KEY_LOCATION"}},
		"a registry's key":                    {env: []string{"SCHEMA_REGISTRY_CERT_LOCATION=" + garbage, "SCHEMA_REGISTRY_KEY_LOCATION=" + hushPEM}, want: []string{"SCHEMA_REGISTRY_KEY_LOCATION (--schema-registry-key-location) holds a key"}},
		"a database's key":                    {env: []string{"DATABASE_URL=host=h password=hush sslkey='" + hushPEM + "'"}, want: []string{"the sslkey of DATABASE_URL (--database-url) holds a key"}},
		"an owner's key":                      {env: []string{"DATABASE_URL=host=h", "MIGRATE_DATABASE_URL=host=h sslkey='" + hushPEM + "'"}, want: []string{"the sslkey of MIGRATE_DATABASE_URL (--migrate-database-url) holds a key"}},
		"stores in place of their paths":      {env: stores(hushPEM, hushPEM, "hush"), want: []string{"SSL_KEYSTORE_LOCATION (--ssl-keystore-location) holds a key", "SSL_TRUSTSTORE_LOCATION (--ssl-truststore-location) holds a key"}},
		"several faults":                      {args: []string{"--max-batch=0", "--stop-timeout=soon", "--log-format=xml", "--log-level=loud"}, want: []string{"MAX_BATCH", `"0"`, "STOP_TIMEOUT", `"soon"`, "LOG_FORMAT", "LOG_LEVEL", "max-batch"}},
		"a broker without a port":             {env: []string{"KAFKA_BROKERS=kafka-1:19093,kafka-2"}, want: []string{"KAFKA_BROKERS", `"kafka-2" is not HOST:PORT`}},
		"a broker with a scheme":              {env: []string{"KAFKA_BROKERS=http://kafka-1:9092"}, want: []string{"KAFKA_BROKERS (--kafka-brokers) is a URL; it must be HOST:PORT"}},
		"a broker with a password":            {env: []string{"KAFKA_BROKERS=SASL://u:hush@h:1"}, want: []string{"KAFKA_BROKERS (--kafka-brokers) is a URL; it must be HOST:PORT"}},
		"a broker with no such port":          {env: []string{"KAFKA_BROKERS=kafka-1:99999"}, want: []string{`"kafka-1:99999" is not HOST:PORT`}},
		"a group that ends in a line break":   {env: []string{"KAFKA_GROUP=command-handler\n"}, want: []string{`KAFKA_GROUP (--kafka-group): "command-handler\n" begins or ends with white space`}},
		"an identity with a blank":            {args: []string{"--kafka-transactional-id= a"}, want: []string{`--kafka-transactional-id`, `" a" begins or ends with white space`}},
		"a registry without a scheme":         {env: []string{"SCHEMA_REGISTRY_URL=127.0.0.1:8081"}, want: []string{"SCHEMA_REGISTRY_URL", "URL 1 has to start with http:// or https://"}},
		"a name that is no topic's":           {env: []string{"KAFKA_CMT_TOPIC=a b"}, want: []string{`KAFKA_CMT_TOPIC (--confirm-money-transfer-topic): "a b" is no name for this topic`}},
		"a name that leaves no room":          {env: []string{"KAFKA_CAC_TOPIC=" + strings.Repeat("c", 238)}, want: []string{"KAFKA_CAC_TOPIC", "up to 237 letters"}},
		"two topics of one name":              {env: []string{"KAFKA_MTF_TOPIC=confirm_money_transfer"}, want: []string{"KAFKA_MTF_TOPIC (--money-transfer-feedback-topic): confirm_money_transfer is the topic of KAFKA_CMT_TOPIC already"}},
		"a poll interval above the most":      {env: []string{"KAFKA_MAX_POLL_INTERVAL=1200h"}, want: []string{"KAFKA_MAX_POLL_INTERVAL (--kafka-max-poll-interval): 1200h0m0s is not from 26s to 24h0m0s"}},
		"a look at the schemas all the time":  {env: []string{"REFRESH_SCHEMAS=1ns"}, want: []string{"REFRESH_SCHEMAS (--refresh-schemas): 1ns is too short"}},
		"a registry that is no URL":           {env: []string{"SCHEMA_REGISTRY_URL=localhost:8081"}, want: []string{"SCHEMA_REGISTRY_URL", "http://localhost:8081"}},
		"a registry's URL with a query":       {env: []string{"SCHEMA_REGISTRY_URL=http://a:8081,http://h/?api_key=hush"}, want: []string{"SCHEMA_REGISTRY_URL (--schema-registry-url): URL 2 has a query or fragment"}},
		"a registry's password with a #":      {env: []string{"SCHEMA_REGISTRY_URL=http://u:4711#hush@h"}, want: []string{"SCHEMA_REGISTRY_URL (--schema-registry-url): URL 1 has a query or fragment", "%23"}},
		"a registry's password with a slash":  {env: []string{"SCHEMA_REGISTRY_URL=http://u:4711/hush@h"}, want: []string{"SCHEMA_REGISTRY_URL (--schema-registry-url): URL 1 has an @ behind its host", "%2F"}},
		"a registry user beside a token":      {env: []string{"SCHEMA_REGISTRY_USERNAME=me", "SCHEMA_REGISTRY_PASSWORD=p", "SCHEMA_REGISTRY_BEARER_TOKEN=t"}, want: []string{"SCHEMA_REGISTRY_BEARER_TOKEN", "set it or those"}},
		"a registry user without password":    {env: []string{"SCHEMA_REGISTRY_USERNAME=me"}, want: []string{"SCHEMA_REGISTRY_USERNAME", "set both or none"}},
		"a registry key without certificate":  {env: []string{"SCHEMA_REGISTRY_KEY_LOCATION=/nowhere"}, want: []string{"SCHEMA_REGISTRY_CERT_LOCATION"}},
		"a poll interval below the least":     {env: []string{"KAFKA_MAX_POLL_INTERVAL=25s"}, want: []string{"KAFKA_MAX_POLL_INTERVAL", "25s", "from 26s"}},
		"a database that is no URL":           {env: []string{"DATABASE_URL=nonsense"}, want: []string{"DATABASE_URL", "postgres://"}},
		"a password with a slash in it":       {env: []string{"DATABASE_URL=postgres://u:12/34@h/db"}, want: []string{"DATABASE_URL (--database-url)", "postgres://", "%2F"}},
		"a password with a # in it":           {env: []string{"DATABASE_URL=postgres://u:4711#hush@h/db"}, want: []string{"DATABASE_URL (--database-url)", "postgres://", "%2F"}},
		"a password with a ? in it":           {env: []string{"DATABASE_URL=postgres://u:4711?hush@h/db"}, want: []string{"DATABASE_URL (--database-url)", "postgres://", "%2F"}},
		"an owner's password with a # in it":  {env: []string{"DATABASE_URL=postgres://u:p@h/db", "MIGRATE_DATABASE_URL=postgres://u:4711#hush@h/db"}, want: []string{"MIGRATE_DATABASE_URL (--migrate-database-url)", "%2F"}},
		"a host name check neither on or off": {env: []string{"KAFKA_SSL_VERIFY_HOSTNAME=maybe"}, want: []string{"KAFKA_SSL_VERIFY_HOSTNAME", `"maybe"`}},
		"the database of both handlers":       {env: []string{"DATABASE_URL=postgres://u:hush@h/d", "DB_HOSTNAME=db"}, want: []string{"DB_HOSTNAME is the Clojure handler's variable and DATABASE_URL the Rust handler's"}},
		"the certificates of both":            {env: []string{"KAFKA_SSL_CA_LOCATION=/ca", "SSL_PASSWORD=hush"}, want: []string{"SSL_PASSWORD is the Clojure handler's variable and KAFKA_SSL_CA_LOCATION the Rust handler's"}},
		"one's database, other's stores": {env: []string{"DATABASE_URL=postgres://u:hush@h/d", "SSL_KEYSTORE_LOCATION=x.jks"},
			want: []string{"SSL_KEYSTORE_LOCATION is the Clojure handler's variable and DATABASE_URL the Rust handler's"}},
		"one's database, other's client id": {env: []string{"DATABASE_URL=postgres://u:hush@h/d", "KAFKA_CLIENT_ID=command-handler"}, want: []string{"KAFKA_CLIENT_ID", "DATABASE_URL", "set KAFKA_GROUP"}},
		"two flags for one thing":           {args: []string{"--database-url=postgres://u:hush@h/d", "--db-port=1"}, want: []string{"DB_PORT and DATABASE_URL both say where the database is"}},
		"a database host with its port":     {env: []string{"DB_HOSTNAME=db:25432"}, want: []string{"DB_HOSTNAME (--db-hostname)", `"db:25432"`, "DB_PORT"}},
		"a database host that is a URL":     {env: []string{"DB_HOSTNAME=postgres://u:hush@h/db"}, want: []string{"DB_HOSTNAME (--db-hostname) is a URL; that belongs in DATABASE_URL"}},
		"a port and a password":             {env: []string{"DB_PORT=1 password=hush"}, want: []string{"DB_PORT (--db-port) looks like name=value pairs"}},
		"a layout that there is not":        {env: []string{"DATABASE_LAYOUT=kotlin"}, want: []string{"DATABASE_LAYOUT (--database-layout)", `"kotlin" is neither clojure nor rust`}},
		"an owner and no port":              {env: []string{"DATABASE_URL=postgres://u:hush@h/d", "MIGRATE_DATABASE_URL=postgres://o:hush@h:x/d"}, want: []string{"MIGRATE_DATABASE_URL (--migrate-database-url)", "is not a Postgres URL"}},
		"an sslmode that there is not":      {env: []string{"DATABASE_URL=postgres://u:hush@h/d?sslmode=on"}, want: []string{"DATABASE_URL (--database-url) has an sslmode", "verify-full"}},
		"a guard neither on or off":         {env: []string{"DATABASE_GUARD=maybe"}, want: []string{`DATABASE_GUARD (--database-guard): "maybe" is neither true (t, yes, 1) nor false (f, no, 0)`}},
		"an owner's database that is none":  {env: []string{"MIGRATE_DATABASE_URL=u:hush@h"}, want: []string{"MIGRATE_DATABASE_URL (--migrate-database-url)", "postgres://user:password@host"}},
		"a database port that is none":      {env: []string{"DB_PORT=postgres"}, want: []string{"DB_PORT (--db-port)", `"postgres"`}},
		"only some of the store settings":   {env: stores("kafka.jks", "", ""), want: []string{"SSL_TRUSTSTORE_LOCATION and SSL_PASSWORD missing"}},
		"stores that are not there":         {env: stores("none.jks", "/nowhere/none.jks", "hush"), want: []string{"SSL_KEYSTORE_LOCATION (--ssl-keystore-location)", "/etc/kafka/secrets/none.jks", "SSL_STORE_DIRECTORY", "SSL_TRUSTSTORE_LOCATION (--ssl-truststore-location)", "/nowhere/none.jks"}},
		"a password that opens no store":    {args: fixtures, env: stores("jdk17.keystore.jks", "jdk8.truststore.jks", "hush"), want: []string{"SSL_PASSWORD (--ssl-password) does not open SSL_KEYSTORE_LOCATION", "does not open SSL_TRUSTSTORE_LOCATION", "jdk17.keystore.jks: the password is wrong"}},
		"SASL for the brokers":              {env: []string{"KAFKA_SECURITY_PROTOCOL=SASL_SSL"}, want: []string{"KAFKA_SECURITY_PROTOCOL", `"SASL_SSL" is neither SSL nor PLAINTEXT`}},
		"a user for the brokers":            {env: []string{"KAFKA_SASL_USERNAME=u"}, want: []string{"KAFKA_SASL_USERNAME", "knows no SASL"}},
		"TLS without a certificate":         {env: []string{"KAFKA_SECURITY_PROTOCOL=ssl"}, want: []string{"KAFKA_SECURITY_PROTOCOL", "set all four KAFKA_SSL_*"}},
		"no TLS and a certificate":          {args: fixtures, env: append(stores("jdk17.keystore.jks", "jdk17.truststore.jks", "openbanksafe"), "KAFKA_SECURITY_PROTOCOL=PLAINTEXT"), want: []string{"KAFKA_SECURITY_PROTOCOL", "set it to SSL"}},
		"a token with a line break":         {env: []string{"SCHEMA_REGISTRY_BEARER_TOKEN=hush\n"}, want: []string{"SCHEMA_REGISTRY_BEARER_TOKEN", "line break"}},
		"line ends of the files they were in": {env: append(tls(garbage+"\n", garbage, garbage+" ", "hush\n"), "SCHEMA_REGISTRY_USERNAME=u\n", "SCHEMA_REGISTRY_PASSWORD=hush\n", "SCHEMA_REGISTRY_KEY_PASSWORD=hush\n", "DATABASE_URL=postgres://u:hush@h/d\n"), want: []string{
			`KAFKA_SSL_CA_LOCATION (--kafka-ssl-ca-location): "` + garbage + `\n" begins or ends with white space; set it to ` + garbage, "KAFKA_SSL_KEY_LOCATION (--kafka-ssl-key-location)",
			"KAFKA_SSL_KEY_PASSWORD (--kafka-ssl-key-password) begins or ends with a line break", "SCHEMA_REGISTRY_USERNAME (--schema-registry-username) begins", "SCHEMA_REGISTRY_PASSWORD (--schema-registry-password) begins",
			"SCHEMA_REGISTRY_KEY_PASSWORD (--schema-registry-key-password) begins", "DATABASE_URL (--database-url) begins",
		}},
		"those of the Clojure handler's": {args: fixtures, env: append(stores("jdk17.keystore.jks", "jdk17.truststore.jks", "hush\n"), "DB_PASSWORD=hush\n"), want: []string{"SSL_PASSWORD (--ssl-password) begins", "DB_PASSWORD (--db-password) begins"}},
		"a real JKS":                     {args: fixtures, env: stores("java.jks", "jdk17.truststore.jks", "openbanksafe"), want: []string{"SSL_KEYSTORE_LOCATION", "keytool -importkeystore -srckeystore ../../certs/testdata/java.jks"}},
		"a key store without a key":      {args: fixtures, env: stores("jdk17.truststore.jks", "jdk17.truststore.jks", "openbanksafe"), want: []string{"SSL_KEYSTORE_LOCATION", "no private key"}},
		"PEM for a store":                {args: fixtures, env: stores("jdk17.keystore.jks", "ca.crt", "openbanksafe"), want: []string{"SSL_TRUSTSTORE_LOCATION", "it is PEM"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			err := run(t.Context(), append([]string{"--check-config"}, c.args...), variables(c.env...), &out, &errs)
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("the error does not name %s: %v", w, err)
				}
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("the error has a secret in it: %v", err)
			}
			if out.Len() > 0 {
				t.Errorf("printed %q", &out)
			}
		})
	}
}

func TestCheckConfigMasksSecrets(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	err := run(t.Context(), []string{"--check-config", "--schema-registry-username=u", "--schema-registry-password=hush1", "--schema-registry-url=http://u:hush2@registry:8081"},
		variables("DATABASE_URL=postgres://bank:hush3@db:25432/balancedb?sslpassword=hush4"), &out, &out)
	if err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if strings.Contains(text, "hush") {
		t.Errorf("a secret is printed:\n%s", text)
	}
	for _, want := range []string{"KAFKA_BROKERS", "localhost:9092", "(default)", "db:25432/balancedb", "(environment)", "(flag)", "registry:8081"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing:\n%s", want, text)
		}
	}
}

func TestOfAURLOnlyWhatIsNoSecretIsPrinted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ url, want string }{
		"a user and a password":        {"postgres://bank:hush@db:25432/balancedb", "postgres://bank:xxxxx@db:25432/balancedb"},
		"parameters":                   {"postgres://bank:hush@db/d?sslmode=verify-full&pasword=hush&sslinline=true&sslkey=-----BEGIN+hush", "postgres://bank:xxxxx@db/d?sslmode=verify-full"},
		"a parameter without a name":   {"http://h/?hush", "http://h/"},
		"a fragment":                   {"http://h/#hush", "http://h/"},
		"a token for a user":           {"http://hush@h", "http://xxxxx@h"},
		"an escaped colon":             {"postgres://u%3Ahush@h/db", "postgres://xxxxx@h/db"},
		"an escaped colon and another": {"postgres://u%3Ahush:hush@h/db", "postgres://xxxxx@h/db"},
		"a # in the password":          {"postgres://u:4711#hush@h/db", "xxxxx"},
		"a ? in the password":          {"postgres://u:4711?hush@h/db", "xxxxx"},
		"a / in the password":          {"postgres://u:4711/hush@h/db", "xxxxx"},
		"a typing error":               {"postgres//typo:hush@db", "xxxxx"},
		"pairs":                        {"host=h password=hush", "xxxxx"},
		"two registries":               {"http://u:hush@a:8081, http://b/apis/v7", "http://u:xxxxx@a:8081,http://b/apis/v7"},
		"a comma in the password":      {"http://u:4711,hush@h", "xxxxx"},
	} {
		redact := redactURLs
		if strings.HasPrefix(c.url, "postgres") {
			redact = redactURL
		}
		if got := redact(c.url); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// A directory that nothing is looked for in is printed all the same.
func TestCheckConfigPrintsNoKeyInPlaceOfAPath(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--check-config"}, variables("SSL_STORE_DIRECTORY="+hushPEM), &out, &out); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "hush") {
		t.Errorf("a key is printed:\n%s", &out)
	}
}

func TestVersionAndHelp(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]string{"--version": "command-handler ", "--help": "KAFKA_SSL_KEY_PASSWORD"} {
		var out bytes.Buffer
		if err := run(t.Context(), []string{flag}, variables(), &out, &out); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v, printed %q", flag, err, &out)
		}
	}
	for _, command := range []string{migrate, handBack} {
		var out bytes.Buffer
		if err := run(t.Context(), []string{command, "--help"}, variables(), &out, &out); err != nil {
			t.Error(err)
		}
		text := out.String()
		if !strings.Contains(text, "Usage: command-handler "+command) || strings.Contains(text, "KAFKA") {
			t.Errorf("the help of %s:\n%s", command, text)
		}
		for _, flag := range ofDatabase {
			if !strings.Contains(text, "--"+flag+" ") {
				t.Errorf("the help of %s lacks --%s", command, flag)
			}
		}
	}
	if _, err := parse([]string{"-h"}, variables()); !errors.Is(err, errHelp) {
		t.Errorf("-h: %v", err)
	}
}
