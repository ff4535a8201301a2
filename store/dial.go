package store

import (
	"context"
	"net"
	"time"
)

// dialer opens the connections to Postgres so that a host that vanishes, or freezes with its sockets open, is noticed:
// otherwise its session would keep the locked accounts, and ours would wait for an answer, for hours.
type dialer struct {
	silence time.Duration // longest wait for a reply; 0: none, for statements that may take long
}

// unacknowledged is how long sent bytes may stay without an acknowledgement before the kernel gives the connection up.
const unacknowledged = 20 * time.Second

func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	nd := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3},
		Control:         limitUnacknowledged,
	}
	c, err := nd.DialContext(ctx, network, address)
	if err != nil || d.silence == 0 {
		return c, err
	}
	return &quietConn{Conn: c, silence: d.silence}, nil
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
