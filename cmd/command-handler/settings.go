package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"

	"openbank/certs"
	"openbank/environment"
)

// setting is one thing that can be configured: by its flag, else by its environment variable, else it has its default.
type setting struct {
	flag, env, fallback, about string
	secret                     bool // masked wherever it is printed
}

// settings lists everything in the order of --help. The environment variables are those that the stack sets on its handlers.
var settings = []setting{
	{"kafka-brokers", "KAFKA_BROKERS", "localhost:9092", "host:port of the brokers, separated by commas", false},
	{"kafka-ssl-ca-location", "KAFKA_SSL_CA_LOCATION", "", "PEM file of the certificate authority; TLS is on when all four KAFKA_SSL_* are set, off when none is", false},
	{"kafka-ssl-cert-location", "KAFKA_SSL_CERT_LOCATION", "", "PEM file of the client certificate", false},
	{"kafka-ssl-key-location", "KAFKA_SSL_KEY_LOCATION", "", "PEM file of the client's private key, encrypted", false},
	{"kafka-ssl-key-password", "KAFKA_SSL_KEY_PASSWORD", "", "password of the private key", true},
	{"kafka-ssl-verify-hostname", "KAFKA_SSL_VERIFY_HOSTNAME", "true", "check that a broker's certificate names its host", false},
	{"ssl-keystore-location", "SSL_KEYSTORE_LOCATION", "", "PKCS#12 store with the client's certificate and key, in place of the PEM files: TLS is on when all three SSL_* are set", false},
	{"ssl-truststore-location", "SSL_TRUSTSTORE_LOCATION", "", "PKCS#12 store of the certificate authority", false},
	{"ssl-password", "SSL_PASSWORD", "", "password of both stores", true},
	{"ssl-store-directory", "SSL_STORE_DIRECTORY", environment.DefaultDirectory, "where stores lie that are named without a directory", false},
	{"kafka-client-id", "KAFKA_CLIENT_ID", "", "what client ids begin with (-cac, -cmt, -producer, -answers); the consumer group too, unless KAFKA_GROUP is set", false},
	{"kafka-group", "KAFKA_GROUP", "", "consumer group; default: KAFKA_CLIENT_ID, or rust-command-handler in the Rust handler's environment, or command-handler", false},
	{"kafka-max-poll-interval", "KAFKA_MAX_POLL_INTERVAL", "1m", "after how long without progress the group gives this handler's partitions to another; 26s to 24h", false},
	{"confirm-account-creation-topic", "KAFKA_CAC_TOPIC", "confirm_account_creation", "topic of account creation commands", false},
	{"account-creation-feedback-topic", "KAFKA_ACF_TOPIC", "account_creation_feedback", "topic of their answers", false},
	{"confirm-money-transfer-topic", "KAFKA_CMT_TOPIC", "confirm_money_transfer", "topic of money transfer commands", false},
	{"money-transfer-feedback-topic", "KAFKA_MTF_TOPIC", "money_transfer_feedback", "topic of their answers", false},
	{"balance-changed-topic", "KAFKA_BC_TOPIC", "balance_changed", "topic of the BalanceChanged events", false},
	{"schema-registry-url", "SCHEMA_REGISTRY_URL", "http://localhost:8081", "URLs of the registry, separated by commas", false},
	{"schema-registry-username", "SCHEMA_REGISTRY_USERNAME", "", "user for basic authentication", false},
	{"schema-registry-password", "SCHEMA_REGISTRY_PASSWORD", "", "password for basic authentication", true},
	{"schema-registry-bearer-token", "SCHEMA_REGISTRY_BEARER_TOKEN", "", "token for bearer authentication, in place of user and password", true},
	{"schema-registry-ca-location", "SCHEMA_REGISTRY_CA_LOCATION", "", "PEM file of the registry's certificate authority, for https; default: the system's", false},
	{"schema-registry-cert-location", "SCHEMA_REGISTRY_CERT_LOCATION", "", "PEM file of a client certificate for the registry", false},
	{"schema-registry-key-location", "SCHEMA_REGISTRY_KEY_LOCATION", "", "PEM file of its private key", false},
	{"schema-registry-key-password", "SCHEMA_REGISTRY_KEY_PASSWORD", "", "password of that key", true},
	{"database-url", "DATABASE_URL", "", "the database with the balances; session pooling only; default: clojure_ch's balancedb at the three DB_*", true},
	{"db-hostname", "DB_HOSTNAME", environment.DefaultHostname, "its host, in place of DATABASE_URL", false},
	{"db-port", "DB_PORT", environment.DefaultPort, "its port", false},
	{"db-password", "DB_PASSWORD", environment.DefaultPassword, "password of clojure_ch", true},
	{"database-layout", "DATABASE_LAYOUT", "", "names of the tables: clojure (balance, cac, cmt) or rust (balancer, cacr, cmtr); default: those that are there", false},
	{"database-guard", "DATABASE_GUARD", "true", "refuse other programs' writes to the tables, until hand-back", false},
	{"migrate-database-url", "MIGRATE_DATABASE_URL", "", "the database for migrate and hand-back, as the owner of the tables; default: as without", true},
	{"max-batch", "MAX_BATCH", "650", "most commands in one Postgres transaction", false},
	{"unknown-schema-after", "UNKNOWN_SCHEMA_AFTER", "10s", "how long the registry must deny a schema id until records with it become dead letters; of a flood of ids the first 20 get it", false},
	{"refresh-schemas", "REFRESH_SCHEMAS", "3m", "time between two looks at the latest schemas, at least 1s", false},
	{"delivery", "DELIVERY", "auto", "exactly-once, at-least-once, or auto: exactly-once where the brokers are Kafka 2.5 or newer", false},
	{"kafka-transactional-id", "KAFKA_TRANSACTIONAL_ID", "", "identity of the producer; default: the group and the lowest number that no other handler has", false},
	{"kafka-group-instance-id", "KAFKA_GROUP_INSTANCE_ID", "", "identity in the group, to which -cac and -cmt are added; default: the same", false},
	{"leave-on-stop", "LEAVE_ON_STOP", "false", "at a stop give the partitions to the other handlers at once, instead of keeping them 6 s for a restart", false},
	{"rewind", "REWIND", "false", "when Postgres was restored to an earlier state: execute again what it does not have", false},
	{"skip-ahead", "SKIP_AHEAD", "false", "when the group's offset was set beyond what was executed: leave out what lies between", false},
	{"new-topics", "NEW_TOPICS", "false", "when a command topic was deleted and made anew: go on with the new one", false},
	{"stop-timeout", "STOP_TIMEOUT", "8s", "how long a stop may take, to within 1 s: what is not finished by then is left to the next handler", false},
	{"http-address", "HTTP_ADDRESS", defaultHTTPAddress, "where /livez, /readyz and /metrics are served; :8383 for other machines too, off for nowhere", false},
	{"log-format", "LOG_FORMAT", "text", "text or json", false},
	{"log-level", "LOG_LEVEL", "info", "debug, info, warn or error", false},
}

