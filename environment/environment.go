// Package environment says what the environment variables of the two handlers before ours mean, so that a container of
// either can be started with another image and nothing else changed: the Clojure handler's (DB_HOSTNAME and its like, Java's
// key stores) and the Rust handler's (DATABASE_URL, PEM files). It answers for telling them apart, for the consumer group
// that follows, and for turning the Clojure handler's settings into a database's URL and TLS files.
//
// The two name the same things differently. A mixture is an error and no guess: the database of one bank with the
// consumer group of another would answer its whole history again. Between flags and variables there is no such doubt, a
// flag that says the same thing in the other handler's way overrules them.
package environment

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"openbank/certs"
)

// Handler is one of the two handlers before ours.
type Handler string

// Neither is an environment in which nothing is one handler's alone.
const (
	Neither Handler = ""
	Clojure Handler = "clojure"
	Rust    Handler = "rust"
)

// What the Clojure handler falls back to, and what is fixed in it.
const (
	DefaultHostname = "localhost"
	DefaultPort     = "5432"
	DefaultPassword = "open-bank" // public, as the whole demonstration is
	user            = "clojure_ch"
	database        = "balancedb"

	// DefaultDirectory is where the Clojure handler looks for its stores.
	DefaultDirectory = "/etc/kafka/secrets"
)

// The consumer groups of the two.
const (
	clojureGroup = "command-handler"
	rustGroup    = "rust-command-handler"
)

// things are what both handlers must be told, each in its own variables.
var things = []struct {
	what          string
	clojure, rust []string
}{
	{"where the database is", []string{"DB_HOSTNAME", "DB_PORT", "DB_PASSWORD"}, []string{"DATABASE_URL"}},
	{
		"how to be let in by the brokers",
		[]string{"SSL_KEYSTORE_LOCATION", "SSL_TRUSTSTORE_LOCATION", "SSL_PASSWORD"},
		[]string{"KAFKA_SSL_CA_LOCATION", "KAFKA_SSL_CERT_LOCATION", "KAFKA_SSL_KEY_LOCATION", "KAFKA_SSL_KEY_PASSWORD"},
	},
}

// first is the first of the variables that is set.
func first(variables []string, value func(variable string) string) string {
	if i := slices.IndexFunc(variables, func(v string) bool { return value(v) != "" }); i >= 0 {
		return variables[i]
	}
	return ""
}

// Of says whose environment it is, by the variables that one handler alone knows; an empty one counts as none. Variables
// of both are an error that names one of each. KAFKA_CLIENT_ID is the Clojure handler's as well, but names a consumer
// group: beside the Rust handler's variables it is an error only as long as no group is chosen.
func Of(getenv func(variable string) string, groupChosen bool) (Handler, error) {
	var clojure, rust string
	for _, thing := range things {
		if clojure == "" {
			clojure = first(thing.clojure, getenv)
		}
		if rust == "" {
			rust = first(thing.rust, getenv)
		}
	}
	clientID := getenv("KAFKA_CLIENT_ID") != ""
	switch {
	case clojure != "" && rust != "":
		return Neither, fmt.Errorf("%s is the Clojure handler's variable and %s the Rust handler's: set those of one of them, and none of the other's", clojure, rust)
	case rust != "" && clientID && !groupChosen:
		return Neither, fmt.Errorf("KAFKA_CLIENT_ID is the Clojure handler's variable and means its consumer group, %s is the Rust handler's, whose group is %s: set KAFKA_GROUP to the one that is meant", rust, rustGroup)
	case rust != "":
		return Rust, nil
	case clojure != "" || clientID:
		return Clojure, nil
	}
	return Neither, nil
}

// Whose is a word for it in a list.
func (h Handler) Whose() string {
	switch h {
	case Clojure:
		return "the Clojure handler's"
	case Rust:
		return "the Rust handler's"
	default:
		return "neither of the earlier handlers'"
	}
}

// Group is the consumer group that carries on where the handler before left off: the one that was chosen, else the client
// id, else the group of the handler whose environment it is.
func (h Handler) Group(chosen, clientID string) string {
	switch {
	case chosen != "":
		return chosen
	case clientID != "":
		return clientID
	case h == Rust:
		return rustGroup
	}
	return clojureGroup
}

// Overruled says whether a variable doesn't count because of a flag that says the same thing in the other handler's way.
// Flags are named by their variables.
func Overruled(variable string, byFlag func(variable string) bool) bool {
	for _, thing := range things {
		switch {
		case slices.Contains(thing.clojure, variable):
			return slices.ContainsFunc(thing.rust, byFlag)
		case slices.Contains(thing.rust, variable):
			return slices.ContainsFunc(thing.clojure, byFlag)
		}
	}
	return false
}

// Contradictions are the things that were said in both ways, an error each.
func Contradictions(value func(variable string) string) []error {
	var faults []error
	for _, thing := range things {
		clojure, rust := first(thing.clojure, value), first(thing.rust, value)
		if clojure != "" && rust != "" {
			faults = append(faults, fmt.Errorf("%s and %s both say %s: set one of them", clojure, rust, thing.what))
		}
	}
	return faults
}

// ClojureVariables are those by which the Clojure handler alone reaches its database and the brokers.
func ClojureVariables() []string { return slices.Concat(things[0].clojure, things[1].clojure) }

// DatabaseSetting names the settings that a Database comes from, for sentences.
const DatabaseSetting = "DB_HOSTNAME, DB_PORT and DB_PASSWORD"

