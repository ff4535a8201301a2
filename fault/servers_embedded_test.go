//go:build !realkafka

package fault

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"openbank/embedded"
)

// servers are a bank's surroundings.
type servers = embedded.Bank

// clockAhead is how far ahead a sender's clock may be.
const clockAhead = 10 * 24 * time.Hour

// tags are what these tests were built with.
const tags = ""

// maxPollInterval is above boundRebalances' many times over: a client gives a join up that long after it asked, and asks anew.
const maxPollInterval = "60s"

func startServers(ctx context.Context, config embedded.Config) (*servers, error) {
	bank, err := embedded.Start(ctx, config)
	if err == nil {
		boundRebalances(bank.Kafka.Cluster())
	}
	return bank, err
}

// boundRebalances has the brokers wait 10 s for members that do not join again, whatever the members ask for. kfake begins to wait anew with
// each join, which Kafka does not, and members that give up and ask anew one after the other could have it wait for a dead one for ever.
func boundRebalances(cluster *kfake.Cluster) {
	cluster.ControlKey(int16(kmsg.JoinGroup), func(request kmsg.Request) (kmsg.Response, error, bool) {
		request.(*kmsg.JoinGroupRequest).RebalanceTimeoutMillis = 10_000
		return nil, nil, false
	})
}

// restartBrokers takes all brokers away for a while: they are one process.
func (w *world) restartBrokers(ctx context.Context, f fault, while func()) error {
	if err := w.bank.Kafka.Stop(ctx); err != nil {
		return err
	}
	while()
	if err := w.bank.Kafka.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	boundRebalances(w.bank.Kafka.Cluster())
	return nil
}
