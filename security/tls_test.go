package security

import (
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"openbank/certs"
	"openbank/embedded"
	"openbank/embedded/embeddedtest"
)

// secured is a Postgres that lets in over TLS alone, and only clients with a certificate of its CA, in the name of their user.
type secured struct {
	*world
	dir  string // of the certificates
	data string // of the server
	port string
}

// pem writes an identity as lib/pq and Postgres read it: the key in plain PKCS#8.
func (s *secured) pem(o certs.Options, name string) (ca, cert, key string) {
	s.t.Helper()
	text, err := o.Files(name).Text()
	if err != nil {
		s.t.Fatal(err)
	}
	ca, cert, key = filepath.Join(o.Dir, "ca.pem"), filepath.Join(o.Dir, name+".pem"), filepath.Join(o.Dir, name+"-plain.key")
	for path, content := range map[string]string{ca: text.CA, cert: text.Cert, key: text.Key} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	return ca, cert, key
}

// authority makes a CA with certificates for localhost and for the handler's user.
func (s *secured) authority(name string, validFor time.Duration) certs.Options {
	s.t.Helper()
	o := certs.Options{Dir: filepath.Join(s.dir, name), Servers: []string{"localhost"}, Clients: []string{"openbank"}, ValidFor: validFor, WithoutStores: true}
	if err := certs.Generate(o); err != nil {
		s.t.Fatal(err)
	}
	return o
}

// serve has Postgres show the certificate of an authority, and trust the clients of another one.
func (s *secured) serve(superuser *sql.DB, of, clients certs.Options) {
	s.t.Helper()
	_, cert, key := s.pem(of, "localhost")
	ca, _, _ := s.pem(clients, "openbank")
	owner, err := os.Stat(s.data)
	if err != nil {
		s.t.Fatal(err)
	}
	for from, to := range map[string]string{ca: "root.crt", cert: "server.crt", key: "server.key"} {
		content, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(s.data, to), content, 0o600)
		}
		if err == nil {
			err = os.Chown(filepath.Join(s.data, to), int(owner.Sys().(*syscall.Stat_t).Uid), int(owner.Sys().(*syscall.Stat_t).Gid))
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	for _, statement := range []string{"ALTER SYSTEM SET ssl = on", "ALTER SYSTEM SET ssl_ca_file = 'root.crt'", "SELECT pg_reload_conf()"} {
		if _, err := superuser.ExecContext(s.t.Context(), statement); err != nil {
			s.t.Fatal(err)
		}
	}
}

func newSecured(t *testing.T) (*secured, *sql.DB) {
	t.Helper()
	s := &secured{world: &world{t: t, logs: t.TempDir()}, dir: t.TempDir()}
	server := embeddedtest.Postgres(t, embedded.PostgresConfig{})
	s.database = server.URL("")
	at, err := url.Parse(s.database)
	if err != nil {
		t.Fatal(err)
	}
	s.port = at.Port()
	superuser := embeddedtest.Database(t, s.database)
	superuser.SetMaxOpenConns(1) // it stays when the doors are closed
	if err := superuser.QueryRowContext(t.Context(), "SHOW data_directory").Scan(&s.data); err != nil {
		t.Fatal(err)
	}
	return s, superuser
}

// reach is how the handler reaches the server, less what the environment says.
func (s *secured) reach(host string, parameters url.Values) []string {
	u, _ := url.Parse(s.database)
	u.Host = host + ":" + s.port
	u.RawQuery = parameters.Encode()
	return []string{"DATABASE_URL=" + u.String(), "KAFKA_GROUP=g"}
}

