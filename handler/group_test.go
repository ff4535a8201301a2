package handler_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
	"openbank/predecessor"
)

const shareByRange = "stop the older handlers"

// member joins the group as an older handler's consumer would, and waits until it is in.
func (b *bundle) member(group string) *kgo.Client {
	b.t.Helper()
	client, err := b.kafka.Client("older", kgo.ConsumerGroup(group), kgo.Balancers(kgo.RangeBalancer()), kgo.ConsumeTopics(transfers),
		kgo.DisableAutoCommit(), kgo.SessionTimeout(6*time.Second))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(client.Close)
	b.eventually("the older member is in", reasonableTimeout, func() error {
		groups, err := kadm.NewClient(b.client).DescribeGroups(b.t.Context(), group)
		if err != nil {
			return err
		}
		if g := groups[group]; g.State != "Stable" || g.Protocol != "range" {
			return fmt.Errorf("the group is %s by %q", g.State, g.Protocol)
		}
		return nil
	})
	return client
}

// connected opens a database until the test ends.
func (b *bundle) connected(url string) *sql.DB {
	b.t.Helper()
	db, err := sql.Open("postgres", url)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = db.Close() })
	return db
}

// Each lane says why it waits, once, and works as soon as the older handler is gone. Until then nothing is changed: what an older one is in the
// middle of could not be finished.
func TestAnOlderHandlerInTheGroupIsWaitedForBeforeAnythingIsChanged(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	old := b.member("command-handler")
	h := b.start("LOG_LEVEL=info")
	b.eventually("it says what it waits for", reasonableTimeout, h.says(shareByRange))
	var tables int
	if err := b.connected(b.bank.Postgres.URL("")).QueryRowContext(t.Context(), `SELECT count(*) FROM pg_tables WHERE schemaname = 'public'`).Scan(&tables); err != nil || tables != 0 {
		t.Errorf("%d tables are made, %v", tables, err)
	}
	old.Close()
	b.open(b.watch(creationAnswers), bank.ID{15: 1})
	if lines := strings.Count(h.text(), shareByRange); lines > 2 {
		t.Errorf("it is said %d times: %s", lines, h.text())
	}
	b.stop(h)
}

// Two handlers that were given one identity in the group: the later one has it, and the former says so and ends.
func TestAHandlerWhosePlaceAnotherHasEnds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	w := b.watch(creationAnswers)
	former := b.start("KAFKA_GROUP_INSTANCE_ID=twin")
	b.open(w, bank.ID{15: 1})
	b.eventually("it has its other place too", reasonableTimeout, former.says(`"partitions assigned" topic=confirm_money_transfer`))
	later := b.start("KAFKA_GROUP_INSTANCE_ID=twin")
	b.ends("the former of two with one identity", former, "another handler has this one's place in group command-handler, twin")
	back := map[string]int{} // by topic
	for _, line := range former.lines() {
		for _, topic := range []string{creations, transfers} {
			if strings.Contains(line, "joining anew") && strings.Contains(line, "topic="+topic) {
				back[topic]++
			}
		}
	}
	if n := back[creations]; n > 1 || back[transfers] > 1 || n+back[transfers] == 0 {
		t.Errorf("it has taken its places back %v times, not once", back)
	}
	b.open(w, bank.ID{15: 2})
	b.stop(later)
}

// A bank that is taken over under another group than its handler had is read from the beginning of its topics. Nothing is moved twice, but
// every command is answered again: whoever did not mean that is told, and how to avoid it.
func TestWhoTakesABankOverUnderAnotherGroupIsWarned(t *testing.T) {
	t.Parallel()
	s := newSwap(t, predecessor.Clojure)
	old := s.old(20)
	s.open(20)
	s.finished(old)
	h := s.start(append(s.environment(), "KAFKA_GROUP=another")...)
	s.eventually("it warns", reasonableTimeout, h.says("this group has no offsets: the topic is read from its beginning"))
	if err := h.says("group=another records=20 partitions=1")(); err != nil {
		t.Error(err)
	}
	s.eventually("all are answered again", reasonableTimeout, func() error {
		if n := s.answers(); n < 40 {
			return fmt.Errorf("%d answers", n)
		}
		return nil
	})
	s.read()
	s.checkMoney()
	s.stop(h)
}
