//go:build realkafka

package handler_test

import (
	"context"
	"os"
	"sync/atomic"

	"openbank/embedded"
	"openbank/realkafka"
)

var buildFlags []string

// servers are a bank's surroundings with an Apache Kafka and a registry that checks compatibility.
type servers = realkafka.Bank

// threeBrokers says that there are three, where there is one otherwise.
var threeBrokers = os.Getenv("OPENBANK_TEST_BROKERS") == "3"

func startServers(ctx context.Context, config embedded.Config) (*servers, error) {
	kafka := realkafka.Config{CNOnly: true, Brief: true} // as the stack's are
	if threeBrokers {
		kafka.Brokers, kafka.Brief = 3, false
	}
	return realkafka.StartBank(ctx, realkafka.BankConfig{Kafka: kafka, Postgres: config.Postgres})
}

// unseen is what Apache Kafka does in any case: who comes in a member's place is let in without a look at what it joins with.
func (b *bundle) unseen() *atomic.Bool { return new(atomic.Bool) }
