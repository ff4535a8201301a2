//go:build !realkafka

package main

import (
	"crypto/tls"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"openbank/certs"
)

// encrypted are the options of brokers that show a certificate for localhost and want none, and the CA's file.
func encrypted(t *testing.T) ([]kfake.Opt, string) {
	t.Helper()
	o := certs.Options{Dir: filepath.Join(t.TempDir(), "certs"), Servers: []string{"localhost"}, WithoutStores: true}
	if err := certs.Generate(o); err != nil {
		t.Fatal(err)
	}
	files := o.Files("localhost")
	config, err := certs.ServerTLS(files)
	if err != nil {
		t.Fatal(err)
	}
	config.ClientAuth = tls.NoClientCert
	return []kfake.Opt{kfake.TLS(config), kfake.ListenFn(func(network, _ string) (net.Listener, error) {
		listener, err := net.Listen(network, "127.0.0.1:0")
		return named{listener}, err
	})}, files.CA
}

func TestSASLUsersAreLetInWithoutACertificateAndOthersToldAtOnce(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			options, ca := encrypted(t)
			s := setup(t, 1, append(options, kfake.EnableSASL(), kfake.Superuser(mechanism, "alice", "wonderland"))...)
			environment := map[string]string{
				"KAFKA_BROKERS": s.getenv("KAFKA_BROKERS"), "SCHEMA_REGISTRY_URL": s.registry.URL(), "KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SSL_CA_LOCATION": ca,
				"KAFKA_SASL_MECHANISM": mechanism, "KAFKA_SASL_USERNAME": "alice", "KAFKA_SASL_PASSWORD": "wonderland",
			}
			with := func(changes map[string]string) func(string) string {
				changed := maps.Clone(environment)
				maps.Copy(changed, changes)
				return func(name string) string { return changed[name] }
			}
			synchronize(t, with(nil), "apply").check(t, 0, "16 created")
			// The embedded brokers end the connection where Kafka answers so.
			s.kafka.ControlKey(int16(kmsg.SASLAuthenticate), func(request kmsg.Request) (kmsg.Response, error, bool) {
				s.kafka.KeepControl()
				answer := request.(*kmsg.SASLAuthenticateRequest).ResponseKind().(*kmsg.SASLAuthenticateResponse)
				answer.ErrorCode, answer.ErrorMessage = kerr.SaslAuthenticationFailed.Code, kmsg.StringPtr("Authentication failed")
				return answer, nil, true
			})
			began := time.Now()
			refused := synchronize(t, with(map[string]string{"KAFKA_SASL_PASSWORD": "looking-glass"}), "plan")
			refused.check(t, 1, "the brokers refuse KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD")
			if strings.Contains(refused.stderr, "looking-glass") || time.Since(began) > 30*time.Second {
				t.Errorf("after %s: %s", time.Since(began), refused.stderr)
			}
		})
	}
}

func TestWhyBrokersAreNotReachedIsSaid(t *testing.T) {
	t.Parallel()
	options, _ := encrypted(t)
	_, otherCA := encrypted(t)
	s := setup(t, 1, options...)
	brokers := s.getenv("KAFKA_BROKERS")
	for name, c := range map[string]struct {
		environment map[string]string
		says        string
	}{
		"nobody there":        {map[string]string{"KAFKA_BROKERS": "127.0.0.1:1"}, "refused: nothing answers there"},
		"no such host":        {map[string]string{"KAFKA_BROKERS": "nowhere.invalid:9092"}, "no such host is known here"},
		"another authority's": {map[string]string{"KAFKA_BROKERS": brokers, "KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_LOCATION": otherCA}, "the broker's certificate is not one that KAFKA_SSL_CA_LOCATION"},
		"no TLS":              {map[string]string{"KAFKA_BROKERS": brokers}, "one side speaks TLS and the other does not"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := synchronize(t, func(variable string) string { return c.environment[variable] }, "plan", "--timeout=2s")
			got.check(t, 1, c.says)
		})
	}
}

