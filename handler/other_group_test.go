package handler_test

import (
	"testing"

	"openbank/bank"
)

// A handler with another KAFKA_GROUP beside those that work would answer everything a second time: it says whose bank it is, and ends. Once
// they have stopped, the group's name may change, and the new one goes on where they ended.
func TestAHandlerOfAnotherGroupIsKeptOffUntilTheGroupInChargeHasStopped(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	w := b.watch(creationAnswers)
	var ids ids
	fund := func() {
		account := b.open(w, ids.next())
		b.send(b.command(&bank.ConfirmMoneyTransfer{ID: ids.next(), Amount: 100, From: bank.Cash, To: account.IBAN}))
	}
	first := b.start()
	fund()
	const another = "KAFKA_GROUP=another"
	for _, delivery := range []string{"exactly-once", "at-least-once"} {
		other := b.start(another, "DELIVERY="+delivery)
		b.ends("a handler of another group", other, "program open-bank of group command-handler,")
	}
	fund()
	b.answered(reasonableTimeout, false)
	b.stop(first)

	other := b.start(another)
	fund()
	b.ends("one of the group before", b.start(), "program open-bank of group another,")
	b.answered(reasonableTimeout, false)
	b.eventually("it says where it begins", reasonableTimeout, other.says("the group has no offset, as when it is another one than before"))
	b.stop(other)
}
