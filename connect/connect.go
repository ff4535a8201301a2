// Package connect is how the Go-side tools (synchronizer, open-bank, benchmark) reach a bank: the flags and environment
// variables that say where Kafka, the Schema Registry and Postgres are, their check, and the clients that come of them. The
// command handler has settings of its own, under the same names.
//
// The settings are structs for kong with a tag of their own, `environment`, read by Environment, so that a command's
// environment is an argument and not the process's. Precedence is flag, then environment, then default; a flag overrules
// variables that say the same thing in the other handler's way. The tag `values` lists words for a shell to complete, where a flag
// is checked by its part's Check. No message of this package contains a password.
package connect

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/certs"
	"openbank/environment"
	"openbank/registry"
)

// Kafka says where the brokers are and how to be let in. TLS is on when the four KAFKA_SSL_* files and password are all set, or
// all three of the Clojure handler's SSL_*; off when none is. Anything between is a fault, because it is mostly a typing error
// and would silently be plaintext. With a SecurityProtocol nothing is guessed, and each of them may be left out.
type Kafka struct {
	Brokers           []string `name:"kafka-brokers" environment:"KAFKA_BROKERS" default:"localhost:9092" placeholder:"HOST:PORT" group:"Where the bank is:" help:"Brokers to start from, with commas between."`
	SSLCA             string   `name:"kafka-ssl-ca-location" environment:"KAFKA_SSL_CA_LOCATION" placeholder:"FILE" group:"Where the bank is:" help:"Certificates (PEM) that broker certificates are checked against."`
	SSLCert           string   `name:"kafka-ssl-cert-location" environment:"KAFKA_SSL_CERT_LOCATION" placeholder:"FILE" group:"Where the bank is:" help:"Own certificate (PEM)."`
	SSLKey            string   `name:"kafka-ssl-key-location" environment:"KAFKA_SSL_KEY_LOCATION" placeholder:"FILE" group:"Where the bank is:" help:"Own private key (PEM, encrypted or not)."`
	SSLKeyPassword    string   `name:"kafka-ssl-key-password" environment:"KAFKA_SSL_KEY_PASSWORD" placeholder:"PASSWORD" group:"Where the bank is:" help:"Password of the private key; better in the environment than here."`
	SSLVerifyHostname bool     `name:"kafka-ssl-verify-hostname" environment:"KAFKA_SSL_VERIFY_HOSTNAME" default:"true" negatable:"" group:"Where the bank is:" help:"Check that a broker's certificate is for the host that was dialled (its CN counts when it has no alternative names)."`
	KeyStore          string   `name:"ssl-keystore-location" environment:"SSL_KEYSTORE_LOCATION" placeholder:"FILE" group:"Where the bank is:" help:"Own certificate and key (PKCS#12), in place of the PEM files."`
	TrustStore        string   `name:"ssl-truststore-location" environment:"SSL_TRUSTSTORE_LOCATION" placeholder:"FILE" group:"Where the bank is:" help:"Certificates (PKCS#12) that broker certificates are checked against."`
	StorePassword     string   `name:"ssl-password" environment:"SSL_PASSWORD" placeholder:"PASSWORD" group:"Where the bank is:" help:"Password of both stores; better in the environment than here."`
	StoreDirectory    string   `name:"ssl-store-directory" environment:"SSL_STORE_DIRECTORY" default:"/etc/kafka/secrets" placeholder:"DIRECTORY" group:"Where the bank is:" help:"Where stores lie that are named without a directory."`
	SecurityProtocol  string   `name:"kafka-security-protocol" environment:"KAFKA_SECURITY_PROTOCOL" values:"PLAINTEXT,SSL,SASL_PLAINTEXT,SASL_SSL" placeholder:"PROTOCOL" group:"Where the bank is:" help:"PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL; with SSL each of the files may be left out. When not given: SSL if all four KAFKA_SSL_* (or all three SSL_*) are."`
	SASLMechanism     string   `name:"kafka-sasl-mechanism" environment:"KAFKA_SASL_MECHANISM" values:"PLAIN,SCRAM-SHA-256,SCRAM-SHA-512" placeholder:"MECHANISM" group:"Where the bank is:" help:"PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; PLAIN when not given."`
	SASLUsername      string   `name:"kafka-sasl-username" environment:"KAFKA_SASL_USERNAME" placeholder:"NAME" group:"Where the bank is:" help:"User for SASL."`
	SASLPassword      string   `name:"kafka-sasl-password" environment:"KAFKA_SASL_PASSWORD" placeholder:"PASSWORD" group:"Where the bank is:" help:"Password for SASL; better in the environment than here."`
}

