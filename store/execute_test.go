package store

import (
	"testing"

	"openbank/bank"
)

func TestTransfersMoveMoneyOnce(t *testing.T) {
	t.Parallel()
	s := migrated(t)
	a := accounts(t, s, 2, 1000)
	c := move(300, a[0].IBAN, a[0].Token, a[1].IBAN)
	c.Origin = Origin{Topic: "confirm_money_transfer", TopicID: [16]byte{1}, Partition: 2, Offset: 3}
	first := execute(t, s, c)[0]
	if first.Disposition != Executed || first.Reason != "" || len(first.Events) != 2 {
		t.Fatalf("%+v", first)
	}
	want := bank.BalanceChanged{IBAN: a[0].IBAN, NewBalance: 700, ChangedBy: -300, FromTo: a[1].IBAN, Description: "for a test", Version: 2}
	if first.Events[0] != want {
		t.Fatalf("got %+v, want %+v", first.Events[0], want)
	}
	again := execute(t, s, c)[0]
	if again.Disposition != Unfinished || len(again.Events) != 2 || again.Events[0] != first.Events[0] || again.Events[1] != first.Events[1] {
		t.Fatalf("%+v", again)
	}
}
