package handler_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
	"openbank/store"
)

// busy sends count records in the background of what a test does next.
func (l *load) busy(count int) (sent <-chan struct{}) {
	l.b.t.Helper()
	records := make([]*kgo.Record, count)
	for i := range records {
		records[i] = l.next()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; i < len(records); i += 50 {
			if err := l.b.client.ProduceSync(l.b.t.Context(), records[i:min(i+50, len(records))]...).FirstErr(); err != nil {
				l.b.t.Error(err)
				return
			}
		}
	}()
	return done
}

// sql runs a statement, from outside of the bank's own database.
func (b *bundle) sql(statement string) {
	b.t.Helper()
	db, err := sqlx.Open("postgres", b.bank.Postgres.URL("postgres"))
	if err == nil {
		_, err = db.ExecContext(b.t.Context(), statement)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		b.t.Fatal(err)
	}
}

// A slot is a handler's identity in Kafka: who is started in a dead handler's place finds its members and its transactional id.
func TestAKilledHandlersSuccessorHasItsIdentity(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	f := b.fleet(2, "DELIVERY=exactly-once")
	w := b.watch(creationAnswers, transferAnswers)
	l := &load{b: b, random: rand.New(rand.NewPCG(5, 5))}
	l.open(w, 50)
	for round := range 3 {
		sent := l.busy(1000)
		before := len(w.of(transferAnswers, ""))
		b.eventually("work goes on", reasonableTimeout, func() error {
			if now := len(w.of(transferAnswers, "")); now < before+100 {
				return fmt.Errorf("%d answers", now)
			}
			return nil
		})
		f.handlers[round%2].Kill()
		f.handlers[round%2] = b.start(f.env...)
		b.eventually("the successor works", reasonableTimeout, f.handlers[round%2].says("partitions assigned"))
		<-sent
	}
	b.answered(2*reasonableTimeout, false)
	members := map[string]bool{}
	for _, m := range b.members() {
		members[m] = true
	}
	for _, slot := range []string{"0", "1"} {
		for _, lane := range []string{"cac", "cmt"} {
			if id := "command-handler-" + slot + "-" + lane; !members[id] || len(members) != 4 {
				t.Errorf("%s is missing, or there are others: %v", id, members)
			}
		}
	}
	f.stop()
}

// group is the handlers' group, as the broker says that the client takes for its coordinator.
func (b *bundle) group(client *kgo.Client) (kadm.DescribedGroup, error) {
	groups, err := kadm.NewClient(client).DescribeGroups(b.t.Context(), "command-handler")
	if err == nil {
		err = groups.Error()
	}
	return groups["command-handler"], err
}

// members are the instance ids of the group's members.
func (b *bundle) members() (ids []string) {
	b.t.Helper()
	group, err := b.group(b.client)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, m := range group.Members {
		if m.InstanceID != nil {
			ids = append(ids, *m.InstanceID)
		}
	}
	return ids
}

// Another program that takes our transactional id, as an operator's mistake or a broker that gave our transaction up, fences the
// producer. While the slot is ours, a new one goes on, and nothing is published twice.
func TestAProducerThatIsFencedIsReplaced(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	h := b.start("DELIVERY=exactly-once", "MAX_BATCH=20")
	w := b.watch(creationAnswers, transferAnswers)
	l := &load{b: b, random: rand.New(rand.NewPCG(6, 6))}
	l.open(w, 50)
	sent := l.busy(2000)
	for range 5 {
		b.fence("command-handler-0")
		b.open(w, l.n.next()) // it works again
	}
	<-sent
	b.eventually("it noticed", reasonableTimeout, h.says("a new one goes on"))
	b.answered(2*reasonableTimeout, false)
	b.stop(h)
}