// Registry says where the Schema Registry is. For https it is checked against the system's authorities unless it names its own.
type Registry struct {
	URLs        []string `name:"schema-registry-url" environment:"SCHEMA_REGISTRY_URL" default:"http://localhost:8081" placeholder:"URL" group:"Where the bank is:" help:"Schema Registry; several are tried in turn."`
	Username    string   `name:"schema-registry-username" environment:"SCHEMA_REGISTRY_USERNAME" placeholder:"NAME" group:"Where the bank is:" help:"User for basic authentication."`
	Password    string   `name:"schema-registry-password" environment:"SCHEMA_REGISTRY_PASSWORD" placeholder:"PASSWORD" group:"Where the bank is:" help:"Password for basic authentication; better in the environment than here."`
	BearerToken string   `name:"schema-registry-bearer-token" environment:"SCHEMA_REGISTRY_BEARER_TOKEN" placeholder:"TOKEN" group:"Where the bank is:" help:"Token for bearer authentication, in place of user and password; better in the environment than here."`
	CA          string   `name:"schema-registry-ca-location" environment:"SCHEMA_REGISTRY_CA_LOCATION" placeholder:"FILE" group:"Where the bank is:" help:"Certificates (PEM) that the registry's is checked against."`
	Cert        string   `name:"schema-registry-cert-location" environment:"SCHEMA_REGISTRY_CERT_LOCATION" placeholder:"FILE" group:"Where the bank is:" help:"Own certificate (PEM) for the registry."`
	Key         string   `name:"schema-registry-key-location" environment:"SCHEMA_REGISTRY_KEY_LOCATION" placeholder:"FILE" group:"Where the bank is:" help:"Private key (PEM) of that certificate."`
	KeyPassword string   `name:"schema-registry-key-password" environment:"SCHEMA_REGISTRY_KEY_PASSWORD" placeholder:"PASSWORD" group:"Where the bank is:" help:"Password of that key; better in the environment than here."`
}

// Database says where the handler's Postgres is: by a URL, or by the Clojure handler's three variables.
type Database struct {
	Location string `name:"database-url" environment:"DATABASE_URL" placeholder:"URL" group:"Where the bank is:" help:"The handler's database, postgres://USER:PASSWORD@HOST:PORT/balancedb."`
	Hostname string `name:"db-hostname" environment:"DB_HOSTNAME" placeholder:"HOST" group:"Where the bank is:" help:"Its host, in place of the URL, for clojure_ch's balancedb; localhost when only another of the three is given."`
	Port     string `name:"db-port" environment:"DB_PORT" placeholder:"PORT" group:"Where the bank is:" help:"Its port; 5432 when not given."`
	Password string `name:"db-password" environment:"DB_PASSWORD" placeholder:"PASSWORD" group:"Where the bank is:" help:"Password of clojure_ch; open-bank when not given. Better in the environment than here."`
	Layout   string `name:"database-layout" environment:"DATABASE_LAYOUT" placeholder:"NAME" group:"Where the bank is:" help:"Names of its tables, clojure (balance, cac, cmt) or rust (balancer, cacr, cmtr); those that are there when not given."`
}

// Part is one part of the settings. The method is not called Validate because kong would call that one itself, part by part.
type Part interface{ Check() error }

// Check reports the faults of all parts together, a sentence a line.
func Check(parts ...Part) error {
	faults := make([]error, 0, len(parts))
	for _, part := range parts {
		faults = append(faults, part.Check())
	}
	return errors.Join(faults...)
}

