package registry_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	stdlog "log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr/srfake"

	"openbank/health"
	"openbank/registry"
)

func TestARegistryOverMutualTLS(t *testing.T) { //nolint:tparallel // the subtests change one registry, in order
	t.Parallel()
	ca := newAuthority(t)
	server := httptest.NewUnstartedServer(fake().Handler())
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{ca.issue(t, "schema-registry")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool(),
	}
	server.Config.ErrorLog = stdlog.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	client := open(t, registry.Config{
		URLs: []string{server.URL + "/"},
		TLS:  &tls.Config{RootCAs: ca.pool(), Certificates: []tls.Certificate{ca.issue(t, "command-handler")}},
	})
	ctx := soon(t)

	t.Run("answers for ids, subjects and texts", func(t *testing.T) {
		if got, err := client.SchemaByID(ctx, 7); err != nil || got != text {
			t.Errorf("by id: %s, %v", got, err)
		}
		want := registry.Schema{ID: 7, Version: 1, Text: text}
		if got, err := client.Latest(ctx, subject); err != nil || got != want {
			t.Errorf("latest: %+v, %v", got, err)
		}
		if got, err := client.Lookup(ctx, subject, text); err != nil || got != want {
			t.Errorf("lookup: %+v, %v", got, err)
		}
		if got, err := client.Subjects(ctx); err != nil || !slices.Equal(got, []string{subject}) {
			t.Errorf("subjects: %v, %v", got, err)
		}
	})
	t.Run("registers, once", func(t *testing.T) {
		const newer = "{\"type\":\"record\",\"name\":\"R\",\n\"fields\":[]}"
		first, err := client.Register(ctx, "new/subject", newer)
		if err != nil || first == 7 {
			t.Fatalf("got %d, %v", first, err)
		}
		if again, err := client.Register(ctx, "new/subject", newer); err != nil || again != first {
			t.Errorf("again: %d, %v, want %d", again, err, first)
		}
		if same, err := client.Register(ctx, subject, text); err != nil || same != 7 {
			t.Errorf("what was there: %d, %v", same, err)
		}
		if got, err := client.Latest(ctx, "new/subject"); err != nil || got.ID != first || got.Version != 1 {
			t.Errorf("latest: %+v, %v", got, err)
		}
	})
	t.Run("says at once what it does not know", func(t *testing.T) {
		if _, err := client.SchemaByID(ctx, 4711); !errors.Is(err, registry.ErrUnknownSchema) {
			t.Errorf("by id: %v", err)
		}
		if _, err := client.Latest(ctx, "nothing"); !errors.Is(err, registry.ErrUnknownSubject) {
			t.Errorf("latest: %v", err)
		}
		if _, err := client.Lookup(ctx, "nothing", text); !errors.Is(err, registry.ErrUnknownSubject) {
			t.Errorf("lookup of a subject: %v", err)
		}
		if _, err := client.Lookup(ctx, subject, `"string"`); !errors.Is(err, registry.ErrUnknownSchema) {
			t.Errorf("lookup of a schema: %v", err)
		}
	})
	t.Run("lets nobody in without a certificate, or with a server of another CA", func(t *testing.T) {
		for says, config := range map[string]*tls.Config{
			"set SCHEMA_REGISTRY_CERT_LOCATION and SCHEMA_REGISTRY_KEY_LOCATION": {RootCAs: ca.pool()},
			"SCHEMA_REGISTRY_CA_LOCATION":                                        {RootCAs: newAuthority(t).pool(), Certificates: []tls.Certificate{ca.issue(t, "command-handler")}},
		} {
			ctx, lines := untilAway(t)
			_, err := open(t, registry.Config{URLs: []string{server.URL}, TLS: config, Logger: lines.logger()}).SchemaByID(ctx, 7)
			if !errors.Is(err, context.Canceled) || !strings.Contains(strings.Join(lines.lines(), ""), says) {
				t.Errorf("got %v, the log: %q", err, lines.lines())
			}
		}
	})
}

