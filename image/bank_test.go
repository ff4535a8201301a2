//go:build docker

package image

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/audit"
	"openbank/bank"
	"openbank/predecessor"
	"openbank/realkafka"
)

const (
	// memory is what the stack gives to its handler.
	memory   = "300m"
	accounts = 20
	commands = 2000
	// stopWithin is how long Docker waits after SIGTERM until it kills.
	stopWithin = 10 * time.Second
	patience   = 3 * time.Minute // far more than any of it takes on a machine with nothing else to do
)

// TestTheImageTakesTheOldOnesPlace starts the handler's image as the stack starts its handlers, with the environment of one of the
// two before it, on that one's tables, against real brokers that have a CN and no other names.
func TestTheImageTakesTheOldOnesPlace(t *testing.T) {
	for name, c := range map[string]struct {
		kafka  realkafka.Config
		layout predecessor.Layout
		tls    []string
	}{
		"of the Rust handler":                            {realkafka.Config{CNOnly: true}, predecessor.Rust, pemFiles},
		"of the Clojure handler, with Java's key stores": {realkafka.Config{CNOnly: true}, predecessor.Clojure, keyStores},
		"of the Rust handler, beside the Kafka of 2019":  {realkafka.Config{CNOnly: true, Version: realkafka.Old}, predecessor.Rust, pemFiles},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t, c.kafka, c.layout)
			environment := append(b.environment(), c.tls...)
			b.synchronize(environment)
			handler := b.start(append(environment, b.database()...))
			b.send()
			report := b.answered()
			t.Logf("%d commands in %d records, %d confirmed, %d rejected, %d events; memory %s", report.Commands, report.Deliveries, report.Confirmed, report.Rejected, report.Events,
				mustDocker(t, "stats", "--no-stream", "--format", "{{.MemUsage}}", handler))
			if report.Commands != accounts+commands || report.Duplicates == 0 || report.Rejected == 0 {
				t.Errorf("the commands were to be %d, some again and some rejected: %+v", accounts+commands, report)
			}
			b.stop(handler)
			log := mustDocker(t, "logs", handler)
			if fenced := !strings.Contains(log, "delivery is at-least-once"); fenced != (c.kafka.Version != realkafka.Old) {
				t.Errorf("the brokers of 2019 alone can't fence a handler, and the handler has to say so:\n%s", log)
			}
		})
	}
}

var (
	pemFiles = []string{
		"KAFKA_SSL_CA_LOCATION=/etc/kafka/secrets/ca-root.crt", "KAFKA_SSL_CERT_LOCATION=/etc/kafka/secrets/command-handler-signed.pem",
		"KAFKA_SSL_KEY_LOCATION=/etc/kafka/secrets/command-handler.key", "KAFKA_SSL_KEY_PASSWORD=openbanksafe",
	}
	keyStores = []string{
		"SSL_KEYSTORE_LOCATION=kafka.command-handler.keystore.jks", "SSL_TRUSTSTORE_LOCATION=kafka.command-handler.truststore.jks", "SSL_PASSWORD=openbanksafe",
	}
)

// synchronize makes topics and schemas, with the image for it. A plan, and another start of the stack, find nothing to do then.
func (b *bundle) synchronize(environment []string) {
	b.t.Helper()
	run := append(append([]string{"run", "--rm"}, b.options(environment)...), tag("synchronizer"))
	b.t.Log(mustDocker(b.t, run...))
	for _, args := range [][]string{{"plan"}, nil} {
		if said := mustDocker(b.t, append(slices.Clone(run), args...)...); !strings.Contains(said, "Nothing to do") {
			b.t.Errorf("%q says %s", args, said)
		}
	}
}

