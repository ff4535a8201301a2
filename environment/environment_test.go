package environment_test

import (
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"openbank/environment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWhoseAnEnvironmentIs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set         string
		groupChosen bool
		want        environment.Handler
		says        string
	}{
		"nothing":                        {want: environment.Neither},
		"what both have":                 {set: "KAFKA_BROKERS SCHEMA_REGISTRY_URL KAFKA_CMT_TOPIC", want: environment.Neither},
		"a password":                     {set: "DB_PASSWORD", want: environment.Clojure},
		"a trust store":                  {set: "SSL_TRUSTSTORE_LOCATION", want: environment.Clojure},
		"a client id":                    {set: "KAFKA_CLIENT_ID", want: environment.Clojure},
		"a database":                     {set: "DATABASE_URL", want: environment.Rust},
		"a key":                          {set: "KAFKA_SSL_KEY_LOCATION", want: environment.Rust},
		"ours besides":                   {set: "DATABASE_URL KAFKA_SSL_VERIFY_HOSTNAME KAFKA_GROUP SSL_STORE_DIRECTORY", want: environment.Rust},
		"two databases":                  {set: "DATABASE_URL DB_PORT", says: "DB_PORT is the Clojure handler's variable and DATABASE_URL the Rust handler's"},
		"a key and a database":           {set: "KAFKA_SSL_KEY_LOCATION DB_HOSTNAME", says: "DB_HOSTNAME is the Clojure handler's variable and KAFKA_SSL_KEY_LOCATION the Rust handler's"},
		"two groups":                     {set: "DATABASE_URL KAFKA_CLIENT_ID", says: "whose group is rust-command-handler: set KAFKA_GROUP"},
		"two groups, and one was chosen": {set: "DATABASE_URL KAFKA_CLIENT_ID", groupChosen: true, want: environment.Rust},
	} {
		got, err := environment.Of(func(variable string) string {
			for _, s := range strings.Fields(c.set) {
				if s == variable {
					return "something"
				}
			}
			return ""
		}, c.groupChosen)
		if got != c.want || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestADatabaseIsMadeOfItsParts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		database                 environment.Database
		host, password, complain string
	}{
		"the defaults":           {environment.Database{}, "localhost:5432", "open-bank", ""},
		"all of it":              {environment.Database{Hostname: "db", Port: "25432", Password: "p"}, "db:25432", "p", ""},
		"an awkward password":    {environment.Database{Password: "a/b@c:d?e#f %"}, "localhost:5432", "a/b@c:d?e#f %", ""},
		"an address":             {environment.Database{Hostname: "::1"}, "[::1]:5432", "open-bank", ""},
		"a host with a port":     {environment.Database{Hostname: "db:1"}, "", "", "DB_HOSTNAME"},
		"a URL":                  {environment.Database{Hostname: "postgres://u:hush@db/d"}, "", "", "DB_HOSTNAME (--db-hostname) is a URL; that belongs in DATABASE_URL"},
		"a user and a host":      {environment.Database{Hostname: "u:hush@db"}, "", "", "DB_HOSTNAME (--db-hostname) has an @ in it"},
		"a pair for a host":      {environment.Database{Hostname: "password=hush"}, "", "", "DB_HOSTNAME (--db-hostname) looks like name=value pairs"},
		"a port beyond the last": {environment.Database{Port: "65536"}, "", "", `DB_PORT (--db-port): "65536" is not a number`},
		"a port and a password":  {environment.Database{Port: "1 password=hush"}, "", "", "DB_PORT (--db-port) looks like name=value pairs; that belongs in DATABASE_URL, and a number from 1 to 65535 here"},
		"a URL for a port":       {environment.Database{Port: "postgres://u:hush@db/d"}, "", "", "DB_PORT (--db-port) is a URL"},
	} {
		text, faults := c.database.URL()
		if c.complain != "" {
			if len(faults) != 1 || !strings.Contains(faults[0].Error(), c.complain) || strings.Contains(faults[0].Error(), "hush") {
				t.Errorf("%s: %v", name, faults)
			}
			continue
		}
		parsed, err := url.Parse(text)
		if err != nil || len(faults) > 0 {
			t.Errorf("%s: %v %v", name, err, faults)
			continue
		}
		if password, _ := parsed.User.Password(); parsed.Host != c.host || password != c.password || parsed.User.Username() != "clojure_ch" || parsed.Path != "/balancedb" {
			t.Errorf("%s: %s", name, text)
		}
	}
}