// A registry that can't be trusted is not asked; the log and the condition say why, and which setting it is about.
func TestARegistryWhoseCertificateDoesNotFit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		certificate func(*x509.Certificate)
		says        string
	}{
		"for another host": {func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"registry.example"} }, "127.0.0.1"},
		"expired":          {func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := newAuthority(t)
			server := httptest.NewUnstartedServer(fake().Handler())
			server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issueAs(t, "schema-registry", c.certificate)}}
			server.Config.ErrorLog = stdlog.New(io.Discard, "", 0)
			server.StartTLS()
			t.Cleanup(server.Close)
			ctx, lines := untilAway(t)
			board := health.New()
			_, err := open(t, registry.Config{URLs: []string{server.URL}, TLS: &tls.Config{RootCAs: ca.pool()}, Logger: lines.logger(), Health: board}).SchemaByID(ctx, 7)
			for where, text := range map[string]string{"the log": strings.Join(lines.lines(), ""), "the conditions": strings.Join(board.Missing(), "")} {
				if !errors.Is(err, context.Canceled) || !strings.Contains(text, c.says) || !strings.Contains(text, "set that to the PEM file of its authority") || !strings.Contains(text, "SCHEMA_REGISTRY_CA_LOCATION") {
					t.Errorf("got %v, %s: %q", err, where, text)
				}
			}
		})
	}
}

// A registry that comes back with a certificate that is not trusted was away before: the log says that too.
func TestARegistryThatComesBackUntrustedIsSaid(t *testing.T) {
	t.Parallel()
	var up atomic.Bool
	server := httptest.NewUnstartedServer(fake().Handler())
	server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if !up.Load() {
			return nil, errors.New("starting")
		}
		return nil, nil
	}}
	server.Config.ErrorLog = stdlog.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	lines := &log{}
	client := open(t, registry.Config{URLs: []string{server.URL}, Logger: lines.logger()})
	asked := make(chan error, 1)
	go func() { _, err := client.SchemaByID(ctx, 7); asked <- err }()
	says := func(what string) {
		for !strings.Contains(strings.Join(lines.lines(), ""), what) {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				t.Fatalf("%q is not in the log: %q", what, lines.lines())
			}
		}
	}
	says("internal error")
	up.Store(true)
	says("SCHEMA_REGISTRY_CA_LOCATION")
	cancel()
	if err := <-asked; !errors.Is(err, context.Canceled) || len(lines.lines()) != 2 {
		t.Errorf("error %v, the log: %q", err, lines.lines())
	}
}

