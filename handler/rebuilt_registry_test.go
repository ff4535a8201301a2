//go:build !realkafka

package handler_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"openbank/bank"
	"openbank/schemas"
)

// A registry that was made anew gives its ids out in another order. Commands that are written with them are answered as before, and what
// can't be read with the new schema either is a dead letter, of which the registry is asked once.
func TestARegistryThatWasMadeAnewIsAskedAgain(t *testing.T) {
	t.Parallel()
	const id = 900
	b := setup(t)
	b.synchronize()
	var anew atomic.Bool
	var asked atomic.Int64
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != fmt.Sprint("/schemas/ids/", id) {
			http.Redirect(w, r, b.bank.Registry.URL()+r.URL.Path, http.StatusTemporaryRedirect)
			return
		}
		asked.Add(1)
		record := "ConfirmAccountCreation"
		if anew.Load() {
			record = "ConfirmMoneyTransfer"
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"schema": schemas.Text(record)})
	}))
	t.Cleanup(front.Close)
	h := b.start("SCHEMA_REGISTRY_URL=" + front.URL)
	w := b.watch(creationAnswers, transferAnswers, transfers+deadLetterSuffix)
	var n ids
	send := func(message any, cut int) string {
		record := b.command(message)
		binary.BigEndian.PutUint32(record.Value[1:], id)
		record.Value = record.Value[:len(record.Value)-cut]
		b.send(record)
		return string(record.Key)
	}
	w.wait(creationAnswers, send(&bank.ConfirmAccountCreation{ID: n.next(), Type: bank.Manual}, 0), 1)
	anew.Store(true)
	transfer := func(cut int) string {
		return send(&bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 1, From: bank.Cash, To: bank.CompanyIBAN}, cut)
	}
	w.wait(transferAnswers, transfer(0), 1)
	for range 20 {
		w.wait(transfers+deadLetterSuffix, transfer(3), 1)
	}
	if got := asked.Load(); got != 2 {
		t.Errorf("the registry was asked %d times", got)
	}
	w.wait(transferAnswers, transfer(0), 1)
	b.stop(h)
}

// Behind a record that can't be read others wait: where its schema is known, a registry that is away holds it up for a moment alone.
func TestARecordThatCannotBeReadDoesNotWaitForARegistryThatIsAway(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	h := b.start()
	w := b.watch(transferAnswers, transfers+deadLetterSuffix)
	var n ids
	send := func(cut int) string {
		record := b.command(&bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 1, From: bank.Cash, To: bank.CompanyIBAN})
		record.Value = record.Value[:len(record.Value)-cut]
		b.send(record)
		return string(record.Key)
	}
	w.wait(transferAnswers, send(0), 1)
	if err := b.bank.Registry.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wait(transfers+deadLetterSuffix, send(3), 1)
	w.wait(transferAnswers, send(0), 1)
	b.stop(h)
}