// The default --timeout is five minutes: whoever waits for it has not been told at once.
func atOnce(t *testing.T, getenv func(string) string, says string) {
	t.Helper()
	began := time.Now()
	synchronize(t, getenv, "plan").check(t, 1, says)
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %s", took)
	}
}

func TestAMissingOrWrongClientCertificateIsToldAtOnce(t *testing.T) {
	t.Parallel()
	authority := func() certs.Options {
		o := certs.Options{Dir: filepath.Join(t.TempDir(), "certs"), Servers: []string{"localhost"}, WithoutStores: true}
		if err := certs.Generate(o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	ours, others := authority(), authority()
	config, err := certs.ServerTLS(ours.Files("localhost"))
	if err != nil {
		t.Fatal(err)
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	older := config.Clone()
	older.MaxVersion = tls.VersionTLS12 // there the handshake fails, and not what comes after it
	right, wrong := ours.Files("command-handler"), others.Files("command-handler")
	for name, config := range map[string]*tls.Config{"TLS 1.3": config, "TLS 1.2": older} {
		listen := func(network, _ string) (net.Listener, error) {
			listener, err := net.Listen(network, "127.0.0.1:0")
			return named{listener}, err
		}
		s := setup(t, 1)
		guarded := setup(t, 1, kfake.TLS(config), kfake.ListenFn(listen))
		registry := httptest.NewUnstartedServer(s.registry.Handler())
		registry.TLS, registry.Config.ErrorLog = config, log.New(io.Discard, "", 0)
		registry.StartTLS()
		t.Cleanup(registry.Close)
		environment := func(more map[string]string) func(string) string {
			all := map[string]string{"KAFKA_BROKERS": s.getenv("KAFKA_BROKERS"), "SCHEMA_REGISTRY_URL": strings.Replace(registry.URL, "127.0.0.1", "localhost", 1), "SCHEMA_REGISTRY_CA_LOCATION": right.CA}
			maps.Copy(all, more)
			return func(name string) string { return all[name] }
		}
		kafka := map[string]string{"KAFKA_BROKERS": guarded.getenv("KAFKA_BROKERS"), "KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_LOCATION": right.CA}
		wrongKafka := map[string]string{"KAFKA_SSL_CERT_LOCATION": wrong.Cert, "KAFKA_SSL_KEY_LOCATION": wrong.Key, "KAFKA_SSL_KEY_PASSWORD": wrong.Password}
		maps.Copy(wrongKafka, kafka)
		for what, c := range map[string]struct {
			more map[string]string
			says string
		}{
			"no certificate for the brokers":         {kafka, "set KAFKA_SSL_CERT_LOCATION and KAFKA_SSL_KEY_LOCATION"},
			"another authority's, for the brokers":   {wrongKafka, "set KAFKA_SSL_CERT_LOCATION and KAFKA_SSL_KEY_LOCATION"},
			"no certificate for the registry":        {nil, "set SCHEMA_REGISTRY_CERT_LOCATION and SCHEMA_REGISTRY_KEY_LOCATION"},
			"another authority's, for the registry":  {map[string]string{"SCHEMA_REGISTRY_CERT_LOCATION": wrong.Cert, "SCHEMA_REGISTRY_KEY_LOCATION": wrong.Key, "SCHEMA_REGISTRY_KEY_PASSWORD": wrong.Password}, "set SCHEMA_REGISTRY_CERT_LOCATION and SCHEMA_REGISTRY_KEY_LOCATION"},
			"TLS with a registry that has none":      {map[string]string{"SCHEMA_REGISTRY_URL": strings.Replace(s.registry.URL(), "http:", "https:", 1)}, "there is no TLS at this port"},
			"no TLS with a registry that wants some": {map[string]string{"SCHEMA_REGISTRY_URL": strings.Replace(registry.URL, "https:", "http:", 1)}, "HTTP request to an HTTPS server"},
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				t.Parallel()
				atOnce(t, environment(c.more), c.says)
			})
		}
	}
}

func TestWhatIsNoRegistryIsToldAtOnce(t *testing.T) {
	t.Parallel()
	s := setup(t, 1)
	for name, c := range map[string]struct {
		status int
		body   string
		says   string
	}{
		"a web page":         {http.StatusOK, "\n<!DOCTYPE html><html><title>\x1b[2J Log in</title>" + strings.Repeat("x", 100_000), "not a schema registry's, but a web page: mend SCHEMA_REGISTRY_URL"},
		"one that is large":  {http.StatusOK, "<html>" + strings.Repeat("x", 3_000_000), "larger than 2 MB"},
		"a page not found":   {http.StatusNotFound, "<html>Not found", "but a web page: mend SCHEMA_REGISTRY_URL"},
		"a path not found":   {http.StatusNotFound, "404 page not found", `but no JSON: "404 page not found": mend`},
		"another JSON":       {http.StatusOK, `{"hello": "world"}`, `but another JSON: "{\"hello\": \"world\"}"`},
		"another JSON's 404": {http.StatusNotFound, `{"detail": "Not Found"}`, `but another JSON`},
		"nothing":            {http.StatusOK, "", "but nothing: mend"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body) // whoever asks may have heard enough
			}))
			t.Cleanup(server.Close)
			getenv := func(name string) string {
				return map[string]string{"KAFKA_BROKERS": s.getenv("KAFKA_BROKERS"), "SCHEMA_REGISTRY_URL": server.URL}[name]
			}
			atOnce(t, getenv, c.says)
		})
	}
}