func TestABaseURLWithAPath(t *testing.T) {
	t.Parallel()
	const path = "/apis/ccompat/v7"
	url := serve(t, http.StripPrefix(path, fake().Handler()))
	for _, base := range []string{url + path, url + path + "/"} {
		if got, err := open(t, registry.Config{URLs: []string{base}}).Latest(soon(t), subject); err != nil || got.ID != 7 {
			t.Errorf("%s: got %+v, %v", base, got, err)
		}
	}
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:pa:ss"))
	for _, test := range []struct {
		name, header string
		config       registry.Config
		user         string
	}{
		{"basic", basic, registry.Config{Username: "user", Password: "pa:ss"}, ""},
		{"basic with an empty password", "Basic " + base64.StdEncoding.EncodeToString([]byte("user:")), registry.Config{Username: "user"}, ""},
		{"basic from the URL", basic, registry.Config{}, "user:pa%3Ass@"},
		{"basic from the config although the URL has some", basic, registry.Config{Username: "user", Password: "pa:ss"}, "other:one@"},
		{"bearer", "Bearer tok.en", registry.Config{BearerToken: "tok.en"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			config := test.config
			config.URLs = []string{strings.Replace(serve(t, fake(srfake.WithAuth(test.header)).Handler()), "://", "://"+test.user, 1)}
			if got, err := open(t, config).SchemaByID(soon(t), 7); err != nil || got != text {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}

func TestCredentialsStayWithTheRegistry(t *testing.T) {
	t.Parallel()
	secrets := []string{"hunter2", base64.StdEncoding.EncodeToString([]byte("user:hunter2"))}
	check := func(t *testing.T, err error, lines []string) {
		t.Helper()
		for _, secret := range secrets {
			if shown := err.Error() + strings.Join(lines, "\n"); strings.Contains(shown, secret) {
				t.Errorf("shown: %s", shown)
			}
		}
	}
	for name, handler := range map[string]http.HandlerFunc{
		"a refusal": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusUnauthorized) },
		"a failure": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) },
		"a lost connection": func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run("errors and logs don't show them after "+name, func(t *testing.T) {
			t.Parallel()
			lines := &log{}
			url := strings.Replace(serve(t, handler), "://", "://user:hunter2@", 1)
			_, err := open(t, registry.Config{URLs: []string{url}, Logger: lines.logger()}).Latest(brief(t), subject)
			check(t, err, lines.lines())
		})
	}
	t.Run("an address that can't be parsed does not show them", func(t *testing.T) {
		t.Parallel()
		for _, url := range []string{"http://user:hunter2@host:port", "http://user:hunter2%zz@host", "ftp://user:hunter2@host", "http://user:hunter2@host?q=1"} {
			_, err := registry.New(registry.Config{URLs: []string{url}})
			if err == nil {
				t.Errorf("%s is accepted", url)
				continue
			}
			check(t, err, nil)
		}
	})
	t.Run("another host that the registry redirects to does not get them", func(t *testing.T) {
		t.Parallel()
		got := make(chan string, 1)
		other := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got <- r.Header.Get("Authorization")
			fake().Handler().ServeHTTP(w, r)
		}))
		other = strings.Replace(other, "127.0.0.1", "localhost", 1)
		url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other+r.URL.Path, http.StatusFound)
		}))
		client := open(t, registry.Config{URLs: []string{url}, Username: "user", Password: "hunter2"})
		if schema, err := client.SchemaByID(soon(t), 7); err != nil || schema != text {
			t.Errorf("got %s, %v", schema, err)
		}
		if header := <-got; header != "" {
			t.Errorf("it got %s", header)
		}
		var refused *registry.Error
		if _, err := client.Register(soon(t), subject, text); !errors.As(err, &refused) || refused.Status != http.StatusFound {
			t.Errorf("a redirected POST: %v", err)
		}
	})
}

func TestFaultyConfigs(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config registry.Config
		want   []string
	}{
		"nothing":          {registry.Config{}, []string{"has no URL"}},
		"no scheme":        {registry.Config{URLs: []string{"http://a", "localhost:8081"}}, []string{"URL 2 of the schema registry"}},
		"a query":          {registry.Config{URLs: []string{"http://h/?api_key=hush"}}, []string{"URL 1 of the schema registry has a query or fragment"}},
		"no such port":     {registry.Config{URLs: []string{"http://a", "http://127.0.0.1:99999"}}, []string{"URL 2 of the schema registry has the port 99999, and ports are 1 to 65535"}},
		"a slash":          {registry.Config{URLs: []string{"http://u:4711/hush@h"}}, []string{"URL 1 of the schema registry has an @ behind its host", "%2F"}},
		"everything wrong": {registry.Config{URLs: []string{"://", "http://a#b"}, BearerToken: "x", Password: "y", Timeout: -time.Second}, []string{"URL 1", "URL 2", "bearer", "negative", "without a user name"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := registry.New(test.config)
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %s", err, want)
				}
			}
			if err != nil && strings.Contains(err.Error(), "hush") {
				t.Errorf("a secret is in %v", err)
			}
		})
	}
}