// values are the settings of one run.
type values struct {
	value, source        map[string]string // by flag name; source is flag, environment, default, or default for being overruled
	getenv               func(variable string) string
	version, checkConfig bool
}

var errHelp = errors.New("help was asked for")

// parse reads flags and environment. An empty variable counts as none.
func parse(args []string, env func(string) (string, bool)) (*values, error) {
	v := &values{value: map[string]string{}, source: map[string]string{}, getenv: func(variable string) string {
		text, _ := env(variable)
		return text
	}}
	flags := flag.NewFlagSet("command-handler", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.BoolVar(&v.version, "version", false, "")
	flags.BoolVar(&v.checkConfig, "check-config", false, "")
	for _, s := range settings {
		v.value[s.flag], v.source[s.flag] = s.fallback, "default"
		if e := v.getenv(s.env); e != "" {
			v.value[s.flag], v.source[s.flag] = e, "environment"
		}
		set := func(text string) error {
			v.value[s.flag], v.source[s.flag] = text, "flag"
			return nil
		}
		if s.fallback == "false" {
			flags.BoolFunc(s.flag, "", set) // --rewind is enough
		} else {
			flags.Func(s.flag, "", set)
		}
	}
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil, errHelp
	case err != nil:
		return nil, fmt.Errorf("%w: command-handler --help lists the flags", err)
	case flags.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q: command-handler takes migrate, hand-back or healthcheck as its first argument, and flags; --help lists them", flags.Arg(0))
	}
	byFlag := map[string]bool{}
	for _, s := range settings {
		byFlag[s.env] = v.source[s.flag] == "flag"
	}
	for _, s := range settings {
		if v.source[s.flag] == "environment" && environment.Overruled(s.env, func(variable string) bool { return byFlag[variable] }) {
			v.value[s.flag], v.source[s.flag] = s.fallback, "default, overruled by a flag"
		}
	}
	return v, nil
}

