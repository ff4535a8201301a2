package handler_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"openbank/audit"
	"openbank/bank"
	"openbank/connect"
	"openbank/embedded"
	"openbank/process"
	"openbank/registry"
	"openbank/topology"
)

// handlerBinary is the command-handler as it is built for users, with the race detector unless times are measured.
var handlerBinary string

func TestMain(m *testing.M) {
	flag.Parse()
	for _, fuzzing := range []string{"test.fuzz", "test.fuzzworker"} {
		if f := flag.Lookup(fuzzing); f.Value.String() != f.DefValue {
			os.Exit(m.Run()) // each worker comes by here, and needs no handler
		}
	}
	if !given("test.parallel") { // its tests wait, most of the time
		if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
			panic(err)
		}
	}
	dir, err := os.MkdirTemp("", "handler-test-")
	if err != nil {
		panic(err)
	}
	handlerBinary = filepath.Join(dir, "command-handler")
	build := exec.Command("go", append(append([]string{"build"}, buildFlags...), "-o", handlerBinary, "openbank/cmd/command-handler")...)
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building the command handler:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// given says whether a flag stands on the command line.
func given(name string) (is bool) {
	flag.Visit(func(f *flag.Flag) { is = is || f.Name == name })
	return is
}

// bundle is a bank of its own for one test.
type bundle struct {
	t        *testing.T
	bank     *servers
	kafka    connect.Kafka
	registry *registry.Client
	codec    *connect.Codec
	client   *kgo.Client // produces to the command topics
	logs     string      // directory of the handlers' logs

	mu       sync.Mutex
	handlers int
}

func setup(t *testing.T) *bundle {
	t.Helper()
	return setupWith(t, embedded.Config{})
}

func setupWith(t *testing.T, config embedded.Config) *bundle {
	t.Helper()
	surroundings, err := startServers(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	// t.Context is done when the clean-up runs.
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := surroundings.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	b := &bundle{t: t, bank: surroundings, logs: t.TempDir()}
	env := surroundings.Environment()
	b.kafka = connect.Kafka{
		Brokers: strings.Split(value(env, "KAFKA_BROKERS"), ","),
		SSLCA:   value(env, "KAFKA_SSL_CA_LOCATION"), SSLCert: value(env, "KAFKA_SSL_CERT_LOCATION"),
		SSLKey: value(env, "KAFKA_SSL_KEY_LOCATION"), SSLKeyPassword: value(env, "KAFKA_SSL_KEY_PASSWORD"), SSLVerifyHostname: true,
	}
	if b.registry, err = (connect.Registry{URLs: []string{value(env, "SCHEMA_REGISTRY_URL")}}).Client(slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.registry.Close)
	b.codec = connect.NewCodec(b.registry)
	if b.client, err = b.kafka.Client("test", kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), kgo.MaxBufferedRecords(200000)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.client.Close)
	return b
}

func value(env []string, name string) string {
	for _, e := range env {
		if k, v, _ := strings.Cut(e, "="); k == name {
			return v
		}
	}
	return ""
}

