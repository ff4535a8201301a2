package realkafka

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"

	"openbank/embedded"
)

// gate stands before a server and forwards connections while it is open: a server that keeps all it has in memory can't be
// stopped and started again.
type gate struct {
	address string // its own, host:port
	server  string

	mu       sync.Mutex
	listener net.Listener // nil while it is shut
	open     map[net.Conn]struct{}
	forward  sync.WaitGroup
}

func newGate(server string) (*gate, error) {
	port, err := embedded.FreePort()
	if err != nil {
		return nil, err
	}
	return &gate{address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), server: server, open: map[net.Conn]struct{}{}}, nil
}

// start opens it.
func (g *gate) start(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", g.address)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.listener = listener
	g.forward.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			g.connect(listener, client)
		}
	})
	return nil
}

func (g *gate) connect(listener net.Listener, client net.Conn) {
	server, err := new(net.Dialer).DialContext(context.Background(), "tcp", g.server) // on this machine: at once or not at all
	if err != nil {
		_ = client.Close()
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listener != listener {
		_, _ = client.Close(), server.Close()
		return
	}
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		g.open[pair[0]] = struct{}{}
		g.forward.Go(func() {
			_, _ = io.Copy(pair[0], pair[1]) // however it ends, the other half ends with it
			_ = pair[0].Close()
			g.mu.Lock()
			defer g.mu.Unlock()
			delete(g.open, pair[0])
		})
	}
}

// stop closes every connection and lets none in. To stop what is shut does nothing.
func (g *gate) stop() error {
	g.mu.Lock()
	listener := g.listener
	g.listener = nil
	for conn := range g.open {
		_ = conn.Close()
	}
	g.mu.Unlock()
	if listener == nil {
		return nil
	}
	err := listener.Close()
	g.forward.Wait()
	return err
}
