package registry_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
	"go.uber.org/goleak"

	"openbank/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	subject = "balance_changed-nl.openweb.data.BalanceChanged"
	text    = `{"type":"record","name":"R","fields":[{"name":"a","type":"string"}]}`
)

// log keeps lines and is safe for concurrent use.
type log struct {
	mutex  sync.Mutex
	buffer bytes.Buffer
	onLine func() // may be nil
}

func (l *log) Write(p []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.onLine != nil {
		l.onLine()
	}
	return l.buffer.Write(p)
}

func (l *log) lines() []string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return strings.FieldsFunc(l.buffer.String(), func(r rune) bool { return r == '\n' })
}

// open returns a client of config that is closed with the test.
func open(t *testing.T, config registry.Config) *registry.Client {
	t.Helper()
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	client, err := registry.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// fake is a registry with the schema text under subject with id 7 and version 1.
func fake(options ...srfake.Option) *srfake.Registry {
	r := srfake.NewRegistry(options...)
	r.SeedSchema(subject, 1, 7, sr.Schema{Schema: text})
	return r
}

func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// untilAway returns a context that is cancelled when the log says that the registry does not answer.
func untilAway(t *testing.T) (context.Context, *log) {
	t.Helper()
	ctx, cancel := context.WithCancel(soon(t))
	return ctx, &log{onLine: cancel}
}

// brief is long enough for a few tries.
func brief(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// authority signs certificates for 127.0.0.1.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	signed := a.sign(t, template)
	a.certificate, a.key = signed.Leaf, signed.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

func (a *authority) sign(t *testing.T, template *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, parentKey := a.certificate, a.key
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) issue(t *testing.T, name string) tls.Certificate {
	t.Helper()
	return a.issueAs(t, name, func(*x509.Certificate) {})
}

// issueAs is for a certificate that differs.
func (a *authority) issueAs(t *testing.T, name string, differ func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	differ(template)
	return a.sign(t, template)
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

func (l *log) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
