package handler

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// Requests of the Kafka protocol that the client library has no call for, or none that is safe, and versions that we depend on
// (kafka.apache.org/protocol). They are sent in their first version, which brokers have known from 0.10 on and still do.
const (
	findCoordinator = 10
	joinGroup       = 11
	describeGroups  = 15
	apiVersions     = 18
	txnOffsetCommit = 28

	staticMembers    = 5 // of JoinGroup: KIP-345, brokers from 2.3 on
	fencedGeneration = 3 // of TxnOffsetCommit: KIP-447, brokers from 2.5 on
)

const (
	// callLimit bounds the question to one broker.
	callLimit = 3 * time.Second
	// answerLimit bounds its answer, in bytes: a group of thousands of members.
	answerLimit = 4 << 20
)

// askAny asks the named brokers one after the other until one answers. Error: all of theirs.
func (k Kafka) askAny(ctx context.Context, request int16, body []byte) (*fields, error) {
	var silent []error
	for _, address := range strings.Split(k.Brokers, ",") {
		answer, err := k.call(ctx, strings.TrimSpace(address), request, body)
		if err == nil {
			return answer, nil
		}
		silent = append(silent, err)
	}
	return nil, errors.Join(silent...)
}

// call sends a request to a broker, over a connection of its own, and returns what is in the answer.
func (k Kafka) call(ctx context.Context, address string, request int16, body []byte) (_ *fields, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("no answer from Kafka at %s: %w", address, err)
		}
	}()
	dial := k.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(callLimit)); err != nil {
		return nil, err
	}
	header := []byte{0, byte(request), 0, 0, 0, 0, 0, 1, 0xff, 0xff} // request, version, number, no client id
	message := append(binary.BigEndian.AppendUint32(nil, uint32(len(header)+len(body))), header...)
	if _, err := conn.Write(append(message, body...)); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, fmt.Errorf("it closes the connection or speaks another protocol: %w", err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 4 || n > answerLimit {
		return nil, errors.New("it does not speak Kafka's protocol; does it want TLS?")
	}
	answer := make([]byte, n)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil, err
	}
	return &fields{rest: answer[4:]}, nil // after the number
}

// fields reads the fields of an answer in their order. Beyond its end they are empty.
type fields struct {
	rest []byte
	cut  bool // the answer ended in a field
}

// take is the next n bytes, none of a field that is null.
func (f *fields) take(n int) []byte {
	if n < 0 {
		return nil
	}
	if n > len(f.rest) {
		f.rest, f.cut = nil, true
		return nil
	}
	field := f.rest[:n]
	f.rest = f.rest[n:]
	return field
}

func (f *fields) int16() int16 {
	if b := f.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (f *fields) int32() int32 {
	if b := f.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (f *fields) text() string  { return string(f.take(int(f.int16()))) }
func (f *fields) bytes() []byte { return f.take(int(f.int32())) }

// times calls read for each element of an array, until the answer ends.
func (f *fields) times(read func()) {
	for n := f.int32(); n > 0 && len(f.rest) > 0; n-- {
		read()
	}
}

func appendText(to []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint16(to, uint16(len(text))), text...)
}
