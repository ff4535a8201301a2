package connect

import "openbank/environment"

// Topics names the bank's topics, under the command handler's variables.
type Topics struct {
	Creations       string `name:"confirm-account-creation-topic" environment:"KAFKA_CAC_TOPIC" default:"confirm_account_creation" placeholder:"TOPIC" group:"Where the bank is:" help:"Topic of account creation commands."`
	CreationAnswers string `name:"account-creation-feedback-topic" environment:"KAFKA_ACF_TOPIC" default:"account_creation_feedback" placeholder:"TOPIC" group:"Where the bank is:" help:"Topic of their answers."`
	Transfers       string `name:"confirm-money-transfer-topic" environment:"KAFKA_CMT_TOPIC" default:"confirm_money_transfer" placeholder:"TOPIC" group:"Where the bank is:" help:"Topic of money transfer commands."`
	TransferAnswers string `name:"money-transfer-feedback-topic" environment:"KAFKA_MTF_TOPIC" default:"money_transfer_feedback" placeholder:"TOPIC" group:"Where the bank is:" help:"Topic of their answers."`
	Events          string `name:"balance-changed-topic" environment:"KAFKA_BC_TOPIC" default:"balance_changed" placeholder:"TOPIC" group:"Where the bank is:" help:"Topic of the BalanceChanged events."`
}

// Check reports every name that is no topic's, and two settings that name the same one.
func (t Topics) Check() error { return t.Names().Check() }

// Names are the same under the topics' own names.
func (t Topics) Names() environment.Topics {
	return environment.Topics{
		ConfirmAccountCreation: t.Creations, AccountCreationFeedback: t.CreationAnswers,
		ConfirmMoneyTransfer: t.Transfers, MoneyTransferFeedback: t.TransferAnswers, BalanceChanged: t.Events,
	}
}
