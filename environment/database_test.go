package environment_test

import (
	"strings"
	"testing"

	"github.com/lib/pq"

	"openbank/environment"
)

const pemText = "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----\n"

func TestADatabasesURLIsReadOrRefused(t *testing.T) {
	t.Parallel()
	const noURL = "DATABASE_URL is not a Postgres URL; it should look like postgres://user:password@host:5432/database, with %2F, %40"
	for name, c := range map[string]struct{ text, host, complain string }{
		"a URL":                          {"postgres://u:hush@h:1/d", "h", ""},
		"escaped characters":             {"postgres://u:%23%3F%2F%40hush@h/d", "h", ""},
		"a query":                        {"postgres://u:hush@h/d?sslmode=require&statement_timeout=5s", "h", ""},
		"pairs":                          {"host=h password=hush@#? user=u", "h", ""},
		"pairs with a URL for a value":   {"host=h password=a://hush", "h", ""},
		"a directory with a socket":      {"postgres:///d?host=/var/run/postgresql", "/var/run/postgresql", ""},
		"a key in the URL that is meant": {"sslinline=true sslkey='" + pemText + "' host=h", "h", ""},
		"a # in the password":            {"postgres://u:4711#hush@h/d", "", noURL},
		"a ? in the password":            {"postgres://u:4711?hush@h/d", "", noURL},
		"a / in the password":            {"postgres://u:4711/hush@h/d", "", noURL},
		"an @ and a # in the password":   {"postgres://u:a@4711#hush@h/d", "", noURL},
		"a fragment":                     {"postgres://u:p@h/d#hush", "", noURL},
		"another scheme":                 {"postgresql+psycopg://u:hush@h/d?sslmode=require", "", noURL},
		"Java's URL":                     {"jdbc:postgresql://h/d?user=u&password=hush", "", noURL},
		"neither":                        {"hush", "", noURL},
		"no such sslmode":                {"postgres://u:hush@h/d?sslmode=on", "", "DATABASE_URL has an sslmode that there is not"},
		"a key in place of its path":     {"host=h sslkey='" + pemText + "'", "", "the sslkey of DATABASE_URL holds a key or certificate itself; it must be the path of a file"},
		"a certificate in place of its":  {"postgres://u:hush@h/d?sslmode=verify-full&sslrootcert=-----BEGIN+CERTIFICATE-----%0Ahush", "", "the sslrootcert of DATABASE_URL holds a key or certificate itself"},
	} {
		config, err := environment.DatabaseConfig(c.text, "DATABASE_URL")
		if c.complain != "" {
			if err == nil || !strings.Contains(err.Error(), c.complain) || strings.Contains(err.Error(), "hush") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || config.Host != c.host {
			t.Errorf("%s: host %q, %v", name, config.Host, err)
		}
	}
}

func TestTLSIsUsedWhereNothingIsSaidAboutIt(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]pq.SSLMode{
		"postgres://u:p@h/d?sslrootcert=system": pq.SSLModeVerifyFull, "postgres://u:p@h/d": pq.SSLModePrefer, "host=h": pq.SSLModePrefer, "postgres://u:p@h/d?sslmode=disable": pq.SSLModeDisable, "host=h sslmode=verify-full": pq.SSLModeVerifyFull,
	} {
		if config, err := environment.DatabaseConfig(text, "DATABASE_URL"); err != nil || config.SSLMode != want {
			t.Errorf("%s: %s, %v", text, config.SSLMode, err)
		}
	}
}

func TestBrokersAreHostsWithPorts(t *testing.T) {
	t.Parallel()
	for brokers, want := range map[string]string{
		"h:1,[::1]:2":            "",
		"h:1,h2":                 `KAFKA_BROKERS (--kafka-brokers): "h2" is not HOST:PORT`,
		"SASL://u:hush@h:1":      "KAFKA_BROKERS (--kafka-brokers) is a URL; it must be HOST:PORT",
		"SASL://u:a,hush,b@h:1":  "KAFKA_BROKERS (--kafka-brokers) is a URL",
		"hush@h:1":               "KAFKA_BROKERS (--kafka-brokers) has an @ in it",
		"h:1 sasl.password=hush": "KAFKA_BROKERS (--kafka-brokers) looks like name=value pairs",
	} {
		err := environment.CheckBrokers(environment.List(brokers))
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush")) {
			t.Errorf("%s: %v", brokers, err)
		}
	}
}

func TestAStoreInPlaceOfItsPathIsNotTold(t *testing.T) {
	t.Parallel()
	for name, stores := range map[string]environment.Stores{
		"SSL_KEYSTORE_LOCATION":   {KeyStore: pemText, TrustStore: "t", Password: "p"},
		"SSL_TRUSTSTORE_LOCATION": {KeyStore: "k", TrustStore: pemText, Password: "p"},
		"SSL_STORE_DIRECTORY":     {KeyStore: "k", TrustStore: "t", Password: "p", Directory: pemText},
	} {
		_, faults := stores.Files()
		if len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), name+" (--") || !strings.Contains(faults[0].Error(), "it must be the path of a file") || strings.Contains(faults[0].Error(), "hush") {
			t.Errorf("%s: %v", name, faults)
		}
	}
}
