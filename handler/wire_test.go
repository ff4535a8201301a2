package handler

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"
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
		"an error":                  {[]any{asked, int16(35), int32(0)}, "error code 35"},
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
		"a refusal":          {[]any{int32(1), int32(1), int16(30), "group", "", "", "", int32(0)}, "error code 30"},
	} {
		if _, err := shares(t, coordinator, c.answer); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an error that says %q", name, err, c.says)
		}
	}
	if _, err := shares(t, coordinator[:4], group("Stable", two)); err == nil || !strings.Contains(err.Error(), "cut short") {
		t.Errorf("half a coordinator: %v", err)
	}
	if got, err := shares(t, coordinator, group("Stable", none, two, empty)); err != nil || len(got) != 2 || got[0] != 1 || got[1] != 3 {
		t.Errorf("%v, %v; want 1 and 3", got, err)
	}
}

// coordinator is the answer to who coordinates the group.
var coordinator = []any{int32(1), int16(0), int32(1), "coordinator", int32(9093)}

// shares reads a description of the group, which the broker has that is said to coordinate it.
func shares(t *testing.T, coordinator, description []any) ([]int32, error) {
	t.Helper()
	found, described := answering(coordinator...), answering(description...)
	h := &Handler{cfg: Config{Group: "group", Kafka: Kafka{Brokers: "broker:9092", Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == "coordinator:9093" {
			return described(ctx, network, address)
		}
		return found(ctx, network, address)
	}}}}
	return h.shared(t.Context(), "topic")
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
