package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"openbank/certs"
	"openbank/handler"
	"openbank/registry"
	"openbank/store"
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
	{"kafka-group", "KAFKA_GROUP", "command-handler", "consumer group; a handler that takes another's place needs its group", false},
	{"kafka-max-poll-interval", "KAFKA_MAX_POLL_INTERVAL", "1m", "after how long without progress the group gives this handler's partitions to another", false},
	{"confirm-account-creation-topic", "KAFKA_CAC_TOPIC", "confirm_account_creation", "topic of account creation commands", false},
	{"account-creation-feedback-topic", "KAFKA_ACF_TOPIC", "account_creation_feedback", "topic of their answers", false},
	{"confirm-money-transfer-topic", "KAFKA_CMT_TOPIC", "confirm_money_transfer", "topic of money transfer commands", false},
	{"money-transfer-feedback-topic", "KAFKA_MTF_TOPIC", "money_transfer_feedback", "topic of their answers", false},
	{"balance-changed-topic", "KAFKA_BC_TOPIC", "balance_changed", "topic of the BalanceChanged events", false},
	{"schema-registry-url", "SCHEMA_REGISTRY_URL", "http://localhost:8081", "URLs of the registry, separated by commas", false},
	{"schema-registry-username", "SCHEMA_REGISTRY_USERNAME", "", "user for basic authentication", false},
	{"schema-registry-password", "SCHEMA_REGISTRY_PASSWORD", "", "password for basic authentication", true},
	{"schema-registry-ca-location", "SCHEMA_REGISTRY_CA_LOCATION", "", "PEM file of the registry's certificate authority, for https; default: the system's", false},
	{"schema-registry-cert-location", "SCHEMA_REGISTRY_CERT_LOCATION", "", "PEM file of a client certificate for the registry", false},
	{"schema-registry-key-location", "SCHEMA_REGISTRY_KEY_LOCATION", "", "PEM file of its private key", false},
	{"schema-registry-key-password", "SCHEMA_REGISTRY_KEY_PASSWORD", "", "password of that key", true},
	{"database-url", "DATABASE_URL", "postgres://clojure_ch:open-bank@localhost:5432/balancedb", "the database with the balances; session pooling only", true},
	{"max-batch", "MAX_BATCH", "4000", "most commands in one Postgres transaction", false},
	{"unknown-schema-after", "UNKNOWN_SCHEMA_AFTER", "10s", "how long the registry must deny a schema id until records with it become dead letters", false},
	{"refresh-schemas", "REFRESH_SCHEMAS", "3m", "time between two looks at the latest schemas", false},
	{"stop-timeout", "STOP_TIMEOUT", "8s", "how long a stop may take to finish what is in flight", false},
	{"log-format", "LOG_FORMAT", "text", "text or json", false},
	{"log-level", "LOG_LEVEL", "info", "debug, info, warn or error", false},
}

// values are the settings of one run.
type values struct {
	value, source        map[string]string // by flag name; source is flag, environment or default
	version, checkConfig bool
}

var errHelp = errors.New("help was asked for")

// parse reads flags and environment. An empty variable counts as none.
func parse(args []string, env func(string) (string, bool)) (*values, error) {
	v := &values{value: map[string]string{}, source: map[string]string{}}
	flags := flag.NewFlagSet("command-handler", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.BoolVar(&v.version, "version", false, "")
	flags.BoolVar(&v.checkConfig, "check-config", false, "")
	for _, s := range settings {
		v.value[s.flag], v.source[s.flag] = s.fallback, "default"
		if e, ok := env(s.env); ok && e != "" {
			v.value[s.flag], v.source[s.flag] = e, "environment"
		}
		flags.Func(s.flag, "", func(text string) error {
			v.value[s.flag], v.source[s.flag] = text, "flag"
			return nil
		})
	}
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil, errHelp
	case err != nil:
		return nil, fmt.Errorf("%w: command-handler --help lists the flags", err)
	case flags.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q: command-handler takes flags alone, --help lists them", flags.Arg(0))
	}
	return v, nil
}

