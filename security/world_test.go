package security

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/audit"
	"openbank/bank"
	"openbank/certs"
	"openbank/connect"
	"openbank/embedded"
	"openbank/process"
	"openbank/registry"
	"openbank/topology"
)

const (
	creations       = "confirm_account_creation"
	creationAnswers = "account_creation_feedback"
	transfers       = "confirm_money_transfer"
	transferAnswers = "money_transfer_feedback"
	deadLetter      = ".dead-letter"

	// maxRecord is the brokers' default for the largest record batch, in bytes.
	maxRecord = 1048588

	// reasonable is a time that nothing healthy needs.
	reasonable = 90 * time.Second
)

// world is a bank's surroundings, as the tests see them.
type world struct {
	t        *testing.T
	brokers  []string
	registry string // URL
	schemas  *registry.Client
	database string // URL, the superuser's
	client   *kgo.Client
	codec    *connect.Codec
	kafka    connect.Kafka
	logs     string
	last     uint64 // command
}

// reach fills in how the tests reach what is there, under an identity that may do everything.
func (w *world) reach(identity certs.Files) {
	w.t.Helper()
	w.kafka = connect.Kafka{
		Brokers: w.brokers, SSLCA: identity.CA, SSLCert: identity.Cert, SSLKey: identity.Key, SSLKeyPassword: identity.Password, SSLVerifyHostname: true,
	}
	var err error
	if w.schemas, err = (connect.Registry{URLs: []string{w.registry}}).Client(slog.New(slog.DiscardHandler)); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.schemas.Close)
	w.codec = connect.NewCodec(w.schemas)
	if w.client, err = w.kafka.Client("test", kgo.ProducerLinger(0), kgo.MaxBufferedRecords(100000), kgo.ProducerBatchMaxBytes(maxRecord),
		kgo.MaxBufferedBytes(64<<20)); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.client.Close)
	want, err := topology.Default()
	if err != nil {
		w.t.Fatal(err)
	}
	target := &topology.Target{Kafka: w.client, Registry: w.schemas, Brokers: len(w.brokers), Logger: slog.New(slog.DiscardHandler)}
	plan, err := target.Plan(w.t.Context(), want)
	if err == nil {
		err = target.Apply(w.t.Context(), plan)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.logs = w.t.TempDir()
}

// environment is how a program gets at everything, with an identity for the brokers.
func (w *world) environment(identity certs.Files) []string {
	return []string{
		"KAFKA_BROKERS=" + strings.Join(w.brokers, ","), "KAFKA_GROUP=command-handler", "SCHEMA_REGISTRY_URL=" + w.registry, "DATABASE_URL=" + w.database,
		"KAFKA_SSL_CA_LOCATION=" + identity.CA, "KAFKA_SSL_CERT_LOCATION=" + identity.Cert,
		"KAFKA_SSL_KEY_LOCATION=" + identity.Key, "KAFKA_SSL_KEY_PASSWORD=" + identity.Password,
	}
}

// newEmbedded is a world in this process, but for Postgres.
func newEmbedded(t *testing.T, config embedded.Config) (*world, *embedded.Bank) {
	t.Helper()
	return newEmbeddedAs(t, config, nil)
}

// newEmbeddedAs is one whose registry wants to know the user.
func newEmbeddedAs(t *testing.T, config embedded.Config, reader *url.Userinfo) (*world, *embedded.Bank) {
	t.Helper()
	around, err := embedded.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := around.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	schemas, err := url.Parse(around.Registry.URL())
	if err != nil {
		t.Fatal(err)
	}
	schemas.User = reader
	w := &world{t: t, brokers: strings.Split(around.Kafka.Addresses(), ","), registry: schemas.String(), database: around.Postgres.URL("")}
	w.reach(around.Certificate("command-handler"))
	return w, around
}

// program is a running command.
type program struct {
	*process.Process
	t   *testing.T
	log string
}

// start runs one of our programs, or another build of it by its path; it ends with the test.
func (w *world) start(name string, env []string, args ...string) *program {
	w.t.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join(binaries, name)
	}
	file, err := os.CreateTemp(w.logs, filepath.Base(name)+"-*.log")
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Env = env
	cmd.Dir = w.logs
	cmd.Stdout, cmd.Stderr = file, file
	started, err := process.Start(cmd, syscall.SIGKILL)
	if err != nil {
		w.t.Fatal(err)
	}
	p := &program{started, w.t, file.Name()}
	w.t.Cleanup(func() {
		p.Kill()
		_ = file.Close()
		if text := strings.Split(p.text(), "\n"); w.t.Failed() {
			w.t.Logf("the end of %s:\n%s", filepath.Base(p.log), strings.Join(text[max(0, len(text)-10):], "\n"))
		}
	})
	return p
}

