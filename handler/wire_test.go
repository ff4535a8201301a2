package handler

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// encode writes fields as Kafka's first versions of requests have them.
func encode(fields ...any) (bytes []byte) {
	for _, f := range fields {
		var err error
		if text, ok := f.(string); ok {
			bytes = appendText(bytes, text)
		} else if bytes, err = binary.Append(bytes, binary.BigEndian, f); err != nil {
			panic(err)
		}
	}
	return bytes
}

// answering dials a broker that answers each connection's request with these fields.
func answering(fields ...any) func(context.Context, string, string) (net.Conn, error) {
	answer := encode(fields...)
	return func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer func() { _ = theirs.Close() }()
			if _, err := theirs.Read(make([]byte, 1000)); err == nil {
				_, _ = theirs.Write(append(encode(int32(len(answer))), answer...))
			}
		}()
		return ours, nil
	}
}

// An answer that ends early, or is not to our question, is none: of one that lacks requests the handler would take the brokers for old ones,
// and of one that lacks members their partitions for nobody's.
func TestAnAnswerThatIsNotWholeIsNone(t *testing.T) {
	t.Parallel()
	const asked, fine = int32(1), int16(0)
	for name, c := range map[string]struct {
		answer []any
		says   string
	}{
		"another question's":        {[]any{int32(2), fine, int32(1), int16(11), fine, int16(5)}, "it answers request 2"},
		"an error":                  {[]any{asked, int16(35), int32(0)}, "version not supported"},
		"nothing":                   {[]any{asked}, "cut short"},
		"no request":                {[]any{asked, fine, int32(0)}, "cut short"},
		"one request of two":        {[]any{asked, fine, int32(2), int16(11), fine, int16(5)}, "cut short"},
		"half a request":            {[]any{asked, fine, int32(1), int16(11), fine}, "cut short"},
		"not Kafka's":               {[]any{int16(21)}, "does not speak Kafka's protocol"},
		"a list of negative length": {[]any{asked, fine, int32(-1)}, "cut short"},
	} {
		can, err := Kafka{Brokers: "broker:9092", Dial: answering(c.answer...)}.ask(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "broker:9092") {
			t.Errorf("%s: %v, %v, want an error that says %q", name, can, err, c.says)
		}
	}
	can, err := Kafka{Brokers: "broker:9092", Dial: answering(asked, fine, int32(2), int16(11), fine, int16(5), int16(28), fine, int16(3))}.ask(t.Context())
	if err != nil || can[joinGroup] != 5 || can[txnOffsetCommit] != 3 {
		t.Errorf("a whole one: %v, %v", can, err)
	}
}

func TestWhoHasPartitionsIsReadFromTheGroup(t *testing.T) {
	t.Parallel()
	assignment := func(fields ...any) []any { // as the members' own
		bytes := encode(fields...)
		return []any{int32(len(bytes)), bytes}
	}
	member := func(assigned []any) []any {
		return append([]any{"member", "client", "/127.0.0.1", int32(2), []byte{7, 7}}, assigned...)
	}
	group := func(state string, members ...[]any) []any {
		answer := []any{int32(1), int32(1), int16(0), "group", state, "consumer", "cooperative-sticky", int32(len(members))}
		for _, m := range members {
			answer = append(answer, m...)
		}
		return answer
	}
	two := member(assignment(int16(0), int32(2), "other", int32(1), int32(7), "topic", int32(2), int32(1), int32(3), int32(-1)))
	none, empty := member(assignment()), member(assignment(int16(0), int32(0), int32(-1)))
	for name, c := range map[string]struct {
		answer []any
		says   string
	}{
		"a rebalance":        {group("PreparingRebalance", two), "is PreparingRebalance"},
		"no members":         {group("Stable", two)[:7], "cut short"},
		"half a member":      {group("Stable", two)[:10], "cut short"},
		"half an assignment": {group("Stable", member(assignment(int16(0), int32(1), "topic", int32(2), int32(1)))), "cut short"},
		"a refusal":          {[]any{int32(1), int32(1), int16(30), "group", "", "", "", int32(0)}, "Group authorization failed"},
	} {
		if _, err := askingCoordinator(coordinator, c.answer).shared(t.Context(), "topic"); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an error that says %q", name, err, c.says)
		}
	}
	if _, err := askingCoordinator(coordinator[:4], group("Stable", two)).shared(t.Context(), "topic"); err == nil || !strings.Contains(err.Error(), "cut short") {
		t.Errorf("half a coordinator: %v", err)
	}
	if got, err := askingCoordinator(coordinator, group("Stable", none, two, empty)).shared(t.Context(), "topic"); err != nil || len(got) != 2 || got[0] != 1 || got[1] != 3 {
		t.Errorf("%v, %v; want 1 and 3", got, err)
	}
}