// config is what the settings mean to the packages.
type config struct {
	handler  handler.Config
	registry registry.Config
	store    store.Config
	logJSON  bool
	logLevel slog.Level
}

// configure checks all settings and reports all faults together.
func (v *values) configure() (config, error) {
	var c config
	var faults []error
	fault := func(name, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s (--%s): %w", envOf(name), name, fmt.Errorf(format, args...)))
	}
	duration := func(name string) time.Duration {
		d, err := time.ParseDuration(v.value[name])
		if err != nil || d <= 0 {
			fault(name, "%q is not a duration above zero, such as 10s or 3m", v.value[name])
		}
		return d
	}

	files, faulty := v.kafkaTLS()
	faults = append(faults, faulty...)
	verify, err := strconv.ParseBool(v.value["kafka-ssl-verify-hostname"])
	if err != nil {
		fault("kafka-ssl-verify-hostname", "%q is neither true nor false", v.value["kafka-ssl-verify-hostname"])
	}
	files.SkipHostname = !verify
	if files.CA != "" && len(faulty) == 0 {
		// librdkafka reads the files itself; reading them here first gives errors that name the setting.
		if _, err := certs.ClientTLS(files); err != nil {
			faults = append(faults, fmt.Errorf("KAFKA_SSL_*: %w", err))
		}
	}
	brokers := v.value["kafka-brokers"]
	for _, b := range strings.Split(brokers, ",") {
		if host, port, ok := strings.Cut(strings.TrimSpace(b), ":"); !ok || host == "" || port == "" {
			fault("kafka-brokers", "%q is not host:port", b)
		}
	}
	maxBatch, err := strconv.Atoi(v.value["max-batch"])
	if err != nil || maxBatch < 1 || maxBatch > store.MaxBatch {
		fault("max-batch", "%q is not a number from 1 to %d", v.value["max-batch"], store.MaxBatch)
	}
	pollInterval := duration("kafka-max-poll-interval")
	if pollInterval > 0 && pollInterval < handler.MinPollInterval {
		fault("kafka-max-poll-interval", "%s is too short, it must be at least %s", pollInterval, handler.MinPollInterval)
	}
	c.handler = handler.Config{
		Kafka: handler.Kafka{Brokers: brokers, TLS: handler.TLS{
			CA: files.CA, Cert: files.Cert, Key: files.Key, KeyPassword: files.Password, SkipHostnameCheck: files.SkipHostname,
		}},
		Topics: handler.Topics{
			ConfirmAccountCreation:  v.value["confirm-account-creation-topic"],
			AccountCreationFeedback: v.value["account-creation-feedback-topic"],
			ConfirmMoneyTransfer:    v.value["confirm-money-transfer-topic"],
			MoneyTransferFeedback:   v.value["money-transfer-feedback-topic"],
			BalanceChanged:          v.value["balance-changed-topic"],
		},
		Group:           v.value["kafka-group"],
		MaxPollInterval: pollInterval,
		MaxBatch:        maxBatch,
		RefreshSchemas:  duration("refresh-schemas"),
		StopTimeout:     duration("stop-timeout"),
	}

	c.registry = registry.Config{Username: v.value["schema-registry-username"], Password: v.value["schema-registry-password"], UnknownAfter: duration("unknown-schema-after")}
	for _, u := range strings.Split(v.value["schema-registry-url"], ",") {
		u = strings.TrimSpace(u)
		if parsed, err := url.Parse(u); err != nil || parsed.Host == "" || (parsed.Scheme != "http" && parsed.Scheme != "https") {
			fault("schema-registry-url", "%q is not a URL such as http://localhost:8081", redactURL(u))
		}
		c.registry.URLs = append(c.registry.URLs, u)
	}
	if (v.value["schema-registry-username"] == "") != (v.value["schema-registry-password"] == "") {
		fault("schema-registry-username", "user and password belong together: set both or none")
	}
	ca, cert, key := v.value["schema-registry-ca-location"], v.value["schema-registry-cert-location"], v.value["schema-registry-key-location"]
	if (cert == "") != (key == "") {
		fault("schema-registry-cert-location", "certificate and key belong together: set both or none")
	} else if ca != "" || cert != "" {
		tls, err := certs.ClientTLS(certs.Files{
			CA: ca, Cert: cert, Key: key, Password: v.value["schema-registry-key-password"],
		})
		if err != nil {
			faults = append(faults, fmt.Errorf("SCHEMA_REGISTRY_*_LOCATION: %w", err))
		}
		c.registry.TLS = tls
	}

	c.store = store.Config{URL: v.value["database-url"]}
	if err := store.CheckURL(c.store.URL); err != nil {
		faults = append(faults, err)
	}
	switch v.value["log-format"] {
	case "text":
	case "json":
		c.logJSON = true
	default:
		fault("log-format", "%q is neither text nor json", v.value["log-format"])
	}
	if err := c.logLevel.UnmarshalText([]byte(v.value["log-level"])); err != nil {
		fault("log-level", "%q is none of debug, info, warn, error", v.value["log-level"])
	}
	return c, errors.Join(faults...)
}