func TestWhatAPrincipalMayNotDoIsSaidAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	allow := func(resource kmsg.ACLResourceType, name string, operations ...kmsg.ACLOperation) []kfake.ACL {
		var acls []kfake.ACL
		for _, operation := range operations {
			acls = append(acls, kfake.ACL{Resource: resource, Name: name, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: operation, Allow: true})
		}
		return acls
	}
	few := allow(kmsg.ACLResourceTypeTopic, "*", kmsg.ACLOperationDescribe, kmsg.ACLOperationCreate)
	s := setup(t, 1, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "admin", "admin"), kfake.User("PLAIN", "few", "few", few...))
	as := func(user string) func(string) string {
		return func(name string) string {
			return map[string]string{
				"KAFKA_BROKERS": s.getenv("KAFKA_BROKERS"), "SCHEMA_REGISTRY_URL": s.registry.URL(), "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
				"KAFKA_SASL_USERNAME": user, "KAFKA_SASL_PASSWORD": user,
			}[name]
		}
	}
	file := write(t, "topics: [{name: orders, partitions: 1, replicas: 1, config: {retention.ms: 1000}}]\nacls: [{principal: User:shop, reads: [orders]}]", nil)
	// Describe and Create are enough for a first run of a topology without ACLs.
	got := synchronize(t, as("few"), "apply", "--topology", write(t, "topics: [{name: orders, partitions: 1, replicas: 1, config: {retention.ms: 2000}}]", nil))
	got.check(t, 0, "1 created")
	got = synchronize(t, as("few"), "plan", "--topology", file)
	got.check(t, 1, "Not compared: the configuration of topic orders", "Not compared: the ACLs", "not all could be compared")
	got = synchronize(t, as("admin"), "plan", "--topology", file)
	got.check(t, 2, "retention.ms  2000 -> 1000", "+ ACL User:shop: allow describe on topic orders", "+ ACL User:shop: allow read on topic orders")
	got = synchronize(t, as("admin"), "apply", "--topology", file)
	got.check(t, 1, "there is no terminal to ask at")
	synchronize(t, as("admin"), "apply", "--yes", "--topology", file).check(t, 0, "2 created, 1 changed")
	synchronize(t, as("admin"), "plan", "--topology", file).check(t, 0, "topics and ACLs")

	// By then a user of few rights can't change any of it.
	s2 := write(t, "topics: [{name: orders, partitions: 4, replicas: 1}]", nil)
	synchronize(t, as("few"), "apply", "--yes", "--topology", s2).check(t, 1, "partitions of topic orders", "lacks the right")
}