// synchronize makes the topics and registers the schemas.
func (b *bundle) synchronize() {
	b.t.Helper()
	want, err := topology.Default()
	if err != nil {
		b.t.Fatal(err)
	}
	target := &topology.Target{Kafka: b.client, Registry: b.registry, Brokers: len(b.kafka.Brokers), Logger: slog.New(slog.DiscardHandler)}
	plan, err := target.Plan(b.t.Context(), want)
	if err == nil {
		err = target.Apply(b.t.Context(), plan)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// handler is a running command-handler.
type handler struct {
	*process.Process
	log string
}

// start runs a handler with the bank's environment and more.
func (b *bundle) start(more ...string) *handler {
	b.t.Helper()
	b.mu.Lock()
	b.handlers++
	log := filepath.Join(b.logs, fmt.Sprintf("handler-%d.log", b.handlers))
	b.mu.Unlock()
	file, err := os.Create(log)
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(handlerBinary)
	cmd.Env = append(append([]string{"GORACE=halt_on_error=1", "LOG_LEVEL=debug", "HTTP_ADDRESS=off"}, b.bank.Environment()...), more...)
	cmd.Stdout, cmd.Stderr = file, file
	p, err := process.Start(cmd, syscall.SIGKILL)
	if err != nil {
		b.t.Fatal(err)
	}
	h := &handler{p, log}
	b.t.Cleanup(func() {
		p.Kill()
		_ = file.Close()
		if b.t.Failed() {
			b.t.Logf("the end of %s:\n%s", filepath.Base(log), tail(log, 60))
		}
	})
	return h
}

// stop ends a handler as an operator would, and wants it to end well.
func (b *bundle) stop(h *handler) {
	b.t.Helper()
	b.eventually("it takes signals", reasonableTimeout, h.says("msg=starting"))
	if !h.Stop(b.t.Context(), syscall.SIGTERM, 30*time.Second) {
		b.t.Fatalf("%s does not stop", filepath.Base(h.log))
	}
	if err := h.Err(); err != nil {
		b.t.Errorf("%s: %v", filepath.Base(h.log), err)
	}
}

func (h *handler) text() string {
	text, _ := os.ReadFile(h.log)
	return string(text)
}

func (h *handler) says(text string) func() error {
	return func() error {
		if !strings.Contains(h.text(), text) {
			return fmt.Errorf("%s does not say %q", filepath.Base(h.log), text)
		}
		return nil
	}
}

func tail(file string, lines int) string {
	text, _ := os.ReadFile(file)
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// eventually waits until condition holds, for at most a time that nothing healthy needs.
func (b *bundle) eventually(what string, within time.Duration, condition func() error) {
	b.t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			_, _, line, _ := runtime.Caller(1)
			b.t.Fatalf("line %d: %s: not within %s: %v", line, what, within, err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-b.t.Context().Done():
			b.t.Fatal(b.t.Context().Err())
		}
	}
}

// pass lets what is under way run on for a while.
func (b *bundle) pass(d time.Duration) {
	select {
	case <-time.After(d):
	case <-b.t.Context().Done():
	}
}

const (
	creations         = "confirm_account_creation"
	creationAnswers   = "account_creation_feedback"
	transfers         = "confirm_money_transfer"
	transferAnswers   = "money_transfer_feedback"
	events            = "balance_changed"
	deadLetterSuffix  = ".dead-letter"
	reasonableTimeout = 2 * time.Minute // a rebalance may last for a minute
)

// command is the record of a command.
func (b *bundle) command(message any) *kgo.Record {
	b.t.Helper()
	topic, id := transfers, bank.ID{}
	switch c := message.(type) {
	case *bank.ConfirmAccountCreation:
		topic, id = creations, c.ID
	case *bank.ConfirmMoneyTransfer:
		id = c.ID
	}
	wire, err := b.codec.Encode(b.t.Context(), topic, message)
	if err != nil {
		b.t.Fatal(err)
	}
	return &kgo.Record{Topic: topic, Key: []byte(id.String()), Value: wire}
}

func (b *bundle) send(records ...*kgo.Record) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), reasonableTimeout)
	defer cancel()
	if err := b.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		b.t.Fatal(err)
	}
}

// sealed is a batch with its length and its checksum, each of what follows it.
func sealed(b kmsg.RecordBatch) []byte {
	whole := b.AppendTo(nil)
	b.Length = int32(len(whole) - 12)
	b.CRC = int32(crc32.Checksum(whole[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b.AppendTo(nil)
}

// decode reads a record as the message that it is.
func decode[M any](b *bundle, r *kgo.Record) M {
	b.t.Helper()
	message, err := b.codec.Decode(b.t.Context(), r.Value)
	if err != nil {
		b.t.Fatal(err)
	}
	m, ok := message.(*M)
	if !ok {
		b.t.Fatalf("%s %d@%d is a %T: %+v", r.Topic, r.Partition, r.Offset, message, message)
	}
	return *m
}

func header(r *kgo.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// answered waits until every command is answered, then holds the whole bank to its rules. With repeats, equal answers
// and events may stand there more than once: a handler was killed.
func (b *bundle) answered(within time.Duration, repeats bool) *audit.Report {
	b.t.Helper()
	var report *audit.Report
	b.eventually("the books are right", within, func() (err error) {
		if report, err = b.checked(repeats); err == nil && !report.OK() {
			err = errors.New(describe(report))
		}
		return err
	})
	return report
}

// checked holds the whole bank to its rules, as it is.
func (b *bundle) checked(repeats bool) (*audit.Report, error) {
	evidence, err := audit.ReadTopics(b.t.Context(), b.kafka, b.codec, audit.DefaultTopics(), nil)
	if err == nil {
		err = audit.ReadTables(b.t.Context(), b.bank.Postgres.URL(""), evidence)
	}
	if err != nil {
		return nil, err
	}
	return audit.Check(evidence, audit.Options{AllowRepeats: repeats}), nil
}

func describe(r *audit.Report) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%v", r.Found)
	for i, v := range r.Violations {
		if i == 10 {
			break
		}
		fmt.Fprintf(&text, "\n  %v", v)
	}
	return text.String()
}

// ids makes command ids that are unique in a test and the same in each run.
type ids struct {
	mu   sync.Mutex
	last uint64
}

func (i *ids) next() (id bank.ID) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.last++
	for b := range 8 {
		id[15-b] = byte(i.last >> (8 * b))
	}
	id[0] = byte(i.last * 151) // spreads the keys
	return id
}

// open creates an account and returns it.
func (b *bundle) open(w *watch, id bank.ID) bank.AccountCreationConfirmed {
	b.t.Helper()
	b.send(b.command(&bank.ConfirmAccountCreation{ID: id, Type: bank.Manual}))
	return decode[bank.AccountCreationConfirmed](b, w.wait(creationAnswers, id.String(), 1)[0])
}

func (h *handler) lines() []string { return strings.Split(strings.TrimSpace(h.text()), "\n") }
