//go:build realkafka

package fault

import (
	"context"
	"time"

	"openbank/embedded"
	"openbank/realkafka"
)

// servers are a bank's surroundings with three brokers of Apache Kafka, two of which must have a record, and a real registry.
type servers = realkafka.Bank

// clockAhead is how far ahead a sender's clock may be: the brokers refuse what is more than an hour ahead.
const clockAhead = 55 * time.Minute

// tags are what these tests were built with.
const tags = "-tags realkafka "

// maxPollInterval bounds a rebalance.
const maxPollInterval = "26s"

func startServers(ctx context.Context, config embedded.Config) (*servers, error) {
	return realkafka.StartBank(ctx, realkafka.BankConfig{
		Kafka:    realkafka.Config{Brokers: brokerCount, CNOnly: true, Brief: true, Ports: config.Kafka.Ports, Advertised: config.Kafka.Advertised},
		Postgres: config.Postgres,
	})
}

// restartBrokers kills a broker, which has it lose the lead of its partitions, and starts it again after a while.
func (w *world) restartBrokers(ctx context.Context, f fault, while func()) error {
	w.bank.Kafka.Kill(f.broker())
	while()
	return w.bank.Kafka.Restart(context.WithoutCancel(ctx), f.broker())
}
