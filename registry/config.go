package registry

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"openbank/health"
	"openbank/metric"
)

// Config says where the registry is and how to reach it.
type Config struct {
	// URLs are http or https, with a path if the registry has one (…/apis/ccompat/v7). One is asked until it fails, then
	// the next. A URL may carry user:password@, unless Username or BearerToken is set.
	URLs []string
	// TLS holds the CAs and the client certificate for https URLs. Default: the system's CAs.
	TLS *tls.Config
	// Username and Password are for basic authentication. Default: none.
	Username, Password string
	// BearerToken is for bearer authentication. Default: none.
	BearerToken string
	// Timeout bounds one request to one URL. Default: 5 s.
	Timeout time.Duration
	// UnknownAfter is for how long the registry must say to every try that it has no such schema until SchemaByID believes it:
	// a schema may reach one member of a registry after a record that was written with it. A try in which no URL answers begins
	// the time anew; of several, one that denies it is enough while the others are away. Default: it is believed at once.
	UnknownAfter time.Duration
	// Logger gets a line when the registry goes away and when it is back. Default: slog.Default.
	Logger *slog.Logger
	// Health is told when the registry goes away and when it is back, and Metrics how often it was asked again. Default: boards that
	// nobody sees.
	Health  *health.Board
	Metrics *metric.Set
}

// endpoint is one of the URLs, without the credentials that it may have carried.
type endpoint struct {
	url           string
	authorization string // the header's value, or ""
}

func (config Config) endpoints() ([]endpoint, error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(config.URLs) == 0 {
		fault("the schema registry has no URL")
	}
	if config.BearerToken != "" && (config.Username != "" || config.Password != "") {
		fault("the schema registry has a bearer token and a user name or password: one of them has to go")
	}
	if config.Username == "" && config.Password != "" {
		fault("the schema registry has a password without a user name")
	}
	if config.Timeout < 0 {
		fault("the schema registry's timeout is negative: %s", config.Timeout)
	}
	var endpoints []endpoint
	for i, raw := range config.URLs {
		parsed, err := parse(raw)
		if err != nil {
			fault("URL %d of the schema registry %w", i+1, err)
			continue
		}
		endpoints = append(endpoints, config.endpoint(parsed))
	}
	return endpoints, errors.Join(faults...)
}

// CheckURLs says of each URL what is wrong with it, without repeating it: it may carry a password.
func CheckURLs(urls []string) []error {
	var faults []error
	for i, raw := range urls {
		if _, err := parse(raw); err != nil {
			faults = append(faults, fmt.Errorf("URL %d %w", i+1, err))
		}
	}
	return faults
}

const escaped = "what is not a letter or digit in user and password has to be written as %23, %2F, %3F, %40 and so on"

// parse reads a URL. The parser's own error would show it, and a password with it.
func parse(raw string) (*url.URL, error) {
	raw = strings.TrimSpace(raw)
	parsed, err := url.Parse(raw)
	switch {
	case err != nil && strings.Contains(raw, "://"):
		return nil, errors.New("can't be parsed; " + escaped)
	case err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Host == "":
		return nil, errors.New("has to start with http:// or https:// and a host, such as http://localhost:8081")
	case !isPort(parsed.Port()):
		return nil, fmt.Errorf("has the port %s, and ports are 1 to 65535", parsed.Port())
	case parsed.RawQuery != "" || parsed.Fragment != "":
		return nil, errors.New("has a query or fragment, which no registry has; " + escaped)
	case strings.Contains(parsed.Path, "@"):
		return nil, errors.New("has an @ behind its host; " + escaped) // a password with a slash in it
	}
	return parsed, nil
}

// isPort says whether there is such a port; without one it is the scheme's.
func isPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return text == "" || err == nil && port > 0
}

func (config Config) endpoint(parsed *url.URL) endpoint {
	header := &http.Request{Header: http.Header{}}
	switch {
	case config.BearerToken != "":
		header.Header.Set("Authorization", "Bearer "+config.BearerToken)
	case config.Username != "":
		header.SetBasicAuth(config.Username, config.Password)
	case parsed.User != nil:
		password, _ := parsed.User.Password()
		header.SetBasicAuth(parsed.User.Username(), password)
	}
	parsed.User = nil
	return endpoint{url: strings.TrimRight(parsed.String(), "/"), authorization: header.Header.Get("Authorization")}
}
