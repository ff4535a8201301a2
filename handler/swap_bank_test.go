package handler_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
	"openbank/predecessor"
)

// swap is a bank that an older handler runs, and the commands that are sent to it.
type swap struct {
	*bundle
	layout predecessor.Layout
	url    string  // of the database, as the layout's user
	port   string  // of its server
	db     *sql.DB // connected there

	keyStore, trustStore string // the Clojure handler's identity

	w *watch

	n        ids
	random   *rand.Rand
	accounts []bank.AccountCreationConfirmed
	sent     map[string]any // commands by id
	ids      []string       // of sent
	sends    map[string]int // how often each was sent
	count    int            // of all sends

	have  map[string]int    // answers taken in, by topic
	said  map[string]string // what was answered, by id
	times map[string]int    // how often
	ibans map[string]bool   // of the accounts that were confirmed

	surplus string // the latest answer that was more than its command was sent
}

func newSwap(t *testing.T, layout predecessor.Layout) *swap {
	t.Helper()
	b := setup(t)
	b.synchronize()
	s := &swap{bundle: b, layout: layout, random: rand.New(rand.NewPCG(2019, 2026)), sent: map[string]any{}, sends: map[string]int{},
		have: map[string]int{}, said: map[string]string{}, times: map[string]int{}, ibans: map[string]bool{}}
	super := b.connected(b.bank.Postgres.URL(""))
	if err := layout.Create(t.Context(), super); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.url, err = layout.URL(b.bank.Postgres.URL("")); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	s.port = u.Port()
	s.keyStore, s.trustStore = b.javaStores(b.bank.Certificate("command-handler"))
	s.db = b.connected(s.url)
	s.w = b.watch(creationAnswers, transferAnswers, events)
	return s
}

// old starts the older handler, which ends when it has handled so many commands, or, at 0, when it is killed. However busy the machine is, its session does not time out:
// what it did twice then would be its own doing. It does not wait for the disk: a test has no time for what takes it three commits a command.
func (s *swap) old(stopAfter int64) *predecessor.Handler {
	s.t.Helper()
	session := reasonableTimeout // one that ends by itself leaves the group
	if stopAfter == 0 {
		session = 0
	}
	h, err := predecessor.Start(s.t.Context(), predecessor.Config{
		Layout: s.layout, DatabaseURL: s.url + "&synchronous_commit=off", Kafka: s.kafka, Codec: s.codec, StopAfter: stopAfter, SessionTimeout: session,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = h.Kill() })
	return h
}

// finished waits until the older handler has handled what it was to handle.
func (s *swap) finished(h *predecessor.Handler) {
	s.t.Helper()
	select {
	case <-h.Ended():
	case <-time.After(2 * reasonableTimeout):
		s.t.Fatalf("the older handler has handled %d commands", h.Handled())
	}
	if err := h.Stop(); err != nil {
		s.t.Fatal(err)
	}
}

// killed waits until the older handler has handled some commands, and kills it.
func (s *swap) killed(h *predecessor.Handler, after int64) {
	s.t.Helper()
	s.eventually("half of the backlog is done", 2*reasonableTimeout, func() error {
		if n := h.Handled(); n < after {
			return fmt.Errorf("%d commands are", n)
		}
		return nil
	})
	if err := h.Kill(); err != nil {
		s.t.Fatal(err)
	}
}

// leave stops ours and waits until the group is rid of it: an older handler that finds others in the group would end.
func (s *swap) leave(h *handler) {
	s.t.Helper()
	s.stop(h)
	s.eventually("the group is empty", reasonableTimeout, func() error {
		groups, err := kadm.NewClient(s.client).DescribeGroups(s.t.Context(), s.layout.Group)
		if err != nil {
			return err
		}
		if g := groups[s.layout.Group]; len(g.Members) > 0 {
			return fmt.Errorf("it has %d members", len(g.Members))
		}
		return nil
	})
}

// environment is what the stack gives the layout's handler. A variable that is empty is as good as none: neither is told a group.
func (s *swap) environment() []string {
	env := append([]string{"GORACE=halt_on_error=1", "LOG_LEVEL=debug"}, s.bank.Environment()...)
	if s.layout.Name == predecessor.Rust.Name {
		return append(env, "DATABASE_URL="+s.url, "KAFKA_GROUP=")
	}
	return append(env,
		"DATABASE_URL=", "KAFKA_SSL_CA_LOCATION=", "KAFKA_SSL_CERT_LOCATION=", "KAFKA_SSL_KEY_LOCATION=", "KAFKA_SSL_KEY_PASSWORD=", "KAFKA_GROUP=",
		"DB_HOSTNAME=127.0.0.1", "DB_PORT="+s.port, "DB_PASSWORD="+predecessor.Password,
		"SSL_KEYSTORE_LOCATION="+s.keyStore, "SSL_TRUSTSTORE_LOCATION="+s.trustStore, "SSL_PASSWORD="+s.bank.Certificate("command-handler").Password)
}

// run runs one of the handler's commands to its end.
func (s *swap) run(arg string) (output string, err error) {
	cmd := exec.CommandContext(s.t.Context(), handlerBinary, arg)
	cmd.Env = s.environment()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.String(), err
}

