//go:build realkafka

package handler_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"openbank/certs"
	"openbank/embedded"
	"openbank/realkafka"
)

var buildFlags []string

// servers are a bank's surroundings with an Apache Kafka and a registry that checks compatibility.
type servers struct {
	Kafka    *brokers
	Registry *gate
	Postgres *embedded.Postgres

	registry *realkafka.Registry
}

// brokers are OPENBANK_TEST_BROKERS brokers, 1 or 3.
type brokers struct{ *realkafka.Cluster }

// Stop kills them all, which is all that the others can notice of it.
func (b *brokers) Stop(context.Context) error {
	for i := range b.Addresses() {
		b.Kill(i)
	}
	return nil
}

func (b *brokers) Start(ctx context.Context) error {
	starts, ctx := errgroup.WithContext(ctx) // a broker is not there before a majority is
	for i := range b.Addresses() {
		starts.Go(func() error { return b.Restart(ctx, i) })
	}
	return starts.Wait()
}

func startServers(ctx context.Context, config embedded.Config) (_ *servers, err error) {
	s := &servers{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
		}
	}()
	wanted := realkafka.Config{CNOnly: true} // as the stack's are
	if os.Getenv("OPENBANK_TEST_BROKERS") == "3" {
		wanted.Brokers = 3
	}
	starts, ctx := errgroup.WithContext(ctx)
	starts.Go(func() error {
		cluster, err := realkafka.Start(ctx, wanted)
		s.Kafka = &brokers{cluster}
		return err
	})
	starts.Go(func() error {
		if s.registry, err = realkafka.StartRegistry(ctx); err != nil {
			return err
		}
		s.Registry, err = newGate(s.registry.URL())
		return err
	})
	starts.Go(func() (err error) {
		s.Postgres, err = embedded.StartPostgres(ctx, config.Postgres)
		return err
	})
	return s, starts.Wait()
}

func (s *servers) Stop(ctx context.Context) error {
	var errs []error
	if s.Registry != nil {
		errs = append(errs, s.Registry.Stop(ctx))
	}
	if s.registry != nil {
		errs = append(errs, s.registry.Stop())
	}
	if s.Kafka != nil && s.Kafka.Cluster != nil {
		errs = append(errs, s.Kafka.Cluster.Stop())
	}
	if s.Postgres != nil {
		errs = append(errs, s.Postgres.Close(ctx))
	}
	return errors.Join(errs...)
}

func (s *servers) Certificate(name string) certs.Files { return s.Kafka.Certificates().Files(name) }

func (s *servers) Environment() []string {
	files := s.Certificate("command-handler")
	return []string{
		"KAFKA_BROKERS=" + strings.Join(s.Kafka.Addresses(), ","), "KAFKA_GROUP=command-handler",
		"KAFKA_SSL_CA_LOCATION=" + files.CA, "KAFKA_SSL_CERT_LOCATION=" + files.Cert,
		"KAFKA_SSL_KEY_LOCATION=" + files.Key, "KAFKA_SSL_KEY_PASSWORD=" + files.Password,
		"SCHEMA_REGISTRY_URL=" + s.Registry.URL(), "DATABASE_URL=" + s.Postgres.URL(""),
	}
}

// gate forwards connections to a server while it is open: a server that keeps all it has in memory must not be stopped.
type gate struct {
	front, server *url.URL

	mu       sync.Mutex
	listener net.Listener
	open     map[net.Conn]bool
	forward  sync.WaitGroup
}

func newGate(server string) (*gate, error) {
	to, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	front := *to
	front.Host = "127.0.0.1:0"
	g := &gate{front: &front, server: to}
	if err := g.Start(context.Background()); err != nil {
		return nil, err
	}
	front.Host = g.listener.Addr().String()
	return g, nil
}

func (g *gate) URL() string { return g.front.String() }

func (g *gate) Start(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", g.front.Host)
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.listener, g.open = listener, map[net.Conn]bool{}
	g.mu.Unlock()
	g.forward.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", g.server.Host)
			if err != nil {
				_ = client.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
				g.mu.Lock()
				g.open[pair[0]] = true
				g.mu.Unlock()
				g.forward.Go(func() {
					_, _ = io.Copy(pair[0], pair[1])
					_ = pair[0].Close()
				})
			}
		}
	})
	return nil
}

// Stop closes every connection and lets none in.
func (g *gate) Stop(context.Context) error {
	err := g.listener.Close()
	g.mu.Lock()
	for conn := range g.open {
		_ = conn.Close()
	}
	g.mu.Unlock()
	g.forward.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
