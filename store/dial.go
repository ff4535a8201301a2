package store

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// dialer opens the connections to Postgres so that a host that vanishes, or freezes with its sockets open, is noticed:
// otherwise its session would keep the locked accounts, and ours would wait for an answer, for hours.
type dialer struct {
	silence time.Duration // longest wait for a reply; 0: none, for statements that may take long
	lines   *lines        // where the connections are noted, if not nil
}

// unacknowledged is how long sent bytes may stay without an acknowledgement before the kernel gives the connection up.
const unacknowledged = 20 * time.Second

func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	nd := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3},
		Control:         limitUnacknowledged,
	}
	c, err := nd.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if d.silence > 0 {
		c = &quietConn{Conn: c, silence: d.silence}
	}
	if d.lines != nil {
		return d.lines.note(ctx, c)
	}
	return c, nil
}

func (d dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

func (d dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

// quietConn fails a read that gets nothing for too long. The server ends a statement that takes longer than its
// statement_timeout; this is for a server that no longer does anything while its kernel still acknowledges.
type quietConn struct {
	net.Conn
	silence  time.Duration
	deadline bool // lib/pq has set one of its own, for the handshake
}

func (c *quietConn) SetDeadline(t time.Time) error {
	c.deadline = !t.IsZero()
	return c.Conn.SetDeadline(t)
}

func (c *quietConn) Read(b []byte) (int, error) {
	if !c.deadline {
		if err := c.SetReadDeadline(time.Now().Add(c.silence)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(b)
}

// lines are connections that can be cut: lib/pq leaves a statement whose context ends to the server, which may stand still.
type lines struct {
	mu   sync.Mutex
	open map[*line]struct{}
}

type line struct {
	net.Conn
	of *lines
}

// note takes a connection that was opened, unless ctx has ended: who cuts the lines then has not seen it.
func (l *lines) note(ctx context.Context, c net.Conn) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), c.Close())
	}
	if l.open == nil {
		l.open = map[*line]struct{}{}
	}
	n := &line{c, l}
	l.open[n] = struct{}{}
	return n, nil
}

func (n *line) Close() error {
	n.of.mu.Lock()
	delete(n.of.open, n)
	n.of.mu.Unlock()
	return n.Conn.Close()
}

// cut ends all connections: whoever waits for an answer gets an error at once.
func (l *lines) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := range l.open {
		_ = n.Conn.Close()
	}
	clear(l.open)
}

// until cuts the lines when ctx ends, until it is told to let be.
func (l *lines) until(ctx context.Context) (letBe func() bool) { return context.AfterFunc(ctx, l.cut) }