// coordinator is the answer to who coordinates the group.
var coordinator = coordinates(0, 1, "coordinator", 9093)

// coordinates answers who does.
func coordinates(code int16, node int32, host string, port int32) []any {
	return []any{int32(1), int32(0), code, int16(-1), node, host, port}
}

// askingCoordinator is a handler whose brokers answer so, the one among them that is said to coordinate its group with this.
func askingCoordinator(found, answer []any) *Handler {
	broker, coordinator := answering(found...), answering(answer...)
	return &Handler{exactlyOnce: true, cfg: Config{Group: "group", Kafka: Kafka{Brokers: "broker:9092", Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == "coordinator:9093" {
			return coordinator(ctx, network, address)
		}
		return broker(ctx, network, address)
	}}}}
}

// listening notes what was sent last.
type listening struct {
	net.Conn
	sent *[]byte
}

func (l listening) Write(b []byte) (int, error) {
	*l.sent = b
	return l.Conn.Write(b)
}

// A broker that is not named, and one that knows more than the first to answer, are asked too.
func TestTheCoordinatorIsFoundByWhicheverBrokerKnowsIt(t *testing.T) {
	t.Parallel()
	unsure, sure := answering(coordinates(15, -1, "", -1)...), answering(coordinator...)
	h := &Handler{cfg: Config{Group: "group", Kafka: Kafka{Brokers: "gone:9092,unsure:9092", Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		switch address {
		case "unsure:9092":
			return unsure(ctx, network, address)
		case "unnamed:9092":
			return sure(ctx, network, address)
		}
		return nil, &net.DNSError{Name: "gone", IsNotFound: true}
	}}}}
	if found, err := h.coordinator(t.Context()); err == nil || !strings.Contains(err.Error(), "no host gone") || !strings.Contains(err.Error(), "Coordinator not available") {
		t.Errorf("%q, %v", found, err)
	}
	h.known.Store(&[]string{"unsure:9092", "unnamed:9092"})
	if found, err := h.coordinator(t.Context()); err != nil || found != "coordinator:9093" {
		t.Errorf("%q, %v", found, err)
	}
}

// A broker that is cut off from the others is the first to answer, and takes itself for the coordinator that it was.
func TestMostBrokersSayWhoCoordinates(t *testing.T) {
	t.Parallel()
	itself := coordinates(0, 2, "cut-off", 9092)
	elsewhere := coordinates(0, 1, "other-listener", 9094)
	for name, c := range map[string]struct {
		second, third []any
		found, says   string
	}{
		"one of three":               {coordinator, coordinator, "coordinator:9093", ""},
		"one of three, by listeners": {elsewhere, elsewhere, "other-listener:9094", ""},
		"one of two that answer":     {coordinator, nil, "", "the brokers name different ones, coordinator:9093 and cut-off:9092"},
		"the only one that answers":  {nil, nil, "cut-off:9092", ""},
		"one beside one that is not": {coordinates(15, -1, "", -1), nil, "cut-off:9092", ""},
	} {
		first := make(chan struct{})
		h := &Handler{cfg: Config{Group: "group", Kafka: Kafka{Brokers: "cut-off:9092,second:9092,third:9092", Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			answer := map[string][]any{"cut-off:9092": itself, "second:9092": c.second, "third:9092": c.third}[address]
			if address == "cut-off:9092" {
				defer close(first)
			} else {
				<-first
			}
			if answer == nil {
				return nil, &net.DNSError{Name: "gone", IsNotFound: true}
			}
			return answering(answer...)(ctx, network, address)
		}}}}
		if found, err := h.coordinator(t.Context()); found != c.found || c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %q, %v", name, found, err)
		}
	}
}