// run runs one of our programs to its end and returns what it wrote.
func (w *world) run(name string, env []string, args ...string) (string, error) {
	w.t.Helper()
	p := w.start(name, env, args...)
	select {
	case <-p.Exited():
	case <-time.After(reasonable):
		w.t.Fatalf("%s %v does not end: %s", name, args, p.text())
	}
	return p.text(), p.Err()
}

func (p *program) text() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Error(err)
	}
	return string(text)
}

// says says whether the program has written text.
func (p *program) says(text string) func() error {
	return func() error {
		if !strings.Contains(p.text(), text) {
			return fmt.Errorf("%s does not say %q", filepath.Base(p.log), text)
		}
		return nil
	}
}

// stop ends it as an operator would, and wants it to end well.
func (p *program) stop() {
	p.t.Helper()
	if !p.Stop(context.Background(), syscall.SIGTERM, 30*time.Second) {
		p.t.Fatalf("%s does not stop", filepath.Base(p.log))
	}
	if err := p.Err(); err != nil {
		p.t.Errorf("%s: %v", filepath.Base(p.log), err)
	}
}

// eventually waits until condition holds.
func eventually(t *testing.T, what string, within time.Duration, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, within, err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

// id makes ids that are unique in a test.
func (w *world) id() (id bank.ID) {
	w.last++
	for b := range 8 {
		id[15-b] = byte(w.last >> (8 * b))
	}
	id[0] = byte(w.last * 151) // spreads the keys
	return id
}

// creation and deposit are commands' records.
func (w *world) creation() *kgo.Record {
	id := w.id()
	return w.record(creations, id, &bank.ConfirmAccountCreation{ID: id, Type: bank.Manual})
}

func (w *world) deposit() *kgo.Record {
	id := w.id()
	return w.record(transfers, id, &bank.ConfirmMoneyTransfer{ID: id, Amount: 5, From: bank.Cash, To: bank.CompanyIBAN})
}

func (w *world) record(topic string, id bank.ID, message any) *kgo.Record {
	w.t.Helper()
	value, err := w.codec.Encode(w.t.Context(), topic, message)
	if err != nil {
		w.t.Fatal(err)
	}
	return &kgo.Record{Topic: topic, Key: []byte(id.String()), Value: value}
}

// send sends records, of which one may stand there twice, and returns them as they were sent: the client writes where each came to stand.
func (w *world) send(records ...*kgo.Record) (sent []*kgo.Record) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), reasonable)
	defer cancel()
	for _, r := range records {
		sent = append(sent, &kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value, Headers: r.Headers})
	}
	if err := w.client.ProduceSync(ctx, sent...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
	return sent
}

// answered waits until there are n records on a topic of answers.
func (w *world) answered(topic string, n int) {
	w.t.Helper()
	count := 0
	if err := w.read([]string{topic}, reasonable, func(*kgo.Record) { count++ }, func() bool { return count >= n }); err != nil {
		w.t.Fatalf("%d of %d records on %s: %v", count, n, topic, err)
	}
}

// read reads committed records from the beginning, until enough says so and all that there is then has been read.
func (w *world) read(topics []string, within time.Duration, each func(*kgo.Record), enough func() bool) error {
	client, err := w.kafka.Client("reader", kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.KeepControlRecords(), kgo.FetchMaxBytes(16<<20), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(w.t.Context(), within)
	defer cancel()
	next := map[spot]int64{} // by partition
	poll := func() error {
		fetched := client.PollFetches(ctx)
		fetched.EachRecord(func(r *kgo.Record) {
			next[spot{r.Topic, r.Partition, 0}] = r.Offset + 1
			if !r.Attrs.IsControl() {
				each(r)
			}
		})
		if ctx.Err() != nil {
			return fmt.Errorf("not within %s", within)
		}
		return nil
	}
	for !enough() {
		if err := poll(); err != nil {
			return err
		}
	}
	ends, err := kadm.NewClient(client).ListCommittedOffsets(ctx, topics...)
	if err != nil {
		return err
	}
	for behind := true; behind; {
		behind = false
		ends.Each(func(end kadm.ListedOffset) { behind = behind || next[spot{end.Topic, end.Partition, 0}] < end.Offset })
		if behind {
			if err := poll(); err != nil {
				return err
			}
		}
	}
	return nil
}

// settled waits until every command is answered, and holds the bank to its rules.
func (w *world) settled() *audit.Report {
	w.t.Helper()
	var report *audit.Report
	eventually(w.t, "the books are right", reasonable, func() error {
		evidence, err := audit.ReadTopics(w.t.Context(), w.kafka, w.codec, audit.DefaultTopics(), nil)
		if err == nil {
			err = audit.ReadTables(w.t.Context(), w.database, evidence)
		}
		if err != nil {
			return err
		}
		if report = audit.Check(evidence, audit.Options{}); !report.OK() {
			return errors.New(fmt.Sprint(report.Violations))
		}
		return nil
	})
	return report
}
