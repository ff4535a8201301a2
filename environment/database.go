package environment

import (
	"errors"
	"net/url"
	"os"
	"strings"

	"github.com/lib/pq"

	"openbank/certs"
)

// DatabaseConfig reads a setting's URL (or key=value pairs) as lib/pq does, with one difference: TLS is used when the server offers it and
// nothing is said about it, as the reference's URL says nothing and its server has none. What a password with unescaped characters turns a URL
// into is refused, where lib/pq would look for another host. The error names the setting and holds no password.
func DatabaseConfig(text, setting string) (pq.Config, error) {
	if strings.Contains(text, "://") { // around key=value pairs it is read over
		if err := checkEnds(setting, text); err != nil {
			return pq.Config{}, err
		}
	}
	config, err := pq.NewConfig(text)
	if err != nil && strings.HasPrefix(err.Error(), `pq: wrong value for "sslmode"`) {
		return pq.Config{}, errors.New(setting + " has an sslmode that there is not; it can be disable, allow, prefer, require, verify-ca or verify-full")
	}
	// An @ behind the host is the end of a password with a slash in it.
	if err != nil || !strings.Contains(text, "=") && !strings.Contains(text, "://") || strings.Contains(config.Database, "@") || misread(text) {
		// A URL that cannot be parsed is quoted in the error, password and all.
		return pq.Config{}, errors.New(setting + " is not a Postgres URL; it should look like postgres://user:password@host:5432/database, with %2F, %40 and so on for what is not a letter or digit in user and password")
	}
	if !config.SSLInline {
		for _, file := range []struct{ name, path string }{{"sslrootcert", config.SSLRootCert}, {"sslcert", config.SSLCert}, {"sslkey", config.SSLKey}} {
			if err := certs.CheckPath("the "+file.name+" of "+setting, file.path); err != nil {
				return pq.Config{}, err
			}
		}
	}
	if config.SSLMode == "" || !namesTLS(text) {
		config.SSLMode = defaultTLS
	}
	return config, nil
}

// defaultTLS is how far TLS is wanted where nothing is said about it.
const defaultTLS = pq.SSLModePrefer

// DatabaseURL is a URL (or key=value pairs) that DatabaseConfig takes, with what it makes of nothing said about TLS, for those who read it
// without DatabaseConfig.
func DatabaseURL(text string) string {
	if namesTLS(text) {
		return text
	}
	mode := "sslmode=" + string(defaultTLS)
	if !strings.HasPrefix(text, "postgres") { // key=value pairs
		return text + " " + mode
	}
	parsed, err := url.Parse(text)
	if err != nil {
		return text
	}
	if parsed.RawQuery != "" {
		parsed.RawQuery += "&"
	}
	parsed.RawQuery += mode
	return parsed.String()
}

// namesTLS tells whether a database's URL, or the environment, says how far TLS is wanted. Whoever names the system's authorities wants the
// server checked by them, as libpq takes it.
func namesTLS(text string) bool {
	return strings.Contains(text, "sslmode") || os.Getenv("PGSSLMODE") != "" || strings.Contains(text, "sslrootcert=system") || os.Getenv("PGSSLROOTCERT") == "system"
}

// misread says whether lib/pq takes a URL for something else: one of another scheme for key=value pairs, and what follows a # or ? in a password
// for a fragment or query, with the digits before it for a port and the user for the host.
func misread(text string) bool {
	if !strings.HasPrefix(text, "postgres://") && !strings.HasPrefix(text, "postgresql://") {
		name, _, _ := strings.Cut(text, "=")
		return strings.Contains(name, "://")
	}
	parsed, err := url.Parse(text)
	return err != nil || parsed.Fragment != "" || strings.Contains(parsed.RawQuery, "@")
}
