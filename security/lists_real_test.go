//go:build realkafka

package security

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/realkafka"
)

// certificate is the CN that a program has in the tests.
func certificate(program string) string {
	return strings.NewReplacer(" ", "-", ",", "").Replace(program)
}

// authorized is a world whose brokers refuse what no list allows.
type authorized struct {
	*world
	cluster *realkafka.Cluster
	admin   *kadm.Client
	entries []entry
	letter  int // the offset that the last made-up dead letter names
}

func newAuthorized(t *testing.T) *authorized {
	t.Helper()
	a := &authorized{world: &world{t: t}, entries: lists(t)}
	clients := []string{realkafka.Admin}
	for _, e := range a.entries {
		if name := certificate(e.program); name != clients[len(clients)-1] {
			clients = append(clients, name)
		}
	}
	bank, err := realkafka.StartBank(t.Context(), realkafka.BankConfig{Kafka: realkafka.Config{Clients: clients, Authorize: true, Brief: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bank.Stop(context.Background()); err != nil { // t's context is done
			t.Error(err)
		}
	})
	a.cluster = bank.Kafka
	a.brokers, a.registry, a.database = bank.Kafka.Addresses(), bank.Registry.URL(), bank.Postgres.URL("")
	a.reach(bank.Certificate(realkafka.Admin))
	a.admin = kadm.NewClient(a.client)
	return a
}

func (a *authorized) as(program string) []string {
	return append(a.environment(a.cluster.Certificates().Files(certificate(program))), "LOG_LEVEL=debug")
}

func (a *authorized) give(entries ...entry) {
	a.t.Helper()
	for _, e := range entries {
		made, err := a.admin.CreateACLs(a.t.Context(), e.builder(certificate(e.program)))
		if err == nil && len(made) == 1 {
			err = made[0].Err
		}
		if err != nil || len(made) != 1 {
			a.t.Fatalf("giving %s: %v, %v", e, made, err)
		}
	}
}

func (a *authorized) take(e entry) {
	a.t.Helper()
	gone, err := a.admin.DeleteACLs(a.t.Context(), e.builder(certificate(e.program)))
	if err != nil || len(gone) != 1 || gone[0].Err != nil || len(gone[0].Deleted) != 1 {
		a.t.Fatalf("taking %s: %+v, %v", e, gone, err)
	}
}

// garbage is a record that becomes a dead letter.
func garbage(topic string) *kgo.Record {
	return &kgo.Record{Topic: topic, Key: []byte("garbage"), Value: []byte("garbage")}
}

func (a *authorized) work() {
	for range 20 {
		a.send(a.creation(), a.deposit(), garbage(creations), garbage(transfers))
	}
}

// refusals is what librdkafka and franz-go say of a resource that they may not use, in small letters.
var refusals = map[string]string{"Group": "group authorization failed", "TransactionalId": "transactional id authorization failed", "Topic": "topic authorization failed"}

func TestTheHandlerNeedsEachEntryOfItsList(t *testing.T) {
	t.Parallel()
	a := newAuthorized(t)
	needed := of(a.entries, "command-handler")
	a.give(needed...)
	env := append(a.as("command-handler"), "DELIVERY=exactly-once")
	h := a.start("command-handler", env)
	a.work()
	if all := a.settled(); all.DeadLetters != 40 || all.Commands != 40 {
		t.Fatalf("%d commands, %d dead letters", all.Commands, all.DeadLetters)
	}
	without := func(e entry, when string, log func() string) {
		t.Helper()
		a.work()
		eventually(t, fmt.Sprintf("%s without %s it says what is lacking", when, e), reasonable, func() error { return warned(log(), refusals[e.resource]) })
		if !h.Running() {
			t.Fatalf("%s without %s it does not wait: %s", when, e, log())
		}
		a.give(e)
		a.settled()
	}
	for _, e := range needed {
		before := len(h.text())
		a.take(e)
		without(e, "at work", func() string { return h.text()[before:] })
		h.stop()
		a.take(e)
		h = a.start("command-handler", env)
		without(e, "at its start", h.text)
	}
	h.stop()

	for _, e := range needed {
		if e.resource == "TransactionalId" {
			a.take(e)
		}
	}
	h = a.start("command-handler", append(a.as("command-handler"), "DELIVERY=at-least-once"))
	a.work()
	a.settled()
	h.stop()
}

// warned wants a warning with the text.
func warned(log, text string) error {
	for _, line := range strings.Split(log, "\n") {
		if strings.Contains(line, "level=WARN") && strings.Contains(strings.ToLower(line), text) {
			return nil
		}
	}
	return fmt.Errorf("no warning of %q", text)
}

func TestTheToolsWorkWithTheirLists(t *testing.T) {
	t.Parallel()
	a := newAuthorized(t)
	a.give(of(a.entries, "command-handler")...)
	h := a.start("command-handler", a.as("command-handler"))
	a.work()
	a.settled()
	const within = "--timeout=10s"
	for _, tool := range []struct {
		program string
		work    func(env []string) (string, error)
	}{
		{"open-bank account, transfer", func(env []string) (string, error) {
			if said, err := a.run("open-bank", env, "account", within); err != nil {
				return said, err
			}
			return a.run("open-bank", env, "transfer", "--from=cash", "--to=NL66OPEN0000000000", "--amount=5", within)
		}},
		{"open-bank check", func(env []string) (string, error) { return a.run("open-bank", env, "check", within) }},
		{"open-bank dead-letters", a.letters},
		{"synchronizer", func(env []string) (string, error) {
			if _, err := a.admin.DeleteTopics(t.Context(), "heartbeat"); err != nil {
				t.Fatal(err)
			}
			return a.run("synchronizer", env, "apply", within)
		}},
	} {
		needed, env := of(a.entries, tool.program), a.as(tool.program)
		a.give(needed...)
		if said, err := tool.work(env); err != nil {
			t.Errorf("%s: %v: %s", tool.program, err, said)
		}
		for _, e := range needed {
			a.take(e)
			if said, err := tool.work(env); err == nil && !strings.Contains(said, "Not compared: ") { // that is said, and no failure
				t.Errorf("%s does not need %s: %s", tool.program, e, said)
			} else {
				t.Logf("without %s: %s", e, said)
			}
			a.give(e)
		}
	}
	h.stop()
}

// letters lists and shows the dead letters that there are, and replays two whose cause is mended.
func (a *authorized) letters(env []string) (string, error) {
	mended := []*kgo.Record{a.creation(), a.deposit()}
	for _, r := range mended {
		a.letter++ // of two of one record one would be left out
		for _, h := range []string{"reason", "mended", "topic", r.Topic, "partition", "0", "offset", strconv.Itoa(a.letter), "timestamp", "0"} {
			if n := len(r.Headers); n > 0 && r.Headers[n-1].Value == nil {
				r.Headers[n-1].Value = []byte(h)
			} else {
				r.Headers = append(r.Headers, kgo.RecordHeader{Key: "dead-letter-" + h})
			}
		}
		r.Topic += deadLetter
	}
	mended = a.send(mended...)
	args := []string{"dead-letters", "replay", "--yes", "--wait=5s", "--timeout=10s"}
	for _, r := range mended {
		position := fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset)
		args = append(args, position)
		if said, err := a.run("open-bank", env, "dead-letters", "show", position, "--timeout=10s"); err != nil {
			return said, err
		}
	}
	if said, err := a.run("open-bank", env, "dead-letters", "list", "--timeout=10s"); err != nil {
		return said, err
	}
	return a.run("open-bank", env, args...)
}

// builder is the entry as kadm has it, for a principal that is a certificate's CN.
func (e entry) builder(cn string) *kadm.ACLBuilder {
	b := kadm.NewACLs().Operations(e.operation).Allow("User:CN=" + cn).AllowHosts("*")
	switch e.resource {
	case "Topic":
		b.Topics(e.name)
	case "Group":
		b.Groups(e.name)
	case "TransactionalId":
		b.TransactionalIDs(e.name)
	case "Cluster":
		b.Clusters()
	}
	if e.pattern == "Prefixed" {
		return b.ResourcePatternType(kadm.ACLPatternPrefixed)
	}
	return b.ResourcePatternType(kadm.ACLPatternLiteral)
}
