package security

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
	"openbank/certs"
	"openbank/embedded"
)

// What must not be told. They are long, so that nothing else holds them by chance.
const (
	secretDatabase  = "s3cret-of-the-database"
	secretDefault   = "s3cret-of-clojure-ch"
	secretOwner     = "s3cret-of-the-owner"
	secretRegistry  = "s3cret-of-the-registry"
	secretBearer    = "s3cret-bearer-token"
	secretStore     = "s3cret-of-the-stores"
	secretWrong     = "s3cret-that-is-wrong"
	secretToken     = "13s3crettoken1357902"
	secretKey       = certs.DefaultPassword
	secretRegistry2 = "s3cret-registry-key"
)

// told collects all that programs write.
type told struct {
	*world
	secrets []string
}

// check looks for every secret in what a program wrote.
func (s *told) check(what, text string) {
	s.t.Helper()
	if text == "" {
		s.t.Errorf("%s: nothing was written", what)
	}
	for _, secret := range s.secrets {
		for _, form := range []string{secret, url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret)), fmt.Sprintf("%x", secret)} {
			if at := strings.Index(text, form); at >= 0 {
				s.t.Errorf("%s: %s is told: …%s…", what, secret, text[max(0, at-200):min(len(text), at+200)])
			}
		}
	}
}

// failing starts a handler and looks at what it writes until it says a text, or ends; and at what it serves when it waits.
func (s *told) failing(env []string, until string, args ...string) (waited bool) {
	s.t.Helper()
	const what = "command-handler"
	p := s.start(what, with(env, serving), args...)
	eventually(s.t, what, reasonable, func() error {
		if !p.Running() {
			return nil
		}
		return p.says(until)()
	})
	waited = s.pages(what, p, http.StatusServiceUnavailable, waits)
	p.Kill()
	if !strings.Contains(p.text(), until) {
		s.t.Errorf("%s: it does not say %q: %s", what, until, p.text())
	}
	s.check(what, p.text())
	return waited
}

// with is an environment with other values of some variables.
func with(env []string, others ...string) []string {
	kept := slices.DeleteFunc(slices.Clone(env), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.ContainsFunc(others, func(other string) bool { return strings.HasPrefix(other, name+"=") })
	})
	return append(kept, slices.DeleteFunc(slices.Clone(others), func(other string) bool { return strings.HasSuffix(other, "=") })...)
}

