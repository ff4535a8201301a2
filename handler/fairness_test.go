package handler_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
	"openbank/embedded"
)

// A backlog in every partition of a broker is worked off in all of them alike: a fetch has room for each one's share.
func TestNoPartitionIsLeftBehind(t *testing.T) {
	t.Parallel()
	const share, partitions = 3000, 9
	b := setupWith(t, embedded.Config{Kafka: embedded.KafkaConfig{Brokers: 1}})
	b.synchronize()
	client, err := b.kafka.Client("backlog", kgo.ProducerBatchMaxBytes(16<<10), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var n ids
	records := make([]*kgo.Record, share*partitions)
	for i := range records {
		records[i] = b.command(&bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 1, From: bank.CompanyIBAN, To: bank.Cash, Token: "wrong"})
		records[i].Partition = int32(i % partitions)
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	h := b.start()
	db := b.connected(b.bank.Postgres.URL(""))
	var least, most int
	b.eventually("one partition is nearly done", 2*reasonableTimeout, func() error {
		const positions = `SELECT CASE count(*) WHEN $2 THEN min(published_to) ELSE 0 END, coalesce(max(published_to), 0) FROM progress WHERE topic = $1`
		if err := db.QueryRowContext(t.Context(), positions, transfers, partitions).Scan(&least, &most); err != nil {
			return err
		}
		if most < share*3/4 {
			return fmt.Errorf("the furthest is at %d", most)
		}
		return nil
	})
	if least < most/4 { // on a busy machine one may begin later than the others; in front of one that is left behind nothing moves
		t.Errorf("one partition is at %d when another is at %d", least, most)
	}
	b.stop(h)
}

// Transfers that wait, for an account here, are no concern of those who log in.
func TestALoginDoesNotWaitBehindTransfers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	h := b.start()
	w := b.watch(creationAnswers, transferAnswers)
	var n ids
	id := n.next()
	account := b.open(w, id)
	tx := b.lock(account.IBAN)
	backlog := make([]*kgo.Record, 500)
	for i := range backlog {
		backlog[i] = b.command(&bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 1, From: bank.Cash, To: account.IBAN})
	}
	b.send(backlog...)
	b.eventually("the transfers wait for the account", reasonableTimeout, func() error { return b.awaited(tx) })
	b.send(b.command(&bank.ConfirmAccountCreation{ID: id, Type: bank.Manual}))
	if again := decode[bank.AccountCreationConfirmed](b, w.wait(creationAnswers, id.String(), 2)[1]); again != account {
		t.Errorf("logged in to %+v, opened %+v", again, account)
	}
	if answers := len(w.of(transferAnswers, "")); answers > 0 {
		t.Errorf("%d transfers did not wait", answers)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	w.wait(transferAnswers, "", len(backlog))
	b.answered(reasonableTimeout, false)
	b.stop(h)
}
