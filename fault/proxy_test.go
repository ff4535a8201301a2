package fault

import (
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// proxy stands before a server, on loopback, and does to its connections what networks do.
type proxy struct {
	listener net.Listener
	target   string
	copying  sync.WaitGroup

	mu      sync.Mutex
	pairs   map[*pair]struct{}
	held    chan struct{} // while not nil nothing gets through; closed when it does again
	delay   time.Duration // of everything that gets through
	muted   bool          // what the server says gets lost
	refuses bool          // new connections
	closed  bool
}

// pair is a connection and its other half.
type pair struct {
	client, server net.Conn
	once           sync.Once
}

// newProxy listens; aim says later where it leads.
func newProxy(t *testing.T) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &proxy{listener: listener, pairs: map[*pair]struct{}{}}
}

func (p *proxy) port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// before is the URL of the server behind it with the proxy's address in place of the server's.
func (p *proxy) before(server string) string {
	return strings.Replace(server, p.target, p.listener.Addr().String(), 1)
}

func (p *proxy) aim(t *testing.T, target string) {
	p.target = target
	p.copying.Go(p.accept)
	t.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.heal()
		_ = p.listener.Close()
		p.sever(false)
		p.copying.Wait()
	})
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.copying.Go(func() { p.connect(client) })
	}
}

func (p *proxy) connect(client net.Conn) {
	p.mu.Lock()
	refuses := p.refuses
	p.mu.Unlock()
	var server net.Conn
	err := errors.New("refused")
	if !refuses {
		server, err = net.DialTimeout("tcp", p.target, 5*time.Second)
	}
	if err != nil {
		_ = client.Close()
		return
	}
	c := &pair{client: client, server: server}
	p.mu.Lock()
	p.pairs[c] = struct{}{}
	closed := p.closed
	p.mu.Unlock()
	if closed {
		c.close(false)
	}
	var both sync.WaitGroup
	both.Go(func() { p.copy(c, client, server, false) })
	both.Go(func() { p.copy(c, server, client, true) })
	both.Wait()
	p.mu.Lock()
	delete(p.pairs, c)
	p.mu.Unlock()
}

// copy hands on what from says until either side ends, which ends the other one.
func (p *proxy) copy(c *pair, from, to net.Conn, fromServer bool) {
	defer c.close(false)
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		p.mu.Lock()
		held, delay := p.held, p.delay
		p.mu.Unlock()
		if held != nil {
			<-held
		}
		if delay > 0 {
			time.Sleep(delay) // the fault itself, not a wait for something
		}
		p.mu.Lock()
		lost := p.muted && fromServer
		p.mu.Unlock()
		if lost {
			continue
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

// close ends both connections; rudely means with a reset, so that what is on its way is lost too.
func (c *pair) close(rudely bool) {
	c.once.Do(func() {
		for _, conn := range []net.Conn{c.client, c.server} {
			if tcp, ok := conn.(*net.TCPConn); ok && rudely {
				_ = tcp.SetLinger(0)
			}
			_ = conn.Close()
		}
	})
}

// sever ends all connections.
func (p *proxy) sever(rudely bool) {
	p.mu.Lock()
	pairs := make([]*pair, 0, len(p.pairs))
	for c := range p.pairs {
		pairs = append(pairs, c)
	}
	p.mu.Unlock()
	for _, c := range pairs {
		c.close(rudely)
	}
}

// heal lets everything through again.
func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held != nil {
		close(p.held)
		p.held = nil
	}
	p.delay, p.muted, p.refuses = 0, false, false
}

func (p *proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// networkFaults are what a proxy can do, by name, for a while.
var networkFaults = map[string]func(p *proxy, while func()){
	// All connections end in order, and new ones are refused.
	"cut": func(p *proxy, while func()) {
		p.set(func() { p.refuses = true })
		p.sever(false)
		while()
		p.heal()
	},
	// All connections are reset, and new ones work at once.
	"reset": func(p *proxy, while func()) {
		p.sever(true)
		while()
		p.sever(true)
	},
	// Everything takes longer.
	"delay": func(p *proxy, while func()) {
		p.set(func() { p.delay = 30 * time.Millisecond })
		while()
		p.heal()
	},
	// Nothing gets through, and then all of it does.
	"stall": func(p *proxy, while func()) {
		p.set(func() { p.held = make(chan struct{}) })
		while()
		p.heal()
	},
	// Nothing gets through any more on the connections that there are, nor on those made meanwhile, though both sides take them
	// for alive; then they are gone, with what was on its way.
	"half-open": func(p *proxy, while func()) {
		p.set(func() { p.held = make(chan struct{}) })
		while()
		p.sever(true)
		p.heal()
	},
	// The server gets what it is sent, and its replies are lost: what was asked was done, and nobody knows.
	"lost replies": func(p *proxy, while func()) {
		p.set(func() { p.muted = true })
		while()
		p.sever(true)
		p.heal()
	},
}