// A broker that is named by another name than its own, as by a load balancer's, counts once.
func TestNamedBrokersAreAskedForTheCoordinatorWhereNoOtherAnswers(t *testing.T) {
	t.Parallel()
	itself := coordinates(0, 2, "cut-off", 9092)
	var away atomic.Bool
	h := &Handler{cfg: Config{Group: "group", Kafka: Kafka{Brokers: "balancer:9092,cut-off:9092", Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		switch {
		case address == "balancer:9092" || address == "cut-off:9092" && !away.Load():
			return answering(itself...)(ctx, network, address)
		case away.Load():
			return nil, &net.DNSError{Name: "gone", IsNotFound: true}
		}
		return answering(coordinator...)(ctx, network, address)
	}}}}
	h.known.Store(&[]string{"cut-off:9092", "second:9092", "third:9092"})
	if found, err := h.coordinator(t.Context()); err != nil || found != "coordinator:9093" {
		t.Errorf("%q, %v", found, err)
	}
	away.Store(true)
	if found, err := h.coordinator(t.Context()); err != nil || found != "cut-off:9092" {
		t.Errorf("where the others are away: %q, %v", found, err)
	}
}

// Offsets that were not understood would be taken for none, and commands be skipped or handled from the log's beginning.
func TestOffsetsAreReadFromTheCoordinatorsAnswer(t *testing.T) {
	t.Parallel()
	partition := func(number int32, offset int64, code int16) []any {
		return []any{number, offset, int32(-1), []byte{0}, code, []byte{0}} // no leader's epoch, nothing noted, no tagged fields
	}
	const asked, unhurried, fine = int32(1), int32(0), int16(0)
	answer := func(partitions ...[]any) []any {
		all := []any{asked, []byte{1, 9, 2, 7, 7}, unhurried, []byte{2, 6}, []byte("topic"), []byte{byte(len(partitions) + 1)}} // one tagged field
		for _, p := range partitions {
			all = append(all, p...)
		}
		return append(all, []byte{0}, fine, []byte{0})
	}
	var sent []byte
	read := func(found, answer []any) ([]kafka.TopicPartition, error) {
		l := &lane{h: askingCoordinator(found, answer), topic: topic{name: "topic"}}
		dial := l.h.cfg.Kafka.Dial
		l.h.cfg.Kafka.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return listening{conn, &sent}, err
		}
		address, err := l.h.coordinator(t.Context())
		if err != nil {
			return nil, err
		}
		return l.groupsOffsets(t.Context(), address, []kafka.TopicPartition{l.at(3, kafka.OffsetInvalid), l.at(4, kafka.OffsetInvalid)}, true)
	}
	want := kmsg.NewPtrOffsetFetchRequest()
	want.SetVersion(offsetFetch.version)
	want.Group, want.RequireStable = "group", true
	want.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "topic", Partitions: []int32{3, 4}}}
	body := want.AppendTo(nil)
	noted := partition(4, 1<<40, 0)
	noted[3] = []byte{3, 'h', 'i'}
	committed, err := read(coordinator, answer(partition(3, -1, 0), noted))
	if err != nil || len(committed) != 2 || committed[0].Partition != 3 || committed[0].Offset != -1 || committed[1].Partition != 4 || committed[1].Offset != 1<<40 {
		t.Errorf("%v, %v", committed, err)
	}
	if !bytes.HasSuffix(sent, body) {
		t.Errorf("it asks %x, want %x", sent, body)
	}
	committed, err = read(coordinator, answer(partition(3, -1, 29), partition(4, 5, 0)))
	if err != nil || committed[0].Error == nil || committed[1].Error != nil {
		t.Errorf("one partition is refused: %v, %v", committed, err)
	}
	committed, err = read(coordinator, answer(partition(3, -1, 88), partition(4, 5, 0)))
	if err != nil || !isKafka(committed[0].Error, kafka.ErrUnstableOffsetCommit) {
		t.Errorf("a transaction is not ended yet: %v, %v", committed, err)
	}
	whole := answer(partition(3, 7, 0), partition(4, 8, 0))
	for name, c := range map[string]struct {
		answer []any
		says   string
	}{
		"another question's": {append([]any{int32(2)}, whole[1:]...), "it answers request 2"},
		"nothing":            {whole[:1], "cut short"},
		"half a partition":   {whole[:8], "cut short"},
		"no error code":      {whole[:len(whole)-2], "cut short"},
		"a huge length":      {append(whole[:3:3], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}), "cut short"},
		"a refusal":          {[]any{asked, []byte{0}, unhurried, []byte{1}, int16(16), []byte{0}}, "Not coordinator"},
	} {
		if offsets, err := read(coordinator, c.answer); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, %v, want an error that says %q", name, offsets, err, c.says)
		}
	}
}

