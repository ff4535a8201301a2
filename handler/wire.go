package handler

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"openbank/environment"
)

// request is one of the Kafka protocol that the client library has no call for, or none that is safe (kafka.apache.org/protocol).
type request struct {
	key, version int16
	flexible     bool // from some version on, with tagged fields and lengths of variable size (KIP-482)
}

// All but these that name another are sent in their first version, which brokers have known from 0.10 on, with transactions from 0.11 on, and
// still do.
var (
	offsetFetch          = request{key: 9, version: 7, flexible: true} // tells of offsets in a transaction that is not ended yet: KIP-447, brokers from 2.5 on
	findCoordinator      = request{key: 10, version: 1}                // also that of a transaction: KIP-98, brokers from 0.11 on
	leaveGroup           = request{key: 13, version: 3}                // by the member's place: KIP-345, brokers from 2.4 on
	describeGroups       = request{key: 15}
	apiVersions          = request{key: 18}
	initProducerID       = request{key: 22}
	addPartitionsToTxn   = request{key: 24}
	addOffsetsToTxn      = request{key: 25}
	endTxn               = request{key: 26}
	describeTransactions = request{key: 65, flexible: true} // KIP-664, brokers from 3.0 on
)

// callLimit bounds the question to one broker, and answerLimit its answer, in bytes: a group of thousands of members.
const (
	callLimit   = 3 * time.Second
	answerLimit = 4 << 20
)

// addresses are the named brokers'.
func (k Kafka) addresses() []string {
	var all []string
	for _, address := range strings.Split(k.Brokers, ",") {
		all = append(all, strings.TrimSpace(address))
	}
	return all
}

