package handler_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"openbank/bank"
)

// serving is what makes a handler of these tests serve, at a port that nobody has.
const serving = "HTTP_ADDRESS=127.0.0.1:0"

var servedAt = regexp.MustCompile(`msg="serving health and metrics" address=(\S+)`)

// get asks a handler by HTTP.
func (b *bundle) get(h *handler, path string) (status int, body string, err error) {
	b.t.Helper()
	var at []string
	b.eventually("it serves", reasonableTimeout, func() error {
		if at = servedAt.FindStringSubmatch(h.text()); at == nil {
			return errors.New("it does not say where")
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at[1]+path, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return 0, "", err
	}
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), errors.Join(err, response.Body.Close())
}

// is wants an answer with a status and a text in it.
func (b *bundle) is(h *handler, path string, status int, text string) func() error {
	return func() error {
		got, body, err := b.get(h, path)
		if err == nil && (got != status || !strings.Contains(body, text)) {
			err = fmt.Errorf("%s is %d, want %d with %q in it:\n%s", path, got, status, text, body)
		}
		return err
	}
}

// metrics reads a handler's metrics by their names with labels.
func (b *bundle) metrics(h *handler) map[string]float64 {
	b.t.Helper()
	status, body, err := b.get(h, "/metrics")
	if err != nil || status != http.StatusOK {
		b.t.Fatalf("/metrics is %d: %v", status, err)
	}
	values := map[string]float64{}
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(strings.TrimSpace(line[at+1:]), 64)
		if err != nil {
			b.t.Fatalf("%q: %v", line, err)
		}
		values[line[:at]] = v
	}
	return values
}

// caughtUp wants a lag of 0 on all partitions of both topics, which the handler has.
func (b *bundle) caughtUp(h *handler) func() error {
	return func() error {
		partitions := 0
		for name, v := range b.metrics(h) {
			if strings.HasPrefix(name, "openbank_lag_records") {
				if partitions++; v != 0 {
					return fmt.Errorf("%s is %v", name, v)
				}
			}
		}
		if partitions != 10 {
			return fmt.Errorf("%d partitions have a lag", partitions)
		}
		return nil
	}
}

// asksFor finds the metrics in queries, and what stands in the braces behind them.
var asksFor = regexp.MustCompile(`\b((?:openbank|process|go)_[a-z_]+)\b(?:\{([^}]*)\})?`)

// exposes says whether one of the metrics has a name and fits the matchers for equality of its own labels.
func exposes(metrics map[string]float64, name, matchers string) bool {
	for m := range metrics {
		if m != name && !strings.HasPrefix(m, name+"{") {
			continue
		}
		fits := true
		for _, matcher := range regexp.MustCompile(`(\w+)(=~|!=|=)"[^"]*"`).FindAllStringSubmatch(matchers, -1) {
			switch label := matcher[1]; {
			case label == "job" || label == "instance": // Prometheus' own
			case matcher[2] == "=" && !strings.HasSuffix(label, "version"): // those change with each build
				fits = fits && strings.Contains(m, strings.Replace(matcher[0], "!", "", 1))
			default:
				fits = fits && strings.Contains(m, label+`="`)
			}
		}
		if fits {
			return true
		}
	}
	return false
}