// Check reports every fault that shows without a connection; each message names the setting and its mend.
func (k Kafka) Check() error {
	var faults []error
	if len(k.Brokers) == 0 {
		faults = append(faults, errors.New("KAFKA_BROKERS (--kafka-brokers) names no broker: set it to HOST:PORT, several with commas"))
	}
	faults = append(faults, environment.CheckBrokers(trimmed(k.Brokers)))
	_, faulty := k.security()
	return errors.Join(append(faults, faulty...)...)
}

// files are the TLS identity, the zero value for plaintext, and what is wrong with the settings.
func (k Kafka) files() (certs.Files, []error) {
	settings := []struct{ name, flag, value string }{
		{"KAFKA_SSL_CA_LOCATION", "--kafka-ssl-ca-location", k.SSLCA},
		{"KAFKA_SSL_CERT_LOCATION", "--kafka-ssl-cert-location", k.SSLCert},
		{"KAFKA_SSL_KEY_LOCATION", "--kafka-ssl-key-location", k.SSLKey},
		{"KAFKA_SSL_KEY_PASSWORD", "--kafka-ssl-key-password", k.SSLKeyPassword},
	}
	values := map[string]string{"SSL_KEYSTORE_LOCATION": k.KeyStore, "SSL_TRUSTSTORE_LOCATION": k.TrustStore, "SSL_PASSWORD": k.StorePassword}
	var missing []string
	for _, s := range settings {
		values[s.name] = s.value
		if s.value == "" {
			missing = append(missing, s.name)
		}
	}
	if faults := environment.Contradictions(func(variable string) string { return values[variable] }); len(faults) > 0 {
		return certs.Files{}, faults
	}
	switch len(missing) {
	case 0:
	case len(settings):
		files, faults := environment.Stores{KeyStore: k.KeyStore, TrustStore: k.TrustStore, Password: k.StorePassword, Directory: k.StoreDirectory}.Files()
		files.SkipHostname = !k.SSLVerifyHostname
		return files, faults
	default: // before the files: they may not be the ones that are meant
		return certs.Files{}, []error{fmt.Errorf("%s missing: set all four KAFKA_SSL_* for TLS, or none of them for plaintext", strings.Join(missing, " and "))}
	}
	faults := environment.CheckEnds("KAFKA_SSL_KEY_PASSWORD", k.SSLKeyPassword)
	for _, s := range settings[:3] {
		if err := certs.CheckFile(s.name+" ("+s.flag+")", s.value); err != nil {
			faults = append(faults, err)
		}
	}
	return certs.Files{CA: k.SSLCA, Cert: k.SSLCert, Key: k.SSLKey, Password: k.SSLKeyPassword, SkipHostname: !k.SSLVerifyHostname}, faults
}

// Files are the TLS identity, the zero value for plaintext. Error: what is wrong with the settings.
func (k Kafka) Files() (certs.Files, error) {
	files, faults := k.files()
	return files, errors.Join(faults...)
}

// Options are what every Kafka client of a tool is made with: where to dial and how. They fail when a certificate or key can't
// be read.
func (k Kafka) Options(clientID string) ([]kgo.Opt, error) {
	options := []kgo.Opt{
		kgo.SeedBrokers(trimmed(k.Brokers)...),
		kgo.ClientID(clientID),
		kgo.DialTimeout(5 * time.Second),
	}
	secured, faults := k.security()
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return append(options, secured...), nil
}

