package environment

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
)

// List is what a variable has with commas between.
func List(text string) []string {
	list := strings.Split(text, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// CheckBrokers reports every one that is no HOST:PORT.
func CheckBrokers(brokers []string) error {
	// Of all of them together, since a password may have commas in it, and what is between them looks like nothing.
	if looks := misplaced(strings.Join(brokers, ",")); looks != "" {
		return fmt.Errorf("KAFKA_BROKERS (--kafka-brokers) %s; it must be HOST:PORT, several with commas, without a scheme, user or password", looks)
	}
	var faults []error
	for _, b := range brokers {
		host, port, err := net.SplitHostPort(b)
		if n, portErr := strconv.ParseUint(port, 10, 16); err != nil || host == "" || strings.Contains(host, "/") || portErr != nil || n == 0 {
			faults = append(faults, fmt.Errorf("KAFKA_BROKERS (--kafka-brokers): %q is not HOST:PORT", b))
		}
	}
	return errors.Join(faults...)
}

// Topics are the names of the bank's five topics.
type Topics struct{ ConfirmAccountCreation, AccountCreationFeedback, ConfirmMoneyTransfer, MoneyTransferFeedback, BalanceChanged string }

// DeadLetterSuffix makes the name of a command topic's dead letter topic of its own.
const DeadLetterSuffix = ".dead-letter"

// What Kafka takes as a topic's name (org.apache.kafka.common.internals.Topic), and as that of one whose dead letter topic has a name, too.
const (
	longestName    = 249
	longestCommand = longestName - len(DeadLetterSuffix)
)

var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)

// Check reports every name that Kafka does not take, and every one that two settings have: a record on such a topic would be a command to one
// reader and an answer to another.
func (t Topics) Check() error {
	var faults []error
	named := map[string]string{}
	for _, s := range []struct {
		variable, flag, name string
		longest              int
	}{
		{"KAFKA_CAC_TOPIC", "confirm-account-creation-topic", t.ConfirmAccountCreation, longestCommand},
		{"KAFKA_ACF_TOPIC", "account-creation-feedback-topic", t.AccountCreationFeedback, longestName},
		{"KAFKA_CMT_TOPIC", "confirm-money-transfer-topic", t.ConfirmMoneyTransfer, longestCommand},
		{"KAFKA_MTF_TOPIC", "money-transfer-feedback-topic", t.MoneyTransferFeedback, longestName},
		{"KAFKA_BC_TOPIC", "balance-changed-topic", t.BalanceChanged, longestName},
	} {
		before, twice := named[s.name]
		switch {
		case !topicName.MatchString(s.name) || len(s.name) > s.longest || s.name == "." || s.name == "..":
			faults = append(faults, fmt.Errorf("%s (--%s): %q is no name for this topic: up to %d letters, digits, dots, dashes and underscores", s.variable, s.flag, s.name, s.longest))
		case twice:
			faults = append(faults, fmt.Errorf("%s (--%s): %s is the topic of %s already, each has its own", s.variable, s.flag, s.name, before))
		default:
			named[s.name] = s.variable
		}
	}
	return errors.Join(faults...)
}

// CheckToken reports a character in SCHEMA_REGISTRY_BEARER_TOKEN that no header has.
func CheckToken(token string) error {
	for _, character := range token {
		if character <= ' ' || character > '~' {
			return fmt.Errorf("SCHEMA_REGISTRY_BEARER_TOKEN has the character %U in it, which no token has: take out line breaks, spaces and the word Bearer", character)
		}
	}
	return nil
}
