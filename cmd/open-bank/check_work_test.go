package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/audit"
	"openbank/bank"
)

// flood sends transfers between accounts without a pause, some of them twice, until the returned function is called; it returns how
// many.
func (j *joined) flood(accounts ...map[string]string) (stop func() int) {
	ctx, cancel := context.WithCancel(j.t.Context())
	sent := 0
	var ended sync.WaitGroup
	ended.Go(func() {
		for ctx.Err() == nil {
			from, to := accounts[sent%len(accounts)], accounts[(sent+1)%len(accounts)]
			c := &bank.ConfirmMoneyTransfer{ID: newID(), Token: from["token"], Amount: 1, From: from["iban"], To: to["iban"], Description: fmt.Sprint(sent)}
			value, err := j.codec.Encode(ctx, transfers, c)
			if err != nil {
				return // ctx has ended
			}
			record := kgo.Record{Topic: transfers, Partition: int32(sent % 9), Key: []byte(c.ID.String()), Value: value}
			batch := []*kgo.Record{&record}
			if sent%10 == 0 {
				again := record
				garbage := kgo.Record{Topic: transfers, Partition: 1, Value: []byte("garbage")}
				batch = append(batch, &again, &garbage)
			}
			if err := j.kafka.ProduceSync(ctx, batch...).FirstErr(); err != nil && ctx.Err() == nil {
				j.t.Errorf("sending: %v", err)
			}
			sent++
		}
	})
	return func() int {
		cancel()
		ended.Wait()
		return sent
	}
}

func TestCheckHoldsWhileTheBankIsAtWork(t *testing.T) {
	t.Parallel()
	j := join(t)
	a, b := j.done("account"), j.done("account")
	stop := j.flood(a, b)
	defer stop()
	handled := 0
	for until := time.Now().Add(8 * time.Second); time.Now().Before(until); {
		got := j.do("check", "--json")
		var report audit.Report
		if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || got.code != 0 {
			t.Fatalf("%v: %+v", err, got)
		}
		if report.Commands <= handled {
			t.Fatalf("%d commands after %d: nothing came meanwhile", report.Commands, handled)
		}
		handled = report.Commands
		j.done("account") // the tables change as well
	}
	// A balance that is altered at work is found at work.
	j.sql(`UPDATE balance SET amount = amount + 1 WHERE iban = $1`, a["iban"])
	if got := j.do("check", "--wait=3s"); got.code != 1 || !strings.Contains(got.stdout, string(audit.Conserved)) || !strings.Contains(got.stdout, a["iban"]) {
		t.Errorf("%+v", got)
	}
	t.Logf("%d transfers", stop())
}

func TestCheckOfTopicsWhoseBeginningIsDeleted(t *testing.T) {
	t.Parallel()
	j := join(t)
	a, b := j.done("account"), j.done("account")
	stop := j.flood(a, b)
	await(t, "some transfers", func() bool { return strings.Contains(j.do("balance", a["iban"]).stdout, "changed 1") })
	await(t, "more transfers", func() bool { return strings.Contains(j.do("balance", a["iban"]).stdout, " times") })
	stop()
	if got := j.do("check"); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	admin := kadm.NewClient(j.kafka)
	for _, topic := range []string{transfers, transferAnswers, balanceChanges, audit.DeadLetter(transfers)} {
		ends, err := admin.ListEndOffsets(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		before := kadm.Offsets{}
		ends.Each(func(o kadm.ListedOffset) {
			before.AddOffset(o.Topic, o.Partition, o.Offset/2, -1)
		})
		if deleted, err := admin.DeleteRecords(t.Context(), before); err != nil || deleted.Error() != nil {
			t.Fatalf("%v %v", err, deleted.Error())
		}
		got := j.do("check")
		if got.code != 0 || !strings.Contains(got.stdout, "not checked") {
			t.Fatalf("after %s was cut: %+v", topic, got)
		}
	}
	j.done("transfer", "--from=cash", "--to="+b["iban"], "--amount=100")
	if got := j.do("check"); got.code != 0 {
		t.Errorf("%+v", got)
	}
	for _, topic := range []string{transferAnswers, balanceChanges} {
		before := kadm.Offsets{}
		before.AddOffset(topic, 0, -1, -1) // all that the partition has
		if deleted, err := admin.DeleteRecords(t.Context(), before); err != nil || deleted.Error() != nil {
			t.Fatalf("%v %v", err, deleted.Error())
		}
		if got := j.do("check"); got.code != 0 || !strings.Contains(got.stdout, "not checked") {
			t.Fatalf("after a partition of %s was emptied: %+v", topic, got)
		}
	}
	j.sql(`UPDATE cmt SET amount = amount + 1 WHERE uuid = (SELECT uuid FROM cmt WHERE reason IS NULL ORDER BY seq LIMIT 1)`)
	if got := j.do("check", "--wait=1s"); got.code != 1 || !strings.Contains(got.stdout, string(audit.ReplayAgrees)) {
		t.Errorf("the row of a deleted command was altered: %+v", got)
	}
}