// kafkaTLS takes all four KAFKA_SSL_* or none: some of them are a mistake, and plaintext would be a worse one.
func (v *values) kafkaTLS() (certs.Files, []error) {
	names := []string{"kafka-ssl-ca-location", "kafka-ssl-cert-location", "kafka-ssl-key-location", "kafka-ssl-key-password"}
	var missing []string
	for _, n := range names {
		if v.value[n] == "" {
			missing = append(missing, envOf(n))
		}
	}
	if len(missing) == len(names) {
		return certs.Files{}, nil
	}
	files := certs.Files{CA: v.value[names[0]], Cert: v.value[names[1]], Key: v.value[names[2]], Password: v.value[names[3]]}
	if len(missing) > 0 {
		return files, []error{fmt.Errorf("%s missing: set all four KAFKA_SSL_* for TLS, or none of them for plaintext", strings.Join(missing, " and "))}
	}
	var faults []error
	for _, n := range names[:3] {
		if _, err := os.Stat(v.value[n]); err != nil {
			faults = append(faults, fmt.Errorf("%s (--%s): %w", envOf(n), n, err))
		}
	}
	return files, faults
}

func envOf(name string) string {
	for _, s := range settings {
		if s.flag == name {
			return s.env
		}
	}
	return name
}

// print writes the effective configuration, without secrets.
func (v *values) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range settings {
		value := v.value[s.flag]
		switch {
		case value == "":
			value = "-"
		case s.flag == "database-url" || s.flag == "schema-registry-url":
			value = redactURL(value)
		case s.secret:
			value = "xxxxx"
		}
		fmt.Fprintf(t, "%s\t%s\t(%s)\n", s.env, value, v.source[s.flag])
	}
	return t.Flush()
}

// redactURL masks the passwords of URLs separated by commas. What is no URL, or has an @ where none belongs, might be one with a
// typing error: it is masked whole.
func redactURL(text string) string {
	parts := strings.Split(text, ",")
	for i, p := range parts {
		u, err := url.Parse(strings.TrimSpace(p))
		if err != nil || u.Scheme == "" || u.Host == "" || strings.Contains(u.Path, "@") {
			parts[i] = "xxxxx"
			continue
		}
		query := u.Query()
		for key := range query {
			if strings.Contains(key, "password") {
				query.Set(key, "xxxxx")
				u.RawQuery = query.Encode()
			}
		}
		parts[i] = u.Redacted()
	}
	return strings.Join(parts, ",")
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "Usage: command-handler [flags]\n\nExecutes the bank's commands: Kafka in, Postgres, Kafka out. A flag wins over its environment variable.\n\nFlags:")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range settings {
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
