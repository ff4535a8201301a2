package handler_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"openbank/bank"
)

// A handler that is started before anything else is there waits, with a line for each thing it waits for.
func TestAHandlerWaitsForWhatIsNotThereYet(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, stop := range []func(context.Context) error{b.bank.Kafka.Stop, b.bank.Registry.Stop, b.bank.Postgres.Stop} {
		if err := stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	h := b.start("LOG_LEVEL=info")
	b.eventually("it waits for Postgres", reasonableTimeout, h.says("Postgres"))
	if err := b.bank.Postgres.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.eventually("it waits for Kafka", reasonableTimeout, h.says("no answer from Kafka"))
	if err := b.bank.Kafka.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.eventually("it waits for the topics", reasonableTimeout, h.says("topics are missing"))
	if err := b.bank.Registry.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.synchronize()
	b.open(b.watch(creationAnswers), bank.ID{15: 1})
	b.stop(h)
	if lines := len(h.lines()); lines > 30 {
		t.Errorf("%d lines were logged: %s", lines, h.text())
	}
}

// A handler that is stopped while it waits ends at once and well.
func TestAHandlerThatWaitsCanBeStopped(t *testing.T) {
	t.Parallel()
	b := setup(t)
	h := b.start() // no topics
	b.eventually("it waits for the topics", reasonableTimeout, h.says("topics are missing"))
	b.stop(h)
	if err := b.bank.Postgres.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	h = b.start()
	b.eventually("it waits for Postgres", reasonableTimeout, h.says("Postgres"))
	b.stop(h)
}

// What waiting can't mend ends the handler with status 1 and a sentence that names the setting or subject.
func TestWhatWaitingDoesNotMendIsSaidAndEndsTheHandler(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	wrong := b.bank.Postgres.URL("nosuchbank")
	for name, c := range map[string]struct{ env, says string }{
		"a database that is not there": {"DATABASE_URL=" + wrong, "DATABASE_URL"},
		"a key password that is wrong": {"KAFKA_SSL_KEY_PASSWORD=wrong", "KAFKA_SSL_"},
		"a key file that is not there": {"KAFKA_SSL_KEY_LOCATION=/nowhere.key", "KAFKA_SSL_KEY_LOCATION"},
		"a password without a key":     {"KAFKA_SSL_KEY_LOCATION=", "KAFKA_SSL_KEY_LOCATION"},
	} {
		h := b.start(c.env)
		b.ends(name, h, c.says)
	}
	// A schema that lacks a field of ours: readers of the subject would not get what they were promised.
	b.register("balance_changed-nl.openweb.data.BalanceChanged",
		`{"type":"record","name":"BalanceChanged","namespace":"nl.openweb.data","fields":[{"name":"iban","type":"string"}]}`)
	h := b.start()
	b.ends("a subject with another schema", h, "balance_changed-nl.openweb.data.BalanceChanged")
}

func (b *bundle) ends(name string, h *handler, says string) {
	b.t.Helper()
	select {
	case <-h.Exited():
	case <-time.After(reasonableTimeout):
		b.t.Fatalf("%s: the handler goes on", name)
	}
	var status interface{ ExitCode() int }
	if err := h.Err(); !errors.As(err, &status) || status.ExitCode() != 1 {
		b.t.Errorf("%s: ended with %v", name, err)
	}
	if err := h.says(says)(); err != nil {
		b.t.Errorf("%s: %v:\n%s", name, err, tail(h.log, 10))
	}
}