func TestAPlaceInTheGroupIsGivenUp(t *testing.T) {
	t.Parallel()
	want := kmsg.NewPtrLeaveGroupRequest()
	want.SetVersion(leaveGroup.version)
	want.Group = "group"
	member := kmsg.NewLeaveGroupRequestMember()
	member.InstanceID = kmsg.StringPtr("group-1-cmt")
	want.Members = append(want.Members, member)
	const asked, unhurried, fine = int32(1), int32(0), int16(0)
	of := func(code, member int16) []any {
		return []any{asked, unhurried, code, int32(1), "", "group-1-cmt", member}
	}
	for name, c := range map[string]struct {
		answer []any
		says   string
	}{
		"it is given up":      {of(fine, fine), ""},
		"it was nobody's":     {of(fine, 25), ""},
		"another coordinates": {of(16, fine), "Not coordinator"},
		"it is not ours":      {of(fine, 82), "fenced"},
		"the answer is cut":   {of(fine, fine)[:4], "cut short"},
	} {
		var sent []byte
		h := askingCoordinator(coordinator, c.answer)
		dial := h.cfg.Kafka.Dial
		h.cfg.Kafka.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return listening{conn, &sent}, err
		}
		err := h.leaveGroup(t.Context(), "coordinator:9093", "group-1-cmt")
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.HasSuffix(sent, want.AppendTo(nil)) {
			t.Errorf("it asks %x, want %x", sent, want.AppendTo(nil))
		}
	}
}

// A broker that swallows what it is sent holds up nobody who asks others as well.
func TestOneBrokerThatAnswersIsEnough(t *testing.T) {
	t.Parallel()
	answers := answering(int32(1), int16(0), int32(0))
	link := newLink(slog.New(slog.DiscardHandler), Kafka{Brokers: "silent:9092, broker:9092", Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == "broker:9092" {
			return answers(ctx, network, address)
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	defer link.close()
	link.goes()
	if err := link.reaches(t.Context()); err != nil {
		t.Error(err)
	}

	link.kafka.Brokers = "silent:9092"
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := link.reaches(ctx); err == nil || !strings.Contains(err.Error(), "silent:9092") {
		t.Errorf("no broker answers, and it says %v", err)
	}
	link.tried = link.tried.Add(-2 * time.Minute)
	if err := link.reaches(ctx); err != nil {
		t.Errorf("after a while the client is to try: %v", err)
	}
	if err := link.reaches(ctx); err == nil {
		t.Error("the client is to try again at once")
	}
}