// Database is where the Clojure handler's database is. What is empty stands for its default.
type Database struct{ Hostname, Port, Password string }

// URL is the database's, or all that is wrong with the parts.
func (d Database) URL() (string, []error) {
	if d.Hostname == "" {
		d.Hostname = DefaultHostname
	}
	if d.Port == "" {
		d.Port = DefaultPort
	}
	if d.Password == "" {
		d.Password = DefaultPassword
	}
	var faults []error
	if looks := misplaced(d.Hostname); looks != "" {
		faults = append(faults, fmt.Errorf("DB_HOSTNAME (--db-hostname) %s; that belongs in DATABASE_URL, and a host name here", looks))
	} else if strings.ContainsAny(d.Hostname, "/?#, ") || strings.Contains(d.Hostname, ":") && net.ParseIP(d.Hostname) == nil {
		faults = append(faults, fmt.Errorf("DB_HOSTNAME (--db-hostname): %q is not a host name; a port goes into DB_PORT", d.Hostname))
	}
	if looks := misplaced(d.Port); looks != "" {
		faults = append(faults, fmt.Errorf("DB_PORT (--db-port) %s; that belongs in DATABASE_URL, and a number from 1 to 65535 here", looks))
	} else if port, err := strconv.ParseUint(d.Port, 10, 16); err != nil || port == 0 {
		faults = append(faults, fmt.Errorf("DB_PORT (--db-port): %q is not a number from 1 to 65535", d.Port))
	}
	address := url.URL{Scheme: "postgres", User: url.UserPassword(user, d.Password), Host: net.JoinHostPort(d.Hostname, d.Port), Path: "/" + database}
	return address.String(), faults
}

// misplaced says what a host or port looks like that was meant for another setting and may hold a password, so that no error may repeat it; ""
// of any other.
func misplaced(value string) string {
	switch {
	case strings.Contains(value, "://"):
		return "is a URL"
	case strings.Contains(value, "@"):
		return "has an @ in it, as a URL with a password has"
	case strings.Contains(value, "="), strings.Contains(strings.ToLower(value), "password"):
		return "looks like name=value pairs"
	}
	return ""
}

// Stores are the Clojure handler's TLS settings.
type Stores struct {
	// KeyStore and TrustStore are PKCS#12 files: names in Directory, or absolute paths.
	KeyStore, TrustStore string
	// Password opens both.
	Password string
	// Directory is DefaultDirectory when it is empty.
	Directory string
}

// Files are where the stores lie, and all that is wrong with them: a file that is not there, a password that does not open
// it, a store without what it is for. Without any setting they are the zero value, and there is no TLS.
func (s Stores) Files() (certs.Files, []error) {
	var missing []string
	for _, setting := range []struct{ name, value string }{
		{"SSL_KEYSTORE_LOCATION", s.KeyStore}, {"SSL_TRUSTSTORE_LOCATION", s.TrustStore}, {"SSL_PASSWORD", s.Password},
	} {
		if setting.value == "" {
			missing = append(missing, setting.name)
		}
	}
	switch len(missing) {
	case 0:
	case 3:
		return certs.Files{}, nil
	default:
		return certs.Files{}, []error{fmt.Errorf("%s missing: set SSL_KEYSTORE_LOCATION, SSL_TRUSTSTORE_LOCATION and SSL_PASSWORD for TLS, or none of them for plaintext", strings.Join(missing, " and "))}
	}
	var faults []error
	for _, setting := range []struct{ name, value string }{
		{"SSL_KEYSTORE_LOCATION (--ssl-keystore-location)", s.KeyStore}, {"SSL_TRUSTSTORE_LOCATION (--ssl-truststore-location)", s.TrustStore},
		{"SSL_STORE_DIRECTORY (--ssl-store-directory)", s.Directory},
	} {
		if err := certs.CheckPath(setting.name, setting.value); err != nil {
			faults = append(faults, err)
		}
	}
	faults = append(faults, CheckEnds("SSL_PASSWORD", s.Password)...)
	if len(faults) > 0 {
		return certs.Files{}, faults
	}
	files := certs.Files{KeyStore: s.path(s.KeyStore), TrustStore: s.path(s.TrustStore), Password: s.Password}
	for _, store := range []struct {
		setting, name string
		files         certs.Files
	}{
		{"SSL_KEYSTORE_LOCATION (--ssl-keystore-location)", s.KeyStore, certs.Files{KeyStore: files.KeyStore, Password: s.Password}},
		{"SSL_TRUSTSTORE_LOCATION (--ssl-truststore-location)", s.TrustStore, certs.Files{TrustStore: files.TrustStore, Password: s.Password}},
	} {
		_, err := certs.ClientTLS(store.files)
		switch {
		case errors.Is(err, certs.ErrPassword):
			faults = append(faults, fmt.Errorf("SSL_PASSWORD (--ssl-password) does not open %s: %w", store.setting, err))
		case errors.Is(err, os.ErrNotExist) && !filepath.IsAbs(store.name):
			faults = append(faults, fmt.Errorf("%s: %w; names without a directory are looked for in SSL_STORE_DIRECTORY (--ssl-store-directory), %s", store.setting, err, s.directory()))
		case err != nil:
			faults = append(faults, fmt.Errorf("%s: %w", store.setting, err))
		}
	}
	return files, faults
}

func (s Stores) directory() string {
	if s.Directory == "" {
		return DefaultDirectory
	}
	return s.Directory
}

func (s Stores) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.directory(), name)
}