func TestNoSecretIsTold(t *testing.T) {
	t.Parallel()
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("reader:"+secretRegistry))
	w, around := newEmbeddedAs(t, embedded.Config{Registry: embedded.RegistryConfig{Authorization: basic}}, url.UserPassword("reader", secretRegistry))
	if err := put(t, w.database, `CREATE ROLE worker SUPERUSER LOGIN PASSWORD '`+secretDatabase+`'`, `CREATE ROLE clojure_ch SUPERUSER LOGIN PASSWORD '`+secretDefault+`'`); err != nil {
		t.Fatal(err)
	}
	s := &told{world: w, secrets: []string{secretDatabase, secretDefault, secretOwner, secretRegistry, secretBearer, secretStore, secretWrong, secretToken, secretKey, secretRegistry2}}
	env := with(w.environment(around.Certificate("command-handler")), "DATABASE_URL="+w.role("worker", secretDatabase),
		"MIGRATE_DATABASE_URL="+w.role("worker", secretDatabase), "LOG_LEVEL=debug", "UNKNOWN_SCHEMA_AFTER=300ms",
		"SCHEMA_REGISTRY_URL="+around.Registry.URL(), "SCHEMA_REGISTRY_USERNAME=reader", "SCHEMA_REGISTRY_PASSWORD="+secretRegistry)
	database, err := url.Parse(w.database)
	if err != nil {
		t.Fatal(err)
	}
	_, port := database.Hostname(), database.Port()
	clojure := with(env, "DATABASE_URL=", "DB_HOSTNAME=127.0.0.1", "DB_PORT="+port, "DB_PASSWORD="+secretDefault, "LOG_FORMAT=json",
		"KAFKA_SSL_CA_LOCATION=", "KAFKA_SSL_CERT_LOCATION=", "KAFKA_SSL_KEY_LOCATION=", "KAFKA_SSL_KEY_PASSWORD=")

	// Ordinary work, and what can't be handled: tokens that are right, wrong and in records that can't be read.
	for what, env := range map[string][]string{
		"a handler by URL": env,
		"a handler with the registry's password in its URL": with(env, "SCHEMA_REGISTRY_URL="+w.registry, "SCHEMA_REGISTRY_USERNAME=", "SCHEMA_REGISTRY_PASSWORD="),
	} {
		said, err := w.run("command-handler", env, "migrate")
		if err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		s.check(what+": migrate", said)
		h := w.start("command-handler", with(env, serving, "DATABASE_URL="+w.role("worker", secretDatabase)+"&lock_timeout=300ms"))
		w.everyKind()
		opened := w.creation()
		w.send(opened)
		account := w.confirmed(opened)
		s.secrets = append(s.secrets, account.Token)
		s.tokens(account)
		w.settled()
		s.pagesThroughout(what, h, around, account)
		h.stop()
		s.check(what, h.text())
	}
	for what, args := range map[string][]string{"verify": {"verify"}, "check": {"check"}, "list": {"dead-letters", "list"}} {
		said, err := w.run("open-bank", env, args...)
		if err != nil {
			t.Errorf("%s: %v: %s", what, err, said)
		}
		s.check("open-bank "+what, said)
	}
	for what, env := range map[string][]string{"by URL": env, "as the Clojure handler": clojure} {
		said, err := w.run("command-handler", env, "--check-config")
		if err != nil {
			t.Errorf("%v: %s", err, said)
		}
		s.check("--check-config "+what, said)
	}

	// Whatever is wrong.
	store := filepath.Join(t.TempDir(), "store.jks")
	if err := os.WriteFile(store, []byte("no store"), 0o600); err != nil {
		t.Fatal(err)
	}
	identity := around.Certificate("command-handler")
	key, err := os.ReadFile(identity.Key)
	if err != nil {
		t.Fatal(err)
	}
	keyText := strings.TrimSpace(string(key)) // as $(cat x.key) has it
	s.secrets = append(s.secrets, strings.Split(keyText, "\n")[1])
	closed, err := embedded.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	nowhere := fmt.Sprintf("127.0.0.1:%d", closed)
	for _, fault := range []struct {
		what, until string
		env         []string
		args        []string
	}{
		{"a wrong database password", "does not let this user in", with(env, "DATABASE_URL="+w.role("worker", secretWrong)), nil},
		{"a wrong DB_PASSWORD", "does not let this user in", with(clojure, "MIGRATE_DATABASE_URL=", "DB_PASSWORD="+secretWrong), []string{"migrate"}},
		{"a wrong owner's password", "does not let this user in", with(env, "MIGRATE_DATABASE_URL="+w.role("worker", secretOwner)), []string{"migrate"}},
		{"a database that is away", "level=WARN", with(env, "DATABASE_URL=postgres://worker:"+secretDatabase+"@"+nowhere+"/balancedb"), nil},
		{"a database that is not there", "no such database", with(env, "DATABASE_URL="+strings.Replace(w.role("worker", secretDatabase), "/balancedb", "/elsewhere", 1)), nil},
		{"a port that is none", "DATABASE_URL", with(env, "DATABASE_URL=postgres://worker:"+secretDatabase+"@localhost:port/balancedb"), nil},
		{"a slash in the password", "DATABASE_URL", with(env, "DATABASE_URL=postgres://worker:a/"+secretDatabase+"@localhost:5432/balancedb"), nil},
		{"a # in the password", "DATABASE_URL", with(env, "DATABASE_URL=postgres://worker:4711#"+secretDatabase+"@localhost:5432/balancedb"), nil},
		{"a ? in the password", "DATABASE_URL", with(env, "DATABASE_URL=postgres://worker:4711?"+secretDatabase+"@localhost:5432/balancedb"), nil},
		{"a colon that is escaped", "does not let this user in", with(env, "DATABASE_URL="+strings.Replace(w.role("worker", secretDatabase), "worker:", "worker%3A", 1)), nil},
		{"a parameter with a typing error", "unrecognized", with(env, "DATABASE_URL="+w.role("worker", secretDatabase)+"&pasword="+secretDatabase), nil},
		{"another library's URL", "DATABASE_URL", with(env, "DATABASE_URL=postgresql+psycopg://worker:"+secretDatabase+"@localhost:5432/balancedb?sslmode=require"), nil},
		{"a URL for a host", "is a URL", with(clojure, "MIGRATE_DATABASE_URL=", "DB_HOSTNAME=postgres://worker:"+secretDatabase+"@localhost:5432/balancedb"), nil},
		{"a password beside the port", "name=value pairs", with(clojure, "MIGRATE_DATABASE_URL=", "DB_PORT=1 password="+secretDatabase), nil},
		{"brokers with a password", "is a URL", with(env, "KAFKA_BROKERS=SASL://worker:"+secretWrong+"@"+nowhere), nil},
		{"a key for its path", "the path of a file", with(env, "KAFKA_SSL_KEY_LOCATION="+keyText), nil},
		{"a key for the registry's path", "the path of a file", with(env, "SCHEMA_REGISTRY_CERT_LOCATION="+identity.Cert, "SCHEMA_REGISTRY_KEY_LOCATION="+keyText), nil},
		{"a key for Postgres' path", "the path of a file", with(env, "DATABASE_URL="+w.role("worker", secretDatabase)+"&sslkey="+url.QueryEscape(keyText)), nil},
		{"a key for a store's path", "the path of a file", with(clojure, "SSL_KEYSTORE_LOCATION="+keyText, "SSL_TRUSTSTORE_LOCATION="+store, "SSL_PASSWORD="+secretStore), nil},
		{"a percent in the password", "DATABASE_URL", with(env, "DATABASE_URL=postgres://worker:%zz"+secretDatabase+"@localhost:5432/balancedb"), nil},
		{"no scheme", "DATABASE_URL", with(env, "DATABASE_URL=worker:"+secretDatabase+"@localhost:5432/balancedb"), nil},
		{"a parameter that there is not", "DATABASE_URL", with(env, "DATABASE_URL=host=localhost password="+secretDatabase+" sslmode=verify-all"), nil},
		{"an owner's URL that is none", "MIGRATE_DATABASE_URL", with(env, "MIGRATE_DATABASE_URL=postgres://owner:"+secretOwner+"@localhost:port/b"), nil},
		{"a registry that refuses", "401", with(env, "SCHEMA_REGISTRY_PASSWORD="+secretWrong), nil},
		{"a registry that refuses a token", "401", with(env, "SCHEMA_REGISTRY_USERNAME=", "SCHEMA_REGISTRY_PASSWORD=", "SCHEMA_REGISTRY_BEARER_TOKEN="+secretBearer), nil},
		{"a registry that is away", "does not answer", with(env, "SCHEMA_REGISTRY_URL=http://reader:"+secretRegistry+"@"+nowhere, "SCHEMA_REGISTRY_USERNAME=", "SCHEMA_REGISTRY_PASSWORD="), nil},
		{"a registry's URL that is none", "SCHEMA_REGISTRY_URL", with(env, "SCHEMA_REGISTRY_URL=http://reader:"+secretRegistry+"@host:port"), nil},
		{"a registry's password with a slash", "SCHEMA_REGISTRY_URL", with(env, "SCHEMA_REGISTRY_URL=http://reader:4711/"+secretRegistry+"@"+nowhere, "SCHEMA_REGISTRY_USERNAME=", "SCHEMA_REGISTRY_PASSWORD="), nil},
		{"a registry's URL with a query", "query", with(env, "SCHEMA_REGISTRY_URL="+around.Registry.URL()+"?password="+secretRegistry), nil},
		{"a registry's password without a user", "belong together", with(env, "SCHEMA_REGISTRY_USERNAME="), nil},
		{"a registry's key that is none", "SCHEMA_REGISTRY", with(env, "SCHEMA_REGISTRY_CERT_LOCATION="+store, "SCHEMA_REGISTRY_KEY_LOCATION="+store, "SCHEMA_REGISTRY_KEY_PASSWORD="+secretRegistry2), nil},
		{"a wrong password of the key", "KAFKA_SSL", with(env, "KAFKA_SSL_KEY_PASSWORD="+secretWrong), nil},
		{"a store that is none", "PKCS#12", with(clojure, "SSL_KEYSTORE_LOCATION="+store, "SSL_TRUSTSTORE_LOCATION="+store, "SSL_PASSWORD="+secretStore), nil},
		{"a password without stores", "SSL_", with(clojure, "SSL_PASSWORD="+secretStore), nil},
		{"brokers that are away", "level=WARN", with(env, "KAFKA_BROKERS="+nowhere), nil},
		{"a flag that there is not", "flag", env, []string{"--db-pasword=" + secretDefault}},
		{"a setting that is none", "MAX_BATCH", with(env, "MAX_BATCH=many"), nil},
	} {
		t.Run(fault.what, func(t *testing.T) {
			t.Parallel()
			here := *w
			here.t = t
			s := &told{world: &here, secrets: s.secrets}
			if waits := strings.Contains(fault.what, "away") || strings.Contains(fault.what, "refuses"); s.failing(fault.env, fault.until, fault.args...) != waits {
				t.Errorf("waited for and served meanwhile: %t, want %t", !waits, waits)
			}
			if fault.args != nil {
				return
			}
			said, _ := s.run("command-handler", fault.env, "--check-config")
			s.check("--check-config", said)
			for _, command := range [][]string{{"open-bank", "verify"}, {"open-bank", "check"}, {"open-bank", "dead-letters", "list"}, {"synchronizer", "plan"}, {"synchronizer", "apply"}} {
				said, _ := s.run(command[0], fault.env, append(command[1:], "--timeout=1s")...)
				s.check(strings.Join(command, " "), said)
			}
		})
	}
}

// tokens sends records that hold the account's token and another one, in every place and form.
func (s *told) tokens(account bank.AccountCreationConfirmed) {
	s.t.Helper()
	for _, token := range []string{account.Token, secretToken, "\x00" + secretToken, strings.Repeat(secretToken, 10)} {
		id := s.id()
		good := s.record(transfers, id, &bank.ConfirmMoneyTransfer{ID: id, Token: token, Amount: 1, From: account.IBAN, To: recipient, Description: description})
		other := s.record(transfers, id, &bank.ConfirmMoneyTransfer{ID: id, Token: token, Amount: 2, From: account.IBAN, To: recipient, Description: description})
		s.send(good, good, other)
		for _, cut := range []int{1, 3, 10, 30} {
			s.send(&kgo.Record{Topic: transfers, Key: good.Key, Value: good.Value[:len(good.Value)-cut]})
		}
		s.send(&kgo.Record{Topic: transfers, Value: append(slices.Clone(good.Value), 1)}, &kgo.Record{Topic: creations, Value: good.Value},
			&kgo.Record{Topic: transfers, Value: append([]byte{0, 0, 9, 9, 9}, good.Value[5:]...)}, &kgo.Record{Topic: transfers, Value: []byte(token)})
	}
}
