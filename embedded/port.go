package embedded

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken below 32,768, where Linux begins to take the local ports of outgoing connections (macOS: 49,152): a
// client that keeps trying to reach a stopped server would otherwise sooner or later sit on that server's port itself.
const (
	lowestPort  = 20000
	highestPort = 32767
	portTries   = 100
)

// listenFree listens on a free port of 127.0.0.1.
func listenFree() (net.Listener, error) {
	var last error
	for range portTries {
		port := lowestPort + rand.IntN(highestPort-lowestPort+1)
		listener, err := listen(port)
		if err == nil {
			return listener, nil
		}
		last = err
	}
	return nil, fmt.Errorf("looking for a free port on 127.0.0.1 from %d to %d: %w", lowestPort, highestPort, last)
}

// listen listens on a port of 127.0.0.1.
func listen(port int) (net.Listener, error) {
	var config net.ListenConfig
	return config.Listen(context.Background(), "tcp", loopback(port)) // there is nothing to wait for
}

// FreePort is a port that was free a moment ago, for a process that can only be told a number.
func FreePort() (int, error) {
	listener, err := listenFree()
	if err != nil {
		return 0, err
	}
	return portOf(listener), listener.Close()
}

// portOf is the port of a TCP listener.
func portOf(listener net.Listener) int {
	if address, ok := listener.Addr().(*net.TCPAddr); ok {
		return address.Port
	}
	return 0
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
