package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"
)

// proxy stands between a store and Postgres and knows where a client's messages begin and end.
type proxy struct {
	url string // of the database, through the proxy
	// commit is called with each COMMIT before it is forwarded. What it returns says what happens to the reply.
	commit func() (drop bool)

	listener net.Listener
	target   string
	sessions sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

func newProxy(t *testing.T, database string, commit func() (drop bool)) *proxy {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{commit: commit, target: u.Host}
	if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	u.Host = p.listener.Addr().String()
	p.url = u.String()
	p.sessions.Go(p.accept)
	t.Cleanup(func() {
		_ = p.listener.Close()
		p.cut()
		p.sessions.Wait()
	})
	return p
}

// cut breaks all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		postgres, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, postgres)
		p.mu.Unlock()
		s := &relay{proxy: p, client: client, postgres: postgres}
		p.sessions.Go(s.forward)
		p.sessions.Go(s.answer)
	}
}

type relay struct {
	proxy            *proxy
	client, postgres net.Conn
	mu               sync.Mutex
	dropping         bool
}

// forward hands the client's messages on, one at a time.
func (s *relay) forward() {
	defer func() { _ = s.postgres.Close() }()
	in := bufio.NewReader(s.client)
	for header := 4; ; header = 5 { // the first message has no type
		message, err := readMessage(in, header)
		if err != nil {
			return
		}
		if header == 5 && message[0] == 'Q' && string(message[5:len(message)-1]) == "COMMIT" && s.proxy.commit != nil {
			drop := s.proxy.commit()
			s.mu.Lock()
			s.dropping = drop
			s.mu.Unlock()
		}
		if _, err := s.postgres.Write(message); err != nil {
			return
		}
	}
}

func readMessage(in *bufio.Reader, header int) ([]byte, error) {
	head := make([]byte, header)
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(head[header-4:])
	if length < 4 || length > 1<<28 {
		return nil, errors.New("not a message")
	}
	message := slices.Concat(head, make([]byte, length-4))
	_, err := io.ReadFull(in, message[header:])
	return message, err
}

// answer hands Postgres' replies back. A reply that is dropped has been given: what it acknowledges has happened.
func (s *relay) answer() {
	defer func() { _ = s.client.Close() }()
	b := make([]byte, 64<<10)
	for {
		n, err := s.postgres.Read(b)
		if err != nil {
			return
		}
		s.mu.Lock()
		dropping := s.dropping
		s.mu.Unlock()
		if dropping {
			return
		}
		if _, err := s.client.Write(b[:n]); err != nil {
			return
		}
	}
}