func (s *swap) record(c any) *kgo.Record {
	r := s.command(c)
	id := string(r.Key)
	if s.sends[id] == 0 {
		s.sent[id] = c
		s.ids = append(s.ids, id)
	}
	s.sends[id]++
	s.count++
	return r
}

// open opens accounts and waits for them.
func (s *swap) open(count int) {
	s.t.Helper()
	var opened []string
	records := make([]*kgo.Record, count)
	for i := range records {
		c := &bank.ConfirmAccountCreation{ID: s.n.next(), Type: bank.Auto}
		opened = append(opened, c.ID.String())
		records[i] = s.record(c)
	}
	s.send(records...)
	for _, id := range opened {
		s.accounts = append(s.accounts, decode[bank.AccountCreationConfirmed](s.bundle, s.w.wait(creationAnswers, id, 1)[0]))
	}
}

// batch sends count commands: transfers of every kind, deposits, overdrafts, creations, and 5% that were sent before.
func (s *swap) batch(count int) {
	s.t.Helper()
	records := make([]*kgo.Record, count)
	for i := range records {
		switch p := s.random.IntN(100); {
		case p < 5:
			records[i] = s.record(s.sent[s.ids[s.random.IntN(len(s.ids))]])
		case p < 10:
			records[i] = s.record(&bank.ConfirmAccountCreation{ID: s.n.next(), Type: bank.Manual})
		default:
			records[i] = s.record(s.transfer(i))
		}
	}
	s.send(records...)
}

func (s *swap) transfer(number int) *bank.ConfirmMoneyTransfer {
	from, to := s.accounts[s.random.IntN(len(s.accounts))], s.accounts[s.random.IntN(len(s.accounts))]
	c := &bank.ConfirmMoneyTransfer{
		ID: s.n.next(), Token: from.Token, Amount: 1 + s.random.Int64N(20000), From: from.IBAN, To: to.IBAN, Description: strconv.Itoa(number),
	}
	switch s.random.IntN(20) {
	case 0, 1, 2:
		c.From, c.Token, c.Amount = bank.CompanyIBAN, bank.CompanyToken, 100000
	case 3, 4:
		c.From, c.Token = bank.Cash, ""
	case 5, 6, 7:
		c.To = "Albert Heijn BV"
	case 8:
		c.Token = "00000000000000000001"
	case 9:
		c.Amount = 1 << 40
	case 10:
		c.To = from.IBAN
	}
	return c
}

// answers is how many there are.
func (s *swap) answers() int {
	return len(s.w.of(creationAnswers, "")) + len(s.w.of(transferAnswers, ""))
}

// read takes in what was answered since the last time. All answers to an id must be equal.
func (s *swap) read() {
	s.t.Helper()
	for _, topic := range []string{creationAnswers, transferAnswers} {
		all := s.w.of(topic, "")
		for _, r := range all[s.have[topic]:] {
			id := string(r.Key)
			message, err := s.codec.Decode(s.t.Context(), r.Value)
			if err != nil {
				s.t.Fatal(err)
			}
			if c, ok := message.(*bank.AccountCreationConfirmed); ok {
				s.ibans[c.IBAN] = true
			}
			text := fmt.Sprintf("%T %+v", message, message)
			if before, ok := s.said[id]; ok && before != text {
				s.t.Fatalf("%s was answered %s and %s", id, before, text)
			}
			s.said[id] = text
			s.times[id]++
			if s.times[id] > s.sends[id] {
				s.surplus = id + " at " + r.Timestamp.Format(time.TimeOnly)
			}
		}
		s.have[topic] = len(all)
	}
}

// allAnswered waits until every command is answered as often as it was sent, and returns how many answers there are besides.
func (s *swap) allAnswered() (more int) {
	s.t.Helper()
	s.eventually("everything is answered", 2*reasonableTimeout, func() error {
		if n := s.answers(); n < s.count {
			return fmt.Errorf("%d answers to %d records", n, s.count)
		}
		s.read()
		more = 0
		for id, sent := range s.sends {
			if s.times[id] < sent {
				return fmt.Errorf("%s was sent %d times and answered %d times", id, sent, s.times[id])
			}
			more += s.times[id] - sent
		}
		return nil
	})
	return more
}

// answeredOnce is allAnswered, and wants no more answers than commands; those of repeats were given before.
func (s *swap) answeredOnce(repeats int) {
	s.t.Helper()
	if more := s.allAnswered(); more != repeats {
		s.t.Errorf("%d answers more than commands, not %d; the latest is to %s", more, repeats, s.surplus)
	}
}

// again sends some of the commands again that were answered before, of every kind of answer.
func (s *swap) again(before map[string]string) {
	s.t.Helper()
	kinds := map[string][]string{}
	for id, text := range before {
		kind, _, _ := strings.Cut(text, " ")
		kinds[kind] = append(kinds[kind], id)
	}
	if len(kinds) < 3 {
		s.t.Fatalf("the answers so far are of %d kinds", len(kinds))
	}
	var records []*kgo.Record
	for _, ids := range kinds {
		for _, id := range ids[:min(10, len(ids))] {
			records = append(records, s.record(s.sent[id]))
		}
	}
	s.send(records...)
}
