package schemas

import (
	"testing"

	"openbank/bank"
)

func TestNameIsThatOfTheRecord(t *testing.T) {
	t.Parallel()
	for _, msg := range []any{
		&Heartbeat{}, &bank.ConfirmAccountCreation{}, &bank.AccountCreationConfirmed{}, &bank.AccountCreationFailed{},
		&bank.ConfirmMoneyTransfer{}, &bank.MoneyTransferConfirmed{}, &bank.MoneyTransferFailed{}, &bank.BalanceChanged{},
	} {
		if got, want := Name(msg), newValues(nil, nil).fill(msg); got != want {
			t.Errorf("%T has the name %q, its values are those of %q", msg, got, want)
		}
	}
	for _, other := range []any{nil, Heartbeat{}, &bank.Account{}, 7} {
		if got := Name(other); got != "" {
			t.Errorf("%T has the name %q", other, got)
		}
	}
}