// askAll asks all of those brokers at once, and has each answer read as it comes, until one was enough. Error: all of theirs, unless one was; nil as well when all
// have answered and none was.
func (k Kafka) askAll(ctx context.Context, addresses []string, r request, body []byte, read func(*fields) (enough bool, err error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type reply struct {
		from   int
		answer *fields
		err    error
	}
	replies := make(chan reply, len(addresses))
	for i, address := range addresses {
		go func() {
			answer, err := k.call(ctx, address, r, body)
			replies <- reply{i, answer, err}
		}()
	}
	failed := make([]error, len(addresses)) // in the order of the addresses, or the text would differ from try to try
	for range addresses {
		got := <-replies
		enough := false
		if got.err == nil {
			enough, got.err = read(got.answer)
		}
		if enough {
			return nil
		}
		failed[got.from] = got.err
	}
	return k.silence(failed)
}

// tlsReason is why there is no TLS with a broker.
type tlsReason string

func (r tlsReason) Error() string { return string(r) }

// silence is why none of several brokers answers. What was read for TLS is the same for all of them, and told once.
func (k Kafka) silence(failed []error) error {
	err := inOneLine(failed)
	if errors.As(err, new(tlsReason)) && k.Certificates != "" {
		return fmt.Errorf("%w. %s", err, k.Certificates)
	}
	return err
}

// inOneLine is errors.Join for a log line.
func inOneLine(errs []error) (one error) {
	for _, err := range errs {
		switch {
		case one == nil:
			one = err
		case err != nil:
			one = fmt.Errorf("%w; %w", one, err)
		}
	}
	return one
}

// call sends a request to a broker, over a connection of its own, and returns what is in the answer. Errors say nothing that differs from
// one try to the next.
func (k Kafka) call(ctx context.Context, address string, r request, body []byte) (_ *fields, err error) {
	defer func() {
		if reason := environment.TLSReason(err); reason != "" {
			err = fmt.Errorf("no answer from Kafka at %s: %w: %w", address, lasting(err), tlsReason(reason))
		} else if err != nil {
			err = fmt.Errorf("no answer from Kafka at %s: %w", address, lasting(err))
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
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()

	header := []byte{0, byte(r.key), 0, byte(r.version), 0, 0, 0, number, 0xff, 0xff} // no client id
	if r.flexible {
		header = append(header, 0) // no tagged fields
	}
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
	bytes := make([]byte, n)
	if _, err := io.ReadFull(conn, bytes); err != nil {
		return nil, err
	}
	answer := &fields{rest: bytes}
	if got := answer.int32(); got != number {
		return nil, fmt.Errorf("it answers request %d, and was asked one with the number %d", got, number)
	}
	if r.flexible {
		answer.tags()
	}
	return answer, nil
}

// coordinated is what a broker coordinates: a group, or the transactions of an id.
type coordinated struct {
	name string
	kind byte
}

const (
	aGroup = iota
	aTransaction
)

func (c coordinated) String() string {
	if c.kind == aTransaction {
		return "transactional id " + c.name
	}
	return "group " + c.name
}

// coordinator is the address of the broker that coordinates our group.
func (h *Handler) coordinator(ctx context.Context) (address string, err error) {
	return h.coordinatorOf(ctx, coordinated{h.cfg.Group, aGroup})
}

// coordinatorOf is the address of its coordinator, as most of those say that answer: of the brokers that have replicas of the topics, or of the
// named ones while those are not known or none of them answers.
func (h *Handler) coordinatorOf(ctx context.Context, what coordinated) (address string, err error) {
	others := h.cfg.Kafka.addresses()
	slices.Sort(others)
	others = slices.Compact(others)
	if known := h.known.Load(); known != nil && len(*known) > 0 {
		address, err = h.cfg.Kafka.mostSay(ctx, *known, what)
		others = slices.DeleteFunc(others, func(a string) bool { return slices.Contains(*known, a) })
		if err == nil || errors.Is(err, errDisagree) || len(others) == 0 {
			return address, err
		}
	}
	address, another := h.cfg.Kafka.mostSay(ctx, others, what)
	if another != nil {
		return "", inOneLine([]error{err, another})
	}
	return address, nil
}

// errDisagree says that brokers name different coordinators.
var errDisagree = errors.New("the brokers name different ones")

// mostSay asks brokers, each of which counts once. One that is cut off from the others takes itself for the coordinator that it was, and has
// offsets of then: more than half of those asked settle it, else all are heard.
func (k Kafka) mostSay(ctx context.Context, brokers []string, what coordinated) (address string, err error) {
	votes, addresses := map[int32]int{}, map[int32]string{} // by the coordinator's number: it may have several addresses
	err = k.askAll(ctx, brokers, findCoordinator, append(appendText(nil, what.name), what.kind), func(answer *fields) (enough bool, err error) {
		_ = answer.int32() // how long to wait before the next request
		code, _ := answer.int16(), answer.text()
		node, host, port := answer.int32(), answer.text(), answer.int32()
		switch {
		case answer.cut:
			return false, fmt.Errorf("looking for the coordinator of %s: the answer is cut short", what)
		case code != 0:
			return false, fmt.Errorf("looking for the coordinator of %s: %w", what, brokerError(code))
		}
		votes[node]++
		addresses[node] = net.JoinHostPort(host, strconv.Itoa(int(port)))
		return 2*votes[node] > len(brokers), nil
	})
	var most []string
	first := 0
	for node, n := range votes {
		if n > first {
			first, most = n, nil
		}
		if n == first {
			most = append(most, addresses[node])
		}
	}
	switch len(most) {
	case 0:
		return "", err
	case 1:
		return most[0], nil
	}
	slices.Sort(most)
	return "", fmt.Errorf("looking for the coordinator of %s: %w, %s", what, errDisagree, strings.Join(most, " and "))
}

// brokerError is what the brokers mean by an error code.
func brokerError(code int16) error {
	return kafka.NewError(kafka.ErrorCode(code), "", false)
}

// number is what a request is called by its answer: a connection carries one.
const number = 1

// lasting is what of a network's error is the same at the next try: the whole names our port, another one each time, or says what time it is.
func lasting(err error) error {
	var lookup *net.DNSError
	var op *net.OpError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("the certificate of %s is valid from %s until %s", invalid.Cert.Subject, invalid.Cert.NotBefore.Format(time.RFC3339), invalid.Cert.NotAfter.Format(time.RFC3339))
	case errors.As(err, &lookup) && lookup.IsNotFound:
		return fmt.Errorf("there is no host %s", lookup.Name)
	case errors.As(err, &lookup):
		return fmt.Errorf("nobody says where host %s is", lookup.Name)
	case errors.As(err, &op):
		return op.Err
	}
	return err
}

// fields reads the fields of an answer in their order. Beyond its end they are empty.
type fields struct {
	rest []byte
	cut  bool // the answer ended before its last field
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

func (f *fields) int64() int64 {
	if b := f.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (f *fields) text() string  { return string(f.take(int(f.int16()))) }
func (f *fields) bytes() []byte { return f.take(int(f.int32())) }

// times calls read for each element of an array.
func (f *fields) times(read func()) {
	for n := f.int32(); n > 0 && !f.cut; n-- {
		read()
	}
}

// compact is a length in a flexible request's answer, -1 for null.
func (f *fields) compact() int {
	length, n := binary.Uvarint(f.rest)
	if n <= 0 || length > answerLimit {
		f.rest, f.cut = nil, true
		return 0
	}
	f.rest = f.rest[n:]
	return int(length) - 1
}

func (f *fields) compactText() string { return string(f.take(f.compact())) }

// compactTimes calls read for each element of an array of a flexible request's answer.
func (f *fields) compactTimes(read func()) {
	for n := f.compact(); n > 0 && !f.cut; n-- {
		read()
		f.tags()
	}
}

// tags skips the tagged fields at the end of what a flexible request's answer is made of.
func (f *fields) tags() {
	for n := f.compact() + 1; n > 0 && !f.cut; n-- {
		f.compact()
		f.take(f.compact() + 1)
	}
}

func appendText(to []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint16(to, uint16(len(text))), text...)
}

func appendCompact(to []byte, text string) []byte {
	return append(binary.AppendUvarint(to, uint64(len(text)+1)), text...)
}