// Client makes a Kafka client. It doesn't connect yet.
func (k Kafka) Client(clientID string, more ...kgo.Opt) (*kgo.Client, error) {
	options, err := k.Options(clientID)
	if err != nil {
		return nil, err
	}
	// What a handler has not committed is nothing that happened.
	options = append(options, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	client, err := kgo.NewClient(append(options, more...)...)
	if err != nil {
		return nil, fmt.Errorf("making a Kafka client: %w", err)
	}
	return client, nil
}

// trimmed is a list without the spaces that may stand around its commas.
func trimmed(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return environment.List(strings.Join(list, ","))
}

// Check reports every fault that shows without a connection.
func (r Registry) Check() error {
	var faults []error
	if len(r.URLs) == 0 {
		faults = append(faults, errors.New("SCHEMA_REGISTRY_URL (--schema-registry-url) names no registry: set it to http://HOST:PORT, several with commas"))
	}
	for _, err := range registry.CheckURLs(trimmed(r.URLs)) {
		faults = append(faults, fmt.Errorf("SCHEMA_REGISTRY_URL (--schema-registry-url): %w", err))
	}
	if (r.Username == "") != (r.Password == "") {
		faults = append(faults, errors.New("SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD belong together: set both or none"))
	}
	if r.BearerToken != "" && r.Username+r.Password != "" {
		faults = append(faults, errors.New("SCHEMA_REGISTRY_BEARER_TOKEN and SCHEMA_REGISTRY_USERNAME both say who asks: set one of them"))
	}
	faults = append(faults, environment.CheckToken(r.BearerToken))
	if (r.Cert == "") != (r.Key == "") {
		faults = append(faults, errors.New("SCHEMA_REGISTRY_CERT_LOCATION and SCHEMA_REGISTRY_KEY_LOCATION belong together: set both or none"))
	}
	for _, s := range []struct{ setting, value string }{
		{"SCHEMA_REGISTRY_CA_LOCATION (--schema-registry-ca-location)", r.CA},
		{"SCHEMA_REGISTRY_CERT_LOCATION (--schema-registry-cert-location)", r.Cert},
		{"SCHEMA_REGISTRY_KEY_LOCATION (--schema-registry-key-location)", r.Key},
	} {
		faults = append(faults, certs.CheckPath(s.setting, s.value))
	}
	faults = append(faults, environment.CheckEnds("SCHEMA_REGISTRY_USERNAME", r.Username, "SCHEMA_REGISTRY_PASSWORD", r.Password, "SCHEMA_REGISTRY_KEY_PASSWORD", r.KeyPassword)...)
	return errors.Join(faults...)
}

// Client makes a registry client. It doesn't connect yet, but fails when a certificate or key can't be read.
func (r Registry) Client(logger *slog.Logger) (*registry.Client, error) {
	config := registry.Config{URLs: trimmed(r.URLs), Username: r.Username, Password: r.Password, BearerToken: r.BearerToken, Logger: logger}
	if r.CA != "" || r.Cert != "" {
		var err error
		config.TLS, err = certs.ClientTLS(certs.Files{CA: r.CA, Cert: r.Cert, Key: r.Key, Password: r.KeyPassword})
		if err != nil {
			return nil, fmt.Errorf("reading the SCHEMA_REGISTRY_*_LOCATION files: %w", err)
		}
	}
	client, err := registry.New(config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the schema registry: %w", err)
	}
	return client, nil
}

// Check reports a missing or malformed URL, without repeating it: it mostly holds a password.
func (d Database) Check() error {
	values := map[string]string{"DATABASE_URL": d.Location, "DB_HOSTNAME": d.Hostname, "DB_PORT": d.Port, "DB_PASSWORD": d.Password}
	if faults := environment.Contradictions(func(variable string) string { return values[variable] }); len(faults) > 0 {
		return errors.Join(faults...)
	}
	if d.Hostname+d.Port+d.Password != "" {
		_, faults := d.parts().URL()
		return errors.Join(append(faults, environment.CheckEnds("DB_PASSWORD", d.Password)...)...)
	}
	if d.Location == "" {
		return errors.New("DATABASE_URL (--database-url) is not set: set it to postgres://USER:PASSWORD@HOST:PORT/balancedb")
	}
	_, err := environment.DatabaseConfig(d.Location, "DATABASE_URL (--database-url)")
	return err
}

func (d Database) parts() environment.Database {
	return environment.Database{Hostname: d.Hostname, Port: d.Port, Password: d.Password}
}

// Setting names what URL comes of, for sentences.
func (d Database) Setting() string {
	if d.Location != "" {
		return "DATABASE_URL"
	}
	return environment.DatabaseSetting
}

// URL is where the database is, once Check has found no fault. It has a password in it. Where nothing is said about TLS, it is used when the
// server has it, as the handler does.
func (d Database) URL() string {
	text := d.Location
	if text == "" {
		text, _ = d.parts().URL() // Check tells of its faults
	}
	return environment.DatabaseURL(text)
}
