package handler_test

import (
	"context"
	"slices"
	"testing"

	"openbank/audit"
	"openbank/bank"
	handlers "openbank/handler"
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

// A restart of Postgres ends all sessions, and another group may be in charge before the former one has looked. What that one had on its way
// is then published by both, which a check of the bank finds.
func TestWhatAGroupHadOnItsWayMayBePublishedByTheNextOneToo(t *testing.T) {
	t.Parallel()
	const another = "KAFKA_GROUP=another"
	for _, delivery := range []handlers.Delivery{handlers.ExactlyOnce, handlers.AtLeastOnce} {
		t.Run(string(delivery), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.synchronize()
			w := b.watch(transferAnswers)
			former := b.halfway(handlers.Config{Delivery: delivery})
			ctx, cancel := context.WithTimeout(t.Context(), 2*reasonableTimeout)
			defer cancel()
			var n ids
			deposit := b.command(&bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 100, From: bank.Cash, To: bank.CompanyIBAN})
			b.send(deposit)
			if err := former.Executed(ctx, 1); err != nil {
				t.Fatal(err)
			}
			b.ends("another group beside it", b.start(another), "program open-bank of group command-handler,")
			if err := b.bank.Postgres.Stop(ctx); err != nil {
				t.Fatal(err)
			}
			if err := b.bank.Postgres.Start(ctx); err != nil {
				t.Fatal(err)
			}
			next := b.start(another)
			w.wait(transferAnswers, string(deposit.Key), 1)
			b.stop(next)
			b.answered(reasonableTimeout, false)
			if err := former.Publish(ctx); err != nil {
				t.Fatal(err)
			}
			w.wait(transferAnswers, string(deposit.Key), 2)
			report, err := b.checked(false)
			if err != nil {
				t.Fatal(err)
			}
			if report.Repeats != 2 || !slices.ContainsFunc(report.Violations, func(v audit.Violation) bool { return v.Rule == audit.EventsOnce }) {
				t.Errorf("an answer and an event too many are %d repeats, and there is found: %s", report.Repeats, describe(report))
			}
			b.answered(reasonableTimeout, true) // all the same, nothing worse
		})
	}
}
