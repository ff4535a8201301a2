package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
	"unicode"

	"openbank/certs"
	"openbank/environment"
	"openbank/handler"
	"openbank/registry"
	"openbank/store"
)

// config is what the settings mean to the packages.
type config struct {
	handler     handler.Config
	registry    registry.Config
	store       store.Config
	owner       store.Config // of migrate and hand-back
	environment environment.Handler
	encryption  string // of the connections to the brokers, in words
	expired     bool   // the own certificate is
	httpAddress string // "" for nowhere
	logJSON     bool
	logLevel    slog.Level
}

// leastRefresh is the least time between two looks at the latest schemas.
const leastRefresh = time.Second

// configure checks all settings and reports all faults together.
func (v *values) configure() (config, error) {
	var c config
	var faults []error
	fault := func(name, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: %w", named(name), fmt.Errorf(format, args...)))
	}
	duration := func(name string) time.Duration {
		d, err := time.ParseDuration(v.value[name])
		if err != nil || d <= 0 {
			fault(name, "%q is not a duration above zero, such as 10s or 3m", v.value[name])
		}
		return d
	}

	clientID := v.value["kafka-client-id"]
	var err error
	if c.environment, err = environment.Of(v.getenv, v.value["kafka-group"] != ""); err != nil {
		faults = append(faults, err)
	} else {
		faults = append(faults, environment.Contradictions(v.given)...)
	}
	for _, n := range []string{"kafka-group", "kafka-client-id", "kafka-transactional-id", "kafka-group-instance-id"} {
		if name := v.value[n]; name != strings.TrimSpace(name) || strings.ContainsFunc(name, unicode.IsControl) {
			fault(n, "%q begins or ends with white space, or has a control character in it: Kafka would take it for another name; write it without", name)
		}
	}
	group := c.environment.Group(v.value["kafka-group"], clientID)
	if clientID == "" {
		clientID = group
	}
	kafka, faulty := v.kafkaTLS(&c)
	faults = append(faults, faulty...)
	if len(faulty) == 0 {
		faults = append(faults, v.checkProtocol(kafka.Dial != nil))
	}
	brokers := v.value["kafka-brokers"]
	faults = append(faults, environment.CheckBrokers(environment.List(brokers)))
	maxBatch, err := strconv.Atoi(v.value["max-batch"])
	if err != nil || maxBatch < 1 || maxBatch > store.MaxBatch {
		fault("max-batch", "%q is not a number from 1 to %d", v.value["max-batch"], store.MaxBatch)
	}
	pollInterval := duration("kafka-max-poll-interval")
	if pollInterval > 0 && (pollInterval < handler.MinPollInterval || pollInterval > handler.MaxPollInterval) {
		fault("kafka-max-poll-interval", "%s is not from %s to %s", pollInterval, handler.MinPollInterval, handler.MaxPollInterval)
	}
	refresh := duration("refresh-schemas")
	if 0 < refresh && refresh < leastRefresh {
		fault("refresh-schemas", "%s is too short, it must be at least %s: each look asks the registry for every schema that is written", refresh, leastRefresh)
	}
	topics := environment.Topics{
		ConfirmAccountCreation:  v.value["confirm-account-creation-topic"],
		AccountCreationFeedback: v.value["account-creation-feedback-topic"],
		ConfirmMoneyTransfer:    v.value["confirm-money-transfer-topic"],
		MoneyTransferFeedback:   v.value["money-transfer-feedback-topic"],
		BalanceChanged:          v.value["balance-changed-topic"],
	}
	faults = append(faults, topics.Check())
	kafka.Brokers = brokers
	c.handler = handler.Config{
		Kafka:           kafka,
		Topics:          handler.Topics(topics),
		Group:           group,
		ClientID:        clientID,
		MaxPollInterval: pollInterval,
		MaxBatch:        maxBatch,
		RefreshSchemas:  refresh,
		StopTimeout:     duration("stop-timeout"),
	}
	v.configureDelivery(&c.handler, fault)

	c.registry = registry.Config{
		Username: v.value["schema-registry-username"], Password: v.value["schema-registry-password"], BearerToken: v.value["schema-registry-bearer-token"],
		UnknownAfter: duration("unknown-schema-after"),
	}
	c.registry.URLs = environment.List(v.value["schema-registry-url"])
	for _, err := range registry.CheckURLs(c.registry.URLs) {
		fault("schema-registry-url", "%w", err)
	}
	if (v.value["schema-registry-username"] == "") != (v.value["schema-registry-password"] == "") {
		fault("schema-registry-username", "user and password belong together: set both or none")
	}
	faults = append(faults, environment.CheckToken(c.registry.BearerToken))
	if c.registry.BearerToken != "" && c.registry.Username+c.registry.Password != "" {
		fault("schema-registry-bearer-token", "it stands in for user and password: set it or those")
	}
	ca, cert, key := v.value["schema-registry-ca-location"], v.value["schema-registry-cert-location"], v.value["schema-registry-key-location"]
	faults = append(faults, environment.CheckEnds("SCHEMA_REGISTRY_USERNAME", c.registry.Username, "SCHEMA_REGISTRY_PASSWORD", c.registry.Password)...)
	noPaths := environment.CheckEnds("SCHEMA_REGISTRY_KEY_PASSWORD", v.value["schema-registry-key-password"])
	for _, n := range []string{"schema-registry-ca-location", "schema-registry-cert-location", "schema-registry-key-location"} {
		if err := certs.CheckPath(named(n), v.value[n]); err != nil {
			noPaths = append(noPaths, err)
		}
	}
	faults = append(faults, noPaths...)
	if (cert == "") != (key == "") {
		fault("schema-registry-cert-location", "certificate and key belong together: set both or none")
	} else if (ca != "" || cert != "") && len(noPaths) == 0 {
		tls, err := certs.ClientTLS(certs.Files{
			CA: ca, Cert: cert, Key: key, Password: v.value["schema-registry-key-password"],
		})
		if err != nil {
			faults = append(faults, fmt.Errorf("SCHEMA_REGISTRY_*_LOCATION: %w", err))
		}
		c.registry.TLS = tls
	}

	c.store = store.Config{URL: v.value["database-url"]}
	if c.store.URL == "" {
		var faulty []error
		c.store.Setting = environment.DatabaseSetting
		c.store.URL, faulty = environment.Database{Hostname: v.value["db-hostname"], Port: v.value["db-port"], Password: v.value["db-password"]}.URL()
		faults = append(faults, append(faulty, environment.CheckEnds("DB_PASSWORD", v.value["db-password"])...)...)
	} else if err := store.CheckURL(c.store.URL, named("database-url")); err != nil {
		faults = append(faults, err)
	}
	c.store.Layout, c.store.Prefer = v.value["database-layout"], string(c.environment)
	if l := c.store.Layout; l != "" && l != "clojure" && l != "rust" {
		fault("database-layout", "%q is neither clojure nor rust", l)
	}
	guarded, err := environment.Switch(v.value["database-guard"])
	if err != nil {
		fault("database-guard", "%w", err)
	}
	c.store.Unguarded = !guarded
	faults = append(faults, c.asOwner(v.value["migrate-database-url"])...)
	if c.httpAddress, err = httpAddress(v.value["http-address"]); err != nil {
		fault("http-address", "%w", err)
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

// given is the value of a variable or of its flag, nothing when it has its default.
func (v *values) given(variable string) string {
	for _, s := range settings {
		if s.env == variable && (v.source[s.flag] == "flag" || v.source[s.flag] == "environment") {
			return v.value[s.flag]
		}
	}
	return ""
}

// checkProtocol refuses what the tools would take for the way to be let in by the brokers, and this handler does not go: it would connect
// without encryption, or wait for an answer that never comes.
func (v *values) checkProtocol(encrypted bool) error {
	for _, name := range []string{"KAFKA_SASL_MECHANISM", "KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"} {
		if v.getenv(name) != "" {
			return fmt.Errorf("%s: the handler is let in by a certificate, or by nothing, and knows no SASL: set KAFKA_SSL_*, and leave KAFKA_SASL_* to the tools", name)
		}
	}
	protocol := v.getenv("KAFKA_SECURITY_PROTOCOL")
	switch strings.ToUpper(protocol) {
	case "":
		return nil
	case "PLAINTEXT":
		if encrypted {
			return errors.New("KAFKA_SECURITY_PROTOCOL: it is PLAINTEXT, and there are settings for TLS: set it to SSL, or take those away")
		}
		return nil
	case "SSL":
		if !encrypted {
			return errors.New("KAFKA_SECURITY_PROTOCOL: it is SSL, and there is no certificate to be let in by: set all four KAFKA_SSL_*, or SSL_*")
		}
		return nil
	}
	return fmt.Errorf("KAFKA_SECURITY_PROTOCOL: %q is neither SSL nor PLAINTEXT, which are what the handler knows", protocol)
}

// kafkaTLS is how connections to the brokers are encrypted, in the client's terms, and in words for c.
func (v *values) kafkaTLS(c *config) (kafka handler.Kafka, faults []error) {
	c.encryption = "plaintext"
	files, faults := v.kafkaFiles()
	verify, err := environment.Switch(v.value["kafka-ssl-verify-hostname"])
	if err != nil {
		faults = append(faults, fmt.Errorf("%s: %w", named("kafka-ssl-verify-hostname"), err))
	}
	files.SkipHostname = !verify
	if files.CA == "" && files.TrustStore == "" || len(faults) > 0 {
		return kafka, faults
	}
	// librdkafka reads PEM files itself; reading them here first gives errors that name the setting.
	config, err := certs.ClientTLS(files)
	if err != nil {
		return kafka, []error{fmt.Errorf("KAFKA_SSL_*: %w", err)}
	}
	if kafka.Dial, err = certs.Dialer(files, 0); err != nil {
		return kafka, []error{fmt.Errorf("KAFKA_SSL_*: %w", err)}
	}
	own := config.Certificates[0].Leaf
	validity := "valid until " + own.NotAfter.Format(time.DateOnly)
	if c.expired = time.Now().After(own.NotAfter); c.expired { // no fault: there are brokers that do not look at it
		validity = "expired since " + own.NotAfter.Format(time.DateOnly)
	}
	c.encryption = fmt.Sprintf("TLS as %s (%s)", own.Subject, validity)
	kafka.Certificates = wasRead(files, own)
	if !verify {
		c.encryption += ", host names not checked"
	}
	if files.KeyStore == "" {
		kafka.TLS = handler.TLS{CA: files.CA, Cert: files.Cert, Key: files.Key, KeyPassword: files.Password, SkipHostnameCheck: !verify}
		return kafka, nil
	}
	text, err := files.Text()
	if err != nil {
		return kafka, []error{fmt.Errorf("SSL_*: %w", err)}
	}
	kafka.TLS = handler.TLS{CA: text.CA, Cert: text.Cert, Key: text.Key, Text: true, SkipHostnameCheck: !verify}
	return kafka, nil
}

// wasRead says what TLS with the brokers goes by, for when it fails.
func wasRead(files certs.Files, own *x509.Certificate) string {
	certificate, authority := "KAFKA_SSL_CERT_LOCATION, "+files.Cert, "KAFKA_SSL_CA_LOCATION, "+files.CA
	if files.KeyStore != "" {
		certificate, authority = "SSL_KEYSTORE_LOCATION, "+files.KeyStore, "SSL_TRUSTSTORE_LOCATION, "+files.TrustStore
	}
	return fmt.Sprintf("This handler has read %s, valid until %s, and %s: start it again when they are replaced", certificate, own.NotAfter.Format(time.RFC3339), authority)
}

// kafkaFiles takes all four KAFKA_SSL_*, or all three SSL_*, or none: some of them are a mistake, and plaintext would be a
// worse one.
func (v *values) kafkaFiles() (certs.Files, []error) {
	names := []string{"kafka-ssl-ca-location", "kafka-ssl-cert-location", "kafka-ssl-key-location", "kafka-ssl-key-password"}
	var missing []string
	for _, n := range names {
		if v.value[n] == "" {
			missing = append(missing, envOf(n))
		}
	}
	if len(missing) == len(names) {
		return environment.Stores{
			KeyStore: v.value["ssl-keystore-location"], TrustStore: v.value["ssl-truststore-location"],
			Password: v.value["ssl-password"], Directory: v.value["ssl-store-directory"],
		}.Files()
	}
	files := certs.Files{CA: v.value[names[0]], Cert: v.value[names[1]], Key: v.value[names[2]], Password: v.value[names[3]]}
	if len(missing) > 0 {
		return files, []error{fmt.Errorf("%s missing: set all four KAFKA_SSL_* for TLS, or none of them for plaintext", strings.Join(missing, " and "))}
	}
	faults := environment.CheckEnds(envOf(names[3]), files.Password)
	for _, n := range names[:3] {
		if err := certs.CheckFile(named(n), v.value[n]); err != nil {
			faults = append(faults, err)
		}
	}
	return files, faults
}

// named is how a setting is called in an error.
func named(name string) string { return envOf(name) + " (--" + name + ")" }

func envOf(name string) string {
	for _, s := range settings {
		if s.flag == name {
			return s.env
		}
	}
	return name
}