// What is away is named for as long as it is, with nothing to do as well, and a handler that waits is not one to start again.
func TestAHandlerIsNotReadyWhileADependencyIsAway(t *testing.T) {
	t.Parallel()
	b := setup(t)
	database, err := url.Parse(value(b.bank.Environment(), "DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	password, _ := database.User.Password()
	h := b.start(serving, "SCHEMA_REGISTRY_USERNAME=reader", "SCHEMA_REGISTRY_PASSWORD=secret-of-the-registry")
	secrets := []string{password, "secret-of-the-registry", value(b.bank.Environment(), "KAFKA_SSL_KEY_PASSWORD")}
	b.eventually("topics are named", reasonableTimeout, b.is(h, "/readyz", http.StatusServiceUnavailable, "kafka: looking for the topics: topics are missing"))
	b.synchronize()
	b.eventually("it is ready", reasonableTimeout, b.is(h, "/readyz", http.StatusOK, "ready"))
	for name, server := range map[string]struct {
		stop, start func(context.Context) error
		says        string
	}{
		"kafka":    {b.bank.Kafka.Stop, b.bank.Kafka.Start, "kafka: no connection to the brokers: "},
		"registry": {b.bank.Registry.Stop, b.bank.Registry.Start, "registry: no answer: "},
		"postgres": {b.bank.Postgres.Stop, b.bank.Postgres.Start, "slot: the session that holds slot 0 of "},
	} {
		if err := server.stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.eventually(name+" is named", reasonableTimeout, b.is(h, "/readyz", http.StatusServiceUnavailable, "\n"+server.says))
		b.eventually(name+" is named", reasonableTimeout, b.is(h, "/readyz", http.StatusServiceUnavailable, "\n"+name+": "))
		if err := b.is(h, "/livez", http.StatusOK, "live")(); err != nil {
			t.Errorf("without %s: %v", name, err)
		}
		for _, path := range []string{"/readyz", "/livez", "/metrics"} {
			_, body, err := b.get(h, path)
			for _, secret := range secrets {
				if err != nil || secret == "" || strings.Contains(body, secret) {
					t.Errorf("without %s, %s shows %q, %v:\n%s", name, path, secret, err, body)
				}
			}
		}
		metrics := b.metrics(h)
		if metrics["openbank_ready"] != 0 || metrics[`openbank_unmet_conditions{dependency="`+name+`"}`] < 1 {
			t.Errorf("without %s ready is %v, and unmet %v", name, metrics["openbank_ready"], metrics[`openbank_unmet_conditions{dependency="`+name+`"}`])
		}
		if err := server.start(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.eventually("it is ready with "+name, reasonableTimeout, b.is(h, "/readyz", http.StatusOK, "ready"))
	}
	if metrics := b.metrics(h); metrics["openbank_slot_losses_total"] < 1 || metrics["openbank_slot_held"] != 1 || metrics[`openbank_retries_total{dependency="postgres",cause="away"}`] < 1 {
		t.Errorf("after Postgres was away the slot was lost %v times and is held %v, %v retries", metrics["openbank_slot_losses_total"], metrics["openbank_slot_held"],
			metrics[`openbank_retries_total{dependency="postgres",cause="away"}`])
	}
	b.stop(h)
}

// The client tries to connect without a pause while it is asked something and no broker is there: such questions wait.
func TestBrokersThatAreAwayCostNoCPU(t *testing.T) {
	t.Parallel()
	const long, most = 10 * time.Second, 0.25 // of a core; it was 0.7, and is 0.02 without the race detector
	for _, delivery := range []string{"exactly-once", "at-least-once"} {
		t.Run(delivery, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.synchronize()
			h := b.start(serving, "DELIVERY="+delivery)
			b.eventually("it is ready", reasonableTimeout, b.is(h, "/readyz", http.StatusOK, "ready"))
			if err := b.bank.Kafka.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.eventually("it says that Kafka is away", reasonableTimeout, b.is(h, "/readyz", http.StatusServiceUnavailable, "kafka: no connection"))
			begin, before := time.Now(), b.metrics(h)["process_cpu_seconds_total"]
			b.pass(long)
			share := (b.metrics(h)["process_cpu_seconds_total"] - before) / time.Since(begin).Seconds()
			if t.Logf("it takes %.3f of a core", share); before == 0 || share > most {
				t.Errorf("while Kafka is away it takes %.2f of a core, after %.2f s", share, before)
			}
			if err := b.bank.Kafka.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.eventually("it is ready again", reasonableTimeout, b.is(h, "/readyz", http.StatusOK, "ready"))
			b.stop(h)
		})
	}
}

// Every record that was sent is in one of the counters, and nothing that a record or the configuration holds in confidence is anywhere.
func TestTheMetricsAddUpToWhatWasSent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	h := b.start(serving)
	w := b.watch(creationAnswers, transferAnswers)
	var ids ids
	account := b.open(w, ids.next())
	send := func(change func(*bank.ConfirmMoneyTransfer)) *bank.ConfirmMoneyTransfer {
		c := &bank.ConfirmMoneyTransfer{ID: ids.next(), Token: account.Token, Amount: 100, From: account.IBAN, To: "a shop", Description: "for the metrics"}
		change(c)
		b.send(b.command(c))
		return c
	}
	const confirmed = 40
	var last *bank.ConfirmMoneyTransfer
	for range confirmed {
		last = send(func(*bank.ConfirmMoneyTransfer) {})
	}
	send(func(c *bank.ConfirmMoneyTransfer) { c.Token = "00000000000000000001" })
	send(func(c *bank.ConfirmMoneyTransfer) { c.Amount = 1 << 40 })
	send(func(c *bank.ConfirmMoneyTransfer) { c.Amount = -1 })
	send(func(c *bank.ConfirmMoneyTransfer) { c.Description = strings.Repeat("x", bank.MaxDescription+1) })
	b.send(b.command(last), b.command(last))
	last.Amount++
	reused := b.command(last)
	garbage, foreign := b.command(last), b.command(&bank.ConfirmAccountCreation{ID: ids.next(), Type: bank.Auto})
	garbage.Value, foreign.Topic = []byte("this is no Avro"), transfers
	b.send(reused, garbage, foreign)

	const transfer = `openbank_commands_total{kind="money_transfer",outcome=`
	want := map[string]float64{
		`openbank_commands_total{kind="account_creation",outcome="confirmed",reason="",disposition="executed"}`: 1,
		transfer + `"confirmed",reason="",disposition="executed"}`:                                              confirmed,
		transfer + `"confirmed",reason="",disposition="duplicate"}`:                                             2,
		transfer + `"rejected",reason="invalid_token",disposition="executed"}`:                                  1,
		transfer + `"rejected",reason="insufficient_funds",disposition="executed"}`:                             1,
		transfer + `"rejected",reason="amount_not_positive",disposition="executed"}`:                            1,
		transfer + `"rejected",reason="unfit_text",disposition="executed"}`:                                     1,
		`openbank_dead_letters_total{topic="confirm_money_transfer",reason="id_reused"}`:                        1,
		`openbank_dead_letters_total{topic="confirm_money_transfer",reason="unreadable"}`:                       1,
		`openbank_dead_letters_total{topic="confirm_money_transfer",reason="wrong_record"}`:                     1,
		`openbank_answer_seconds_count{topic="confirm_money_transfer"}`:                                         confirmed + 9,
		`openbank_handling_seconds_count{topic="confirm_money_transfer"}`:                                       confirmed + 9,
		`openbank_batch_records_sum{topic="confirm_money_transfer"}`:                                            confirmed + 9,
		`openbank_queue_records{topic="confirm_money_transfer"}`:                                                0,
		`openbank_assigned_partitions{topic="confirm_money_transfer"}`:                                          9,
		`openbank_topic_partitions{topic="confirm_account_creation"}`:                                           1,
		`openbank_ready`:        1,
		`openbank_slot_held`:    1,
		`openbank_exactly_once`: 1,
	}
	b.eventually("the metrics add up", reasonableTimeout, func() error {
		got := b.metrics(h)
		for name, value := range want {
			if v, there := got[name]; !there || v != value {
				return fmt.Errorf("%s is %v (there: %v), want %v", name, v, there, value)
			}
		}
		sum := 0.0
		for name, v := range got {
			if strings.HasPrefix(name, "openbank_commands_total") || strings.HasPrefix(name, "openbank_dead_letters_total") {
				sum += v
			}
		}
		if sum != confirmed+10 {
			return fmt.Errorf("%v records are counted, %d were sent", sum, confirmed+10)
		}
		return nil
	})
	b.eventually("nothing is left to handle", reasonableTimeout, b.caughtUp(h))
	got := b.metrics(h)
	for _, stage := range []string{"queue", "execute", "publish"} {
		if n := got[`openbank_stage_seconds_count{topic="confirm_money_transfer",stage="`+stage+`"}`]; n < 1 || n != got[`openbank_batch_records_count{topic="confirm_money_transfer"}`] {
			t.Errorf("%v batches went through stage %s", n, stage)
		}
	}
	if got["openbank_transactions_total"] < 1 || got["process_resident_memory_bytes"] < 1<<20 || got["go_goroutines"] < 1 {
		t.Errorf("%v transactions, %v bytes resident, %v goroutines", got["openbank_transactions_total"], got["process_resident_memory_bytes"], got["go_goroutines"])
	}

	// What dashboard and alerts ask for is there, with the labels and values that they name, and so is what the alerts are tested on.
	asked := 0
	for _, file := range []string{"../docs/grafana/openbank.json", "../docs/prometheus/alerts.yml", "../docs/prometheus/alerts_test.yml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range asksFor.FindAllStringSubmatch(strings.ReplaceAll(string(text), `\"`, `"`), -1) {
			asked++
			if !exposes(got, found[1], found[2]) {
				t.Errorf("%s asks for %s, which is not there", file, found[0])
			}
		}
	}
	if asked < 50 {
		t.Errorf("only %d questions were found", asked)
	}

	env := b.bank.Environment()
	secrets := []string{account.IBAN, account.Token, "for the metrics", "a shop", last.ID.String(), value(env, "KAFKA_SSL_KEY_PASSWORD"), os.Getenv("USER") + "@"}
	if url := value(env, "DATABASE_URL"); url != "" {
		secrets = append(secrets, url)
	}
	for _, path := range []string{"/metrics", "/readyz", "/livez"} {
		_, body, err := b.get(h, path)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range secrets {
			if len(secret) > 1 && strings.Contains(body, secret) {
				t.Errorf("%s shows %q", path, secret)
			}
		}
	}
	b.stop(h)
}