// start runs the handler's image and returns the container.
func (b *bundle) start(environment []string) string {
	b.t.Helper()
	args := append([]string{"run", "--detach", "--read-only", "--memory", memory}, b.options(environment)...)
	container := mustDocker(b.t, append(args, tag("command-handler"))...)
	b.t.Cleanup(func() {
		if b.t.Failed() {
			log, err := docker("logs", "--tail", "40", container)
			b.t.Logf("the handler's log: %s, %v", log, err)
		}
		mustDocker(b.t, "rm", "--force", container)
	})
	return container
}

// stop has Docker stop the container, and wants it to end by itself and well.
func (b *bundle) stop(container string) {
	b.t.Helper()
	began := time.Now()
	mustDocker(b.t, "stop", "--time", fmt.Sprint(int(stopWithin.Seconds())), container)
	took := time.Since(began)
	b.t.Logf("stopped in %s", took)
	if state := mustDocker(b.t, "inspect", "--format", "status {{.State.ExitCode}}, out of memory {{.State.OOMKilled}}", container); state != "status 0, out of memory false" || took >= stopWithin {
		b.t.Errorf("it ended after %s with %s", took, state)
	}
}

// send opens accounts and, when they are there, has money sent between them: some of it twice, some that isn't there.
func (b *bundle) send() {
	b.t.Helper()
	var creations []*kgo.Record
	for range accounts {
		id := newID()
		creations = append(creations, b.record("confirm_account_creation", id, &bank.ConfirmAccountCreation{ID: id, Type: bank.Auto}))
	}
	b.produce(creations)
	opened := b.opened()
	var transfers []*kgo.Record
	for i := range commands {
		id, from, to := newID(), opened[i%accounts], opened[rand.IntN(accounts)]
		transfer := &bank.ConfirmMoneyTransfer{ID: id, Token: from.Token, Amount: 1 + rand.Int64N(20000), From: from.IBAN, To: to.IBAN, Description: "from container to container"}
		if i < accounts {
			transfer.From, transfer.Token = bank.Cash, "cash"
		}
		record := b.record("confirm_money_transfer", id, transfer)
		transfers = append(transfers, record)
		if i%20 == 0 {
			again := *record
			transfers = append(transfers, &again)
		}
	}
	b.produce(transfers)
}

// opened waits for the accounts.
func (b *bundle) opened() []*bank.AccountCreationConfirmed {
	b.t.Helper()
	client, err := b.kafka.Client("test-reader", kgo.ConsumeTopics("account_creation_feedback"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer client.Close()
	var opened []*bank.AccountCreationConfirmed
	for len(opened) < accounts {
		fetched := client.PollFetches(b.ctx)
		if err := fetched.Err(); err != nil {
			b.t.Fatalf("%d of %d accounts are open: %v", len(opened), accounts, err)
		}
		fetched.EachRecord(func(r *kgo.Record) {
			message, err := b.codec.Decode(b.ctx, r.Value)
			if err != nil {
				b.t.Fatal(err)
			}
			account, ok := message.(*bank.AccountCreationConfirmed)
			if !ok {
				b.t.Fatalf("the answer is %+v", message)
			}
			opened = append(opened, account)
		})
	}
	return opened
}

// answered waits until topics and tables, read from outside, tell one story.
func (b *bundle) answered() *audit.Report {
	b.t.Helper()
	for {
		report, err := b.audit()
		if err == nil {
			return report
		}
		select {
		case <-b.ctx.Done():
			b.t.Fatalf("the books are not right: %v", err)
		case <-time.After(100 * time.Millisecond): // between two looks
		}
	}
}

func (b *bundle) audit() (*audit.Report, error) {
	evidence, err := audit.ReadTopics(b.ctx, b.kafka, b.codec, audit.DefaultTopics(), nil)
	if err == nil {
		err = audit.ReadTables(b.ctx, b.postgres.URL(""), evidence)
	}
	if err != nil {
		return nil, err
	}
	report := audit.Check(evidence, audit.Options{})
	if report.OK() {
		return report, nil
	}
	var text strings.Builder
	for _, violation := range report.Violations {
		fmt.Fprintln(&text, violation)
	}
	return nil, errors.New(text.String())
}