func TestPostgresOverTLS(t *testing.T) {
	t.Parallel()
	s, superuser := newSecured(t)
	right := s.authority("right", 48*time.Hour)
	other := s.authority("other", 48*time.Hour)
	over := s.authority("over", time.Second)
	ca, cert, key := s.pem(right, "openbank")
	otherCA, otherCert, otherKey := s.pem(other, "openbank")
	overCA, _, _ := s.pem(over, "openbank")
	if err := os.WriteFile(filepath.Join(s.data, "pg_hba.conf"), []byte("hostssl all all all scram-sha-256 clientcert=verify-full\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	full := func(ca, cert, key string) url.Values {
		return url.Values{"sslmode": {"verify-full"}, "sslrootcert": {ca}, "sslcert": {cert}, "sslkey": {key}}
	}
	s.serve(superuser, right, right)
	migrated := func(env []string) func() error {
		return func() error {
			said, err := s.run("command-handler", env, "migrate")
			if err != nil {
				return errors.New(said)
			}
			return nil
		}
	}
	eventually(t, "the server has read its settings", reasonable, migrated(s.reach("localhost", full(ca, cert, key))))
	if err := migrated(append(s.reach("localhost", nil), "PGSSLMODE=verify-full", "PGSSLROOTCERT="+ca, "PGSSLCERT="+cert, "PGSSLKEY="+key))(); err != nil {
		t.Errorf("by PG* variables: %v", err)
	}
	if err := migrated(s.reach("127.0.0.1", full(ca, cert, key)))(); err != nil {
		t.Errorf("by its address, which the certificate has: %v", err)
	}
	world := filepath.Join(s.dir, "world.key")
	content, err := os.ReadFile(key)
	if err == nil {
		err = errors.Join(os.WriteFile(world, content, 0o600), os.Chmod(world, 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}

	// Each ends with a sentence, or waits and says for what.
	s.says("another CA", s.reach("localhost", full(otherCA, cert, key)), "signed by unknown authority", "TLS with Postgres cannot be set up")
	s.says("no CA file", s.reach("localhost", full(ca+"x", cert, key)), "no such file", "correct sslmode, sslrootcert, sslcert and sslkey")
	s.says("no client certificate", s.reach("localhost", url.Values{"sslmode": {"verify-full"}, "sslrootcert": {ca}}), "requires a valid client certificate", "pg_hba.conf")
	s.refuses(s.reach("localhost", full(ca, otherCert, otherKey)))
	s.says("a key that all may read", s.reach("localhost", full(ca, cert, world)), "permissions", "correct sslmode")
	s.says("without TLS", s.reach("localhost", url.Values{"sslmode": {"disable"}}), "no encryption", "pg_hba.conf")
	s.says("a mode that there is not", s.reach("localhost", url.Values{"sslmode": {"verify-all"}}), "has an sslmode that there is not")

	elsewhere := full(ca, cert, key)
	elsewhere.Set("hostaddr", "127.0.0.1")
	s.says("another host", s.reach("db.example", elsewhere), "certificate is valid for", "not db.example", "TLS with Postgres cannot be set up")

	s.serve(superuser, over, right)
	eventually(t, "an expired certificate", reasonable, func() error { // when the server has read it
		said, err := s.run("command-handler", s.reach("localhost", full(overCA, cert, key)), "migrate")
		if err == nil || !strings.Contains(said, "expired") || !strings.Contains(said, "TLS with Postgres cannot be set up") {
			return errors.New(said)
		}
		return nil
	})
}

// refuses starts the handler's migration with the certificate of another CA until it says so: what the server answers is lost when the
// client's next write meets a connection that is closed by then, and it says that instead.
func (s *secured) refuses(env []string) {
	s.t.Helper()
	eventually(s.t, "another CA's client", reasonable, func() error {
		p := s.start("command-handler", env, "migrate")
		defer p.Kill()
		eventually(s.t, "another CA's client waits", reasonable, p.says("Postgres does not answer; waiting"))
		return p.says("unknown certificate authority")()
	})
}

// says starts the handler's migration, which must not succeed, and waits until it has said all of it.
func (s *secured) says(what string, env []string, texts ...string) {
	s.t.Helper()
	p := s.start("command-handler", env, "migrate")
	eventually(s.t, what, reasonable, func() error {
		for _, text := range texts {
			if err := p.says(text)(); err != nil {
				return errors.Join(err, errors.New(p.text()))
			}
		}
		return nil
	})
	p.Kill()
	if p.Err() == nil {
		s.t.Errorf("%s: it is let in: %s", what, p.text())
	}
	if strings.Contains(p.text(), "PRIVATE KEY") {
		s.t.Errorf("%s: the key is told", what)
	}
}
