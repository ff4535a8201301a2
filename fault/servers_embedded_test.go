//go:build !realkafka

package fault

import (
	"context"
	"time"

	"openbank/embedded"
)

// servers are a bank's surroundings.
type servers = embedded.Bank

// clockAhead is how far ahead a sender's clock may be.
const clockAhead = 10 * 24 * time.Hour

func startServers(ctx context.Context, config embedded.Config) (*servers, error) {
	return embedded.Start(ctx, config)
}

// restartBrokers takes all brokers away for a while: they are one process.
func (w *world) restartBrokers(ctx context.Context, f fault, while func()) error {
	if err := w.bank.Kafka.Stop(ctx); err != nil {
		return err
	}
	while()
	return w.bank.Kafka.Start(context.WithoutCancel(ctx))
}
