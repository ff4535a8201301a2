//go:build !realkafka

package handler_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"openbank/embedded"
)

// The stack's brokers of 2019 are Kafka 2.3: no topic ids, no stable offsets, no generation in a transaction's offsets, older versions
// of every request. Handlers come and go there as anywhere.
func TestTheBrokersOf2019AreEnough(t *testing.T) {
	t.Parallel()
	b := setupWith(t, embedded.Config{Kafka: embedded.KafkaConfig{MaxVersions: kversion.V2_3_0()}})
	b.synchronize()
	f := b.fleet(2)
	w := b.watch(creationAnswers, transferAnswers)
	l := &load{b: b, random: rand.New(rand.NewPCG(2, 3))}
	l.open(w, 50)
	for i, how := range []string{"SIGTERM", "SIGKILL"} {
		records := make([]*kgo.Record, 1000)
		for j := range records {
			records[j] = l.next()
		}
		before := len(w.of(transferAnswers, ""))
		b.send(records...)
		b.eventually(fmt.Sprintf("work goes on before disturbance %d, %s", i, how), reasonableTimeout, func() error {
			if now := len(w.of(transferAnswers, "")); now < before+100 {
				return fmt.Errorf("%d answers", now)
			}
			return nil
		})
		f.disturb(how, i%2)
	}
	if report := b.answered(2*reasonableTimeout, true); report.Deliveries != 50+2000 {
		t.Errorf("%d records were handled of %d", report.Deliveries, 50+2000)
	}
	for _, h := range f.handlers {
		b.eventually("it says what is promised here", reasonableTimeout, h.says("delivery is at-least-once: the brokers are older"))
	}
	f.stop()
	h := b.start(serving)
	b.eventually("nothing is left to handle", 2*reasonableTimeout, b.caughtUp(h)) // the group may wait a minute for those who have stopped
	b.eventually("it is ready", reasonableTimeout, b.is(h, "/readyz", http.StatusOK, "ready"))
	if v, there := b.metrics(h)["openbank_exactly_once"]; !there || v != 0 {
		t.Errorf("openbank_exactly_once is %v (there: %v)", v, there)
	}
	b.stop(h)
	b.ends("what can't be promised", b.start("DELIVERY=exactly-once"), "older than Kafka 2.5")
	var ids string
	if err := b.connected(b.bank.Postgres.URL("")).QueryRowContext(t.Context(), `SELECT string_agg(DISTINCT CAST(topic_id AS text), ' ') FROM progress`).Scan(&ids); err != nil {
		t.Fatal(err)
	}
	if ids != "00000000-0000-0000-0000-000000000000" {
		t.Errorf("the topics' ids are %s, where brokers have none", ids)
	}
}

// Without topic ids nothing tells a topic that was made anew from the former one: it is read on from where that was.
func TestATopicThatWasMadeAnewIsNotNoticedWithoutTopicIDs(t *testing.T) {
	t.Parallel()
	b := setupWith(t, embedded.Config{Kafka: embedded.KafkaConfig{MaxVersions: kversion.V2_3_0()}})
	b.synchronize()
	w := b.watch(creationAnswers)
	h := b.start()
	var n ids
	const handled = 5
	for range handled {
		b.open(w, n.next())
	}
	b.stop(h)
	b.makeAnew(creations)
	sent := b.creations(&n, 20)
	b.send(sent...)
	h = b.start()
	for _, r := range sent[handled:] {
		w.wait(creationAnswers, string(r.Key), 1)
	}
	for _, r := range sent[:handled] {
		if len(w.of(creationAnswers, string(r.Key))) > 0 {
			t.Errorf("offset %d is below what was handled of the former topic, and is answered", r.Offset)
		}
	}
	b.stop(h)
}
