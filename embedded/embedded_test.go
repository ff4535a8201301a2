package embedded_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"openbank/certs"
	"openbank/embedded"
)

// childDirectory, when set, makes the test binary a process that runs a bank there until it is killed.
const childDirectory = "EMBEDDED_TEST_DIRECTORY"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDirectory); dir != "" {
		b, err := embedded.Start(context.Background(), embedded.Config{Dir: dir})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(strings.Join(b.Environment(), "\n"))
		fmt.Println()
		select {}
	}
	goleak.VerifyTestMain(m)
}

func bank(t *testing.T, config embedded.Config) *embedded.Bank {
	t.Helper()
	b, err := embedded.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b
}

// getenv looks up in a list of NAME=value.
func getenv(environment []string, name string) string {
	for _, variable := range environment {
		if value, found := strings.CutPrefix(variable, name+"="); found {
			return value
		}
	}
	return ""
}

// client is a Go client with the certificate that the environment names.
func client(t *testing.T, environment []string, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	dial, err := certs.Dialer(certs.Files{
		CA: getenv(environment, "KAFKA_SSL_CA_LOCATION"), Cert: getenv(environment, "KAFKA_SSL_CERT_LOCATION"),
		Key: getenv(environment, "KAFKA_SSL_KEY_LOCATION"), Password: getenv(environment, "KAFKA_SSL_KEY_PASSWORD"),
	}, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(strings.Split(getenv(environment, "KAFKA_BROKERS"), ",")...), kgo.Dialer(dial)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestTheEnvironmentStandsInAStableOrderAndIsEnoughToReachAll(t *testing.T) {
	t.Parallel()
	b := bank(t, embedded.Config{})
	environment := b.Environment()
	order := make([]string, 0, len(environment))
	for _, variable := range environment {
		name, _, _ := strings.Cut(variable, "=")
		order = append(order, name)
		if b.Getenv(name) != getenv(environment, name) {
			t.Errorf("%s is %q and %q", name, b.Getenv(name), getenv(environment, name))
		}
	}
	want := []string{"KAFKA_BROKERS", "SCHEMA_REGISTRY_URL", "KAFKA_SSL_CA_LOCATION", "KAFKA_SSL_CERT_LOCATION", "KAFKA_SSL_KEY_LOCATION", "KAFKA_SSL_KEY_PASSWORD", "DATABASE_URL", "KAFKA_GROUP"}
	if !slices.Equal(order, want) {
		t.Errorf("the order is %q, want %q", order, want)
	}
	createTopic(t, client(t, environment), "confirm_money_transfer", 9)
	if id := register(t, getenv(environment, "SCHEMA_REGISTRY_URL"), "a", `"string"`); id != 1 {
		t.Errorf("the first id is %d", id)
	}
	query(t, b.Postgres, "SELECT 1")
	for _, address := range []string{b.Kafka.Addresses(), strings.TrimPrefix(b.Registry.URL(), "http://")} {
		for _, a := range strings.Split(address, ",") {
			if host, _, err := net.SplitHostPort(a); err != nil || host != "127.0.0.1" {
				t.Errorf("%s is not on 127.0.0.1 (%v)", a, err)
			}
		}
	}
}

func createTopic(t *testing.T, c *kgo.Client, topic string, partitions int32) {
	t.Helper()
	// Not kadm.Client.Close: that would close the client.
	made, err := kadm.NewClient(c).CreateTopic(t.Context(), partitions, 3, nil, topic)
	if err != nil || made.Err != nil {
		t.Fatal(err, made.Err)
	}
}

func TestTwoProcessesCannotShareADirectory(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	bank(t, embedded.Config{Dir: dir})
	second, err := embedded.Start(t.Context(), embedded.Config{Dir: dir})
	if err == nil {
		_ = second.Stop(t.Context())
		t.Fatal("a second bank was started in the same directory")
	}
	if !strings.Contains(err.Error(), "another process runs in "+dir) {
		t.Error(err)
	}
}

func TestADirectoryTellsWhetherABankIsThereAndRuns(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	check := func(when string, held, running bool) {
		t.Helper()
		if got, err := embedded.Holds(dir); got != held || err != nil {
			t.Errorf("%s: it holds a bank: %v %v", when, got, err)
		}
		if got, err := embedded.InUse(dir); got != running || err != nil {
			t.Errorf("%s: it is in use: %v %v", when, got, err)
		}
	}
	check("before", false, false)
	b, err := embedded.Start(t.Context(), embedded.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	check("meanwhile", true, true)
	if err := b.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	check("afterwards", true, false)
}

func TestATemporaryDirectoryGoesUnlessItIsKept(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{false, true} {
		b, err := embedded.Start(t.Context(), embedded.Config{})
		if err != nil {
			t.Fatal(err)
		}
		dir := b.Dir()
		if keep {
			if err := b.Keep(); err != nil {
				t.Error(err)
			}
		}
		ended := b.Postgres.Ended()
		if err := b.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		<-ended
		if b.Postgres.Ended() != nil {
			t.Error("a stopped Postgres still has an end to come")
		}
		other, err := embedded.Start(t.Context(), embedded.Config{}) // it sweeps
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(dir); keep != (err == nil) {
			t.Errorf("keep %v: %v", keep, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}
}

func TestAStoppedBankLeavesItsAddressesAndStateToTheNext(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	first, err := embedded.Start(t.Context(), embedded.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	environment := first.Environment()
	register(t, first.Registry.URL(), "a", `"string"`)
	if err := first.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := bank(t, embedded.Config{Dir: dir})
	if got := second.Environment(); !slices.Equal(got, environment) {
		t.Errorf("the environment is\n%q\nand was\n%q", got, environment)
	}
	if id := register(t, second.Registry.URL(), "b", `"string"`); id != 1 {
		t.Errorf("the same schema has id %d under another subject", id)
	}
}

func TestCertificatesThatEndSoonAreRenewed(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	old := certs.Options{Dir: filepath.Join(dir, "certs"), ValidFor: 24 * time.Hour}
	if err := certs.Generate(old); err != nil {
		t.Fatal(err)
	}
	bank(t, embedded.Config{Dir: dir})
	if err := certs.Check(old, time.Now().Add(300*24*time.Hour)); err != nil {
		t.Error(err)
	}
}

func TestWhatABankHeldIsThereAfterItsProcessWasKilled(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childDirectory+"="+dir)
	child.Stderr = os.Stderr
	output, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	var environment []string
	lines := bufio.NewScanner(output)
	for lines.Scan() && lines.Text() != "" {
		environment = append(environment, lines.Text())
	}
	if len(environment) == 0 {
		t.Fatal("the child said nothing")
	}

	producer := client(t, environment, kgo.DefaultProduceTopic("kept"), kgo.RecordDeliveryTimeout(30*time.Second))
	createTopic(t, producer, "kept", 3)
	produce := func(from, to int) {
		t.Helper()
		var records []*kgo.Record
		for i := from; i < to; i++ {
			records = append(records, &kgo.Record{Key: fmt.Append(nil, i), Value: fmt.Append(nil, i)})
		}
		if err := producer.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	produce(0, 1000)
	admin := kadm.NewClient(producer)
	offsets := kadm.Offsets{}
	offsets.AddOffset("kept", 0, 7, -1)
	if err := admin.CommitAllOffsets(t.Context(), "group", offsets); err != nil {
		t.Fatal(err)
	}
	first := register(t, getenv(environment, "SCHEMA_REGISTRY_URL"), "a", `"string"`)
	second := register(t, getenv(environment, "SCHEMA_REGISTRY_URL"), "b", `"long"`)
	database, err := url.Parse(getenv(environment, "DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}

	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // killed
	within(t, 10*time.Second, "Postgres has outlived its parent", func() bool {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", database.Host)
		if err != nil {
			return true
		}
		_ = conn.Close()
		return false
	})

	b := bank(t, embedded.Config{Dir: dir})
	if got := b.Environment(); !slices.Equal(got, environment) {
		t.Errorf("the environment is\n%q\nand was\n%q", got, environment)
	}
	produce(1000, 1100) // the same idempotent producer goes on
	ends, err := admin.ListEndOffsets(t.Context(), "kept")
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
	if total != 1100 {
		t.Errorf("%d records are there, want 1100", total)
	}
	committed, err := admin.FetchOffsets(t.Context(), "group")
	if err != nil {
		t.Fatal(err)
	}
	if at, ok := committed.Lookup("kept", 0); !ok || at.At != 7 {
		t.Errorf("the committed offset is %v, want 7", at)
	}
	if again := register(t, b.Registry.URL(), "c", `"string"`); again != first {
		t.Errorf("a schema had id %d and has %d", first, again)
	}
	if fresh := register(t, b.Registry.URL(), "c", `"int"`); fresh != second+1 {
		t.Errorf("a new schema has id %d, want %d", fresh, second+1)
	}
	query(t, b.Postgres, "SELECT 1")
}

// register registers a schema and returns its id.
func register(t *testing.T, base, subject, schema string) int {
	t.Helper()
	body, err := json.Marshal(map[string]string{"schema": schema})
	if err != nil {
		t.Fatal(err)
	}
	answer := request(t, http.DefaultClient, http.MethodPost, base+"/subjects/"+subject+"/versions", body)
	var registered struct {
		ID int `json:"id"`
	}
	if err := json.Unmarshal([]byte(answer), &registered); err != nil || registered.ID == 0 {
		t.Fatalf("registering %s: %s (%v)", subject, answer, err)
	}
	return registered.ID
}

func request(t *testing.T, client *http.Client, method, address string, body []byte) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// within fails the test, saying what is wrong, when a condition does not come true in time.
func within(t *testing.T, limit time.Duration, otherwise string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline.C:
			t.Fatalf("%s (waited %s)", otherwise, limit)
		case <-tick.C:
		}
	}
}