// print writes the effective configuration and what comes of it, without secrets.
func (v *values) print(w io.Writer, c config) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range settings {
		value := v.value[s.flag]
		switch {
		case value == "":
			value = "-"
		case s.flag == "database-url" || s.flag == "migrate-database-url":
			value = redactURL(value)
		case s.flag == "schema-registry-url":
			value = redactURLs(value)
		case s.secret || certs.CheckPath(s.env, value) != nil:
			value = masked
		}
		fmt.Fprintf(t, "%s\t%s\t(%s)\n", s.env, value, v.source[s.flag])
	}
	_ = t.Flush() // its error is the next one's too
	fmt.Fprintln(w, "\nWhat comes of it:")
	fmt.Fprintf(t, "environment\t%s\n", c.environment.Whose())
	fmt.Fprintf(t, "consumer group\t%s\n", c.handler.Group)
	fmt.Fprintf(t, "client ids\t%s with -cac, -cmt, -producer, -answers\n", c.handler.ClientID)
	fmt.Fprintf(t, "brokers\t%s\n", c.encryption)
	fmt.Fprintf(t, "database\t%s\n", redactURL(c.store.URL))
	return t.Flush()
}

const masked = "xxxxx"

// redactURL leaves of a URL what is no secret by its place: scheme, host, path, sslmode, and the user if there is a password, without which a
// token stands there. What is no URL, or has an @ where none belongs, might be one with a typing error: it is masked whole.
func redactURL(text string) string {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Scheme == "" || u.Host == "" || strings.Contains(u.Path+u.RawQuery+u.Fragment, "@") {
		return masked
	}
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	if u.User != nil {
		shown.User = url.User(masked)
		if _, ok := u.User.Password(); ok && !strings.Contains(u.User.Username(), ":") {
			shown.User = url.UserPassword(u.User.Username(), masked)
		}
	}
	if mode := u.Query().Get("sslmode"); mode != "" {
		shown.RawQuery = url.Values{"sslmode": {mode}}.Encode()
	}
	return shown.String()
}

// redactURLs is redactURL for URLs with commas between. Where one is none, a password may have had a comma in it: all are masked.
func redactURLs(text string) string {
	urls := environment.List(text)
	for i := range urls {
		if urls[i] = redactURL(urls[i]); urls[i] == masked {
			return masked
		}
	}
	return strings.Join(urls, ",")
}

// ofDatabase are the settings that migrate and hand-back go by; the others they check like the handler, and leave alone.
var ofDatabase = []string{
	"database-url", "db-hostname", "db-port", "db-password", "database-layout", "database-guard", "migrate-database-url", "log-format", "log-level",
}

// usage explains the program, or one of its commands.
func usage(w io.Writer, command string) {
	listed := settings
	switch command {
	case migrate:
		fmt.Fprintln(w, `Usage: command-handler migrate [flags]

Make the database ready for this handler, or take it over from an earlier one, and exit. The handler does so itself when it starts; this is for
where it may not: with MIGRATE_DATABASE_URL naming the owner of the tables, its own user needs no more than to read and write them.`)
	case handBack:
		fmt.Fprintln(w, `Usage: command-handler hand-back [flags]

Give the database back to the earlier handler, and exit: the guard that refuses other programs' writes goes. Stop all handlers first.`)
	default:
		fmt.Fprintln(w, `Usage: command-handler [flags]            execute the bank's commands: Kafka in, Postgres, Kafka out
       command-handler migrate [flags]    make the database ready, or take it over from an earlier handler, and exit
       command-handler hand-back [flags]  give the database back to the earlier handler, and exit
       command-handler healthcheck [live] [flags]
                                          ask the handler at HTTP_ADDRESS whether it is ready, or live: exit status 0 or 1`)
	}
	if command != "" {
		listed = slices.DeleteFunc(slices.Clone(settings), func(s setting) bool { return !slices.Contains(ofDatabase, s.flag) })
	}
	fmt.Fprintln(w, "\nA flag wins over its environment variable.\n\nFlags:")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range listed {
		fallback := s.fallback
		if fallback == "" {
			fallback = "-"
		}
		fmt.Fprintf(t, "  --%s\t%s\t%s\t%s\n", s.flag, s.env, fallback, s.about)
	}
	fmt.Fprintln(t, "  --check-config\t\t\tprint the effective configuration, secrets masked, and exit")
	fmt.Fprintln(t, "  --version\t\t\tprint the version and exit")
	_ = t.Flush()
}