func TestARegistryThatRefusesIsSaid(t *testing.T) {
	t.Parallel()
	s := setup(t, 1)
	guarded := srfake.New(srfake.WithAuth("Bearer token"))
	t.Cleanup(guarded.Close)
	for name, c := range map[string]struct {
		environment map[string]string
		status      int
		says        string
	}{
		"a token":        {map[string]string{"SCHEMA_REGISTRY_BEARER_TOKEN": "token"}, 0, "16 created"},
		"none":           {nil, 1, "the registry wants SCHEMA_REGISTRY_USERNAME"},
		"basic instead":  {map[string]string{"SCHEMA_REGISTRY_USERNAME": "u", "SCHEMA_REGISTRY_PASSWORD": "hush"}, 1, "who may not do this"},
		"a wrong one":    {map[string]string{"SCHEMA_REGISTRY_BEARER_TOKEN": "hush"}, 1, "who may not do this"},
		"nobody there":   {map[string]string{"SCHEMA_REGISTRY_URL": "http://127.0.0.1:1"}, 1, "while waiting for the schema registry"},
		"no registry is": {map[string]string{"SCHEMA_REGISTRY_URL": "http://" + s.kafka.ListenAddrs()[0]}, 1, "schema registry"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			getenv := func(variable string) string {
				if value := c.environment[variable]; value != "" {
					return value
				}
				return map[string]string{"KAFKA_BROKERS": s.getenv("KAFKA_BROKERS"), "SCHEMA_REGISTRY_URL": guarded.URL()}[variable]
			}
			got := synchronize(t, getenv, "apply", "--timeout=2s")
			got.check(t, c.status, c.says)
			if strings.Contains(got.stderr, "hush") {
				t.Errorf("a password in %s", got.stderr)
			}
		})
	}
}

func TestARegistryOfAnotherAuthorityIsToldAtOnce(t *testing.T) {
	t.Parallel()
	s := setup(t, 1)
	o := certs.Options{Dir: filepath.Join(t.TempDir(), "certs"), Servers: []string{"localhost"}, WithoutStores: true}
	if err := certs.Generate(o); err != nil {
		t.Fatal(err)
	}
	config, err := certs.ServerTLS(o.Files("localhost"))
	if err != nil {
		t.Fatal(err)
	}
	config.ClientAuth = tls.NoClientCert
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: s.registry.Handler(), ErrorLog: log.New(io.Discard, "", 0)}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(listener) }() // it ends by Close alone
	t.Cleanup(func() { _ = server.Close(); <-served })
	getenv := func(ca string) func(string) string {
		return func(name string) string {
			return map[string]string{
				"KAFKA_BROKERS": s.getenv("KAFKA_BROKERS"), "SCHEMA_REGISTRY_URL": "https://" + named{listener}.Addr().String(), "SCHEMA_REGISTRY_CA_LOCATION": ca,
			}[name]
		}
	}
	synchronize(t, getenv(""), "plan").check(t, 1, "the registry's certificate is not one that SCHEMA_REGISTRY_CA_LOCATION")
	synchronize(t, getenv(o.Files("localhost").CA), "apply").check(t, 0, "16 created")
}

func TestNothingIsDeletedForATopologyThatListsNothing(t *testing.T) {
	t.Parallel()
	s := setup(t, 1)
	file := write(t, "subjects: [{file: Heartbeat, subject: s}]", nil)
	synchronize(t, s.getenv, "plan", "--allow-delete=topics", "--topology", file).check(t, 1, "the topology lists no topics")
	synchronize(t, s.getenv, "plan", "--allow-delete=acls", "--topology", file).check(t, 1, "the topology lists no acls")
	synchronize(t, s.getenv, "plan", "--allow-delete=acls", "--topology", write(t, "subjects: [{file: Heartbeat, subject: s}]\nacls: []", nil)).check(t, 1, "the topology lists no acls")
	file = write(t, "topics: [{name: orders, partitions: 1, replicas: 1}]", nil)
	synchronize(t, s.getenv, "plan", "--allow-delete=subjects", "--topology", file).check(t, 1, "the topology lists no schemas")
}
