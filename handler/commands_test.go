package handler_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
)

func TestACommandIsAnsweredAndItsEventsCarryTheVersion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	h := b.start()
	w := b.watch(creationAnswers, transferAnswers, events)
	var n ids

	id := n.next()
	account := b.open(w, id)
	if !bank.ValidIBAN(account.IBAN) || len(account.Token) != 20 || account.Type != bank.Manual {
		t.Fatalf("opened %+v", account)
	}
	b.send(b.command(&bank.ConfirmAccountCreation{ID: id, Type: bank.Manual})) // a login
	if again := decode[bank.AccountCreationConfirmed](b, w.wait(creationAnswers, id.String(), 2)[1]); again != account {
		t.Errorf("logged in to %+v, opened %+v", again, account)
	}

	deposit := bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 12345, From: bank.Cash, To: account.IBAN, Description: "déposit"}
	r := b.command(&deposit)
	r.Headers = []kgo.RecordHeader{{Key: "traceparent", Value: []byte("00-1-2-01")}, {Key: "correlation-id", Value: []byte("c")}, {Key: "other", Value: []byte("o")}}
	b.send(r)
	answer := w.wait(transferAnswers, deposit.ID.String(), 1)[0]
	if got := decode[bank.MoneyTransferConfirmed](b, answer); got.ID != deposit.ID {
		t.Errorf("answered %+v", got)
	}
	event := w.wait(events, account.IBAN, 1)[0]
	want := bank.BalanceChanged{IBAN: account.IBAN, NewBalance: 12345, ChangedBy: 12345, FromTo: bank.Cash, Description: "déposit"}
	if got := decode[bank.BalanceChanged](b, event); got != want {
		t.Errorf("event %+v, want %+v", got, want)
	}
	if v := header(event, "account-version"); v != "1" {
		t.Errorf("account-version %q", v)
	}
	for _, out := range []*kgo.Record{answer, event} {
		if header(out, "traceparent") != "00-1-2-01" || header(out, "correlation-id") != "c" || header(out, "other") != "" {
			t.Errorf("%s has the headers %v", out.Topic, out.Headers)
		}
	}
	if len(answer.Headers) != 2 {
		t.Errorf("the answer has the headers %v", answer.Headers)
	}

	pay := bank.ConfirmMoneyTransfer{ID: n.next(), Token: "wrong", Amount: 1, From: account.IBAN, To: bank.CompanyIBAN}
	b.send(b.command(&pay))
	if got := decode[bank.MoneyTransferFailed](b, w.wait(transferAnswers, pay.ID.String(), 1)[0]); got.Reason != bank.ReasonInvalidToken {
		t.Errorf("reason %q", got.Reason)
	}
	pay = bank.ConfirmMoneyTransfer{ID: n.next(), Token: account.Token, Amount: 345, From: account.IBAN, To: bank.CompanyIBAN}
	b.send(b.command(&pay), b.command(&pay))
	w.wait(transferAnswers, pay.ID.String(), 2)
	debit := w.wait(events, account.IBAN, 2)[1]
	if got := decode[bank.BalanceChanged](b, debit); got.NewBalance != 12000 || got.ChangedBy != -345 || header(debit, "account-version") != "2" {
		t.Errorf("debit %+v, version %s", got, header(debit, "account-version"))
	}
	report := b.answered(reasonableTimeout, false)
	if report.Duplicates != 2 || report.Events != 3 {
		t.Errorf("%d duplicates, %d events", report.Duplicates, report.Events)
	}
	b.stop(h)
}

func TestTheNextHandlerGoesOnWhereACleanStopEnded(t *testing.T) {
	t.Parallel()
	for _, delivery := range []string{"exactly-once", "at-least-once"} {
		t.Run(delivery, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.synchronize()
			w := b.watch(creationAnswers, transferAnswers, events)
			var n ids
			h := b.start("DELIVERY=" + delivery)
			account := b.open(w, n.next())
			for i := range 3 {
				deposit := bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 100, From: bank.Cash, To: account.IBAN, Description: fmt.Sprint(i)}
				b.send(b.command(&deposit))
				w.wait(transferAnswers, deposit.ID.String(), 1)
				b.stop(h)
				h = b.start("DELIVERY=" + delivery)
			}
			b.open(w, n.next())
			b.stop(h)
			if report := b.answered(reasonableTimeout, false); report.Repeats != 0 {
				t.Errorf("%d records were sent twice", report.Repeats)
			}
		})
	}
}