// fence takes a transactional id away from whoever has it.
func (b *bundle) fence(id string) {
	b.t.Helper()
	client, err := b.kafka.Client("fence", kgo.TransactionalID(id))
	if err != nil {
		b.t.Fatal(err)
	}
	defer client.Close()
	if _, _, err := client.ProducerID(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// Every restart of Postgres ends the session that holds the slot. The handler takes the same slot again and goes on.
func TestAHandlerThatLosesItsSessionsKeepsItsSlot(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	f := b.fleet(2, "DELIVERY=exactly-once")
	w := b.watch(creationAnswers, transferAnswers)
	l := &load{b: b, random: rand.New(rand.NewPCG(8, 8))}
	l.open(w, 50)
	sent := l.busy(2000)
	for range 3 {
		b.sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'open-bank%' AND pid <> pg_backend_pid()`)
		b.open(w, l.n.next())
	}
	<-sent
	for _, h := range f.handlers {
		b.eventually("its slot is its own again", reasonableTimeout, h.says("our slot is ours again"))
	}
	b.answered(2*reasonableTimeout, false)
	f.stop()
}

// What a dead handler left open would hold readers of committed records back until it times out. Another handler ends it.
func TestATransactionThatNobodyWillEndIsEndedByAnotherHandler(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	db, err := store.Open(t.Context(), store.Config{URL: b.bank.Postgres.URL(""), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	dead, err := db.Lease(t.Context(), "command-handler", 10) // slot 0
	if err != nil {
		t.Fatal(err)
	}
	h := b.start("DELIVERY=exactly-once")
	w := b.watch(creationAnswers, transferAnswers)
	var n ids
	account := b.open(w, n.next())

	client, err := b.kafka.Client("dead", kgo.TransactionalID("command-handler-0"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for p := range int32(9) {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: transferAnswers, Partition: p, Value: []byte("never committed")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	deposit := bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 100, From: bank.Cash, To: account.IBAN}
	b.send(b.command(&deposit))
	b.eventually("the answer is there, behind what nobody ends", reasonableTimeout, func() error {
		ends, err := kadm.NewClient(b.client).ListEndOffsets(t.Context(), transferAnswers)
		if err != nil {
			return err
		}
		var all int64
		ends.Each(func(o kadm.ListedOffset) { all += o.Offset })
		if all <= 9 {
			return fmt.Errorf("there are %d records", all)
		}
		return nil
	})
	if n := len(w.of(transferAnswers, "")); n != 0 {
		t.Fatalf("%d answers can be read before the open transaction ends", n)
	}
	dead.Release()
	w.wait(transferAnswers, deposit.ID.String(), 1)
	b.stop(h)
}

// A stop keeps the partitions for who is started next; to scale in, they are given up.
func TestAStopKeepsThePlaceInTheGroupUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	keeps, leaves := b.start(), b.start("LEAVE_ON_STOP=true")
	for _, h := range []*handler{keeps, leaves} {
		b.eventually("it has partitions", reasonableTimeout, h.says("partitions assigned"))
	}
	b.eventually("both are members of a group that has settled", reasonableTimeout, func() error {
		group, err := b.group(b.client)
		if err != nil {
			return err
		}
		if group.State != "Stable" || len(group.Members) != 4 {
			return fmt.Errorf("it is %s with %d members", group.State, len(group.Members))
		}
		return nil
	})
	b.stop(leaves)
	if members := b.members(); len(members) != 2 {
		t.Errorf("after one has left there are %v", members)
	}
	b.stop(keeps)
	if members := b.members(); len(members) != 2 {
		t.Errorf("after the other stopped there are %v", members)
	}
}

// Where Kafka and Postgres contradict each other somebody has changed one of them from outside. The handler says so.
func TestARestoredDatabaseIsNoticedAndMadeGood(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	w := b.watch(creationAnswers, transferAnswers)
	h := b.start()
	l := &load{b: b, random: rand.New(rand.NewPCG(9, 9))}
	l.open(w, 10)
	b.stop(h)
	b.sql(`CREATE DATABASE backup TEMPLATE balancedb`)
	h = b.start()
	l.open(w, 10)
	b.stop(h)

	restored := "DATABASE_URL=" + b.bank.Postgres.URL("backup")
	b.ends("the handler refuses", b.start(restored), "--rewind")
	h = b.start(restored, "REWIND=true")
	for _, c := range l.opened {
		w.wait(creationAnswers, c.ID.String(), 1)
	}
	l.accounts = nil
	b.eventually("what was lost is executed again", reasonableTimeout, func() error {
		n := len(w.of(creationAnswers, ""))
		if n < 30 {
			return fmt.Errorf("%d answers", n)
		}
		return nil
	})
	b.stop(h)
	h = b.start(restored) // and all is well
	b.open(w, l.n.next())
	b.stop(h)
}

// A handler that runs meanwhile would go on at its offset, and leave out what the new topic holds below it.
func TestATopicThatIsMadeAnewUnderAHandlerIsNoticed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	w := b.watch(creationAnswers)
	h := b.start()
	var n ids
	for range 5 {
		b.open(w, n.next())
	}
	b.makeAnew(creations)
	b.send(b.creations(&n, 20)...)
	b.ends("the handler refuses", h, "made anew")
	h = b.start("NEW_TOPICS=true")
	w.wait(creationAnswers, "", 25)
	b.stop(h)
}

func TestATopicThatWasMadeAnewIsNoticed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	w := b.watch(creationAnswers)
	h := b.start()
	var n ids
	b.open(w, n.next())
	b.stop(h)
	b.makeAnew(creations)
	b.ends("the handler refuses", b.start(), "made anew")
	h = b.start("NEW_TOPICS=true")
	b.open(w, n.next())
	b.stop(h)
	h = b.start()
	b.open(w, n.next())
	b.stop(h)
}

// A record that the client does not take at all is in no transaction. One that was committed without it would lose it for good: here a
// dead letter, whose topic was made anew with fewer partitions than the handler knows of.
func TestARecordThatTheClientDoesNotTakeIsNotForgotten(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	h := b.start("DELIVERY=exactly-once")
	manual := b.manual()
	garbage := func(key string, partition int32) {
		t.Helper()
		r := &kgo.Record{Topic: transfers, Partition: partition, Key: []byte(key), Value: []byte("garbage")}
		if err := manual.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	letters := transfers + deadLetterSuffix
	garbage("first", 5)
	b.watch(letters).wait(letters, "first", 1)
	admin := kadm.NewClient(b.client)
	if _, err := admin.DeleteTopics(t.Context(), letters); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, letters); err != nil {
		t.Fatal(err)
	}
	for i := range int32(9) { // by the second of them at the latest the client knows how many partitions there are
		garbage(fmt.Sprint("later-", i), i)
	}
	w := b.watch(letters)
	for i := range 9 {
		w.wait(letters, fmt.Sprint("later-", i), 1)
	}
	b.stop(h)
}
