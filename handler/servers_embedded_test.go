//go:build !realkafka

package handler_test

import (
	"context"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"

	"openbank/embedded"
)

var buildFlags = []string{"-race"}

// servers are a bank's surroundings.
type servers = embedded.Bank

func startServers(ctx context.Context, config embedded.Config) (*servers, error) {
	return embedded.Start(ctx, config)
}

// unseen has the brokers let a member that comes in another's place in without a look at what it joins with, as Apache Kafka does, for as
// long as the returned switch is on. kfake has the group share its partitions out anew unless that is what the other one had joined with.
func (b *bundle) unseen() *atomic.Bool {
	var on atomic.Bool
	joined := map[string][]kmsg.JoinGroupRequestProtocol{} // by place
	b.bank.Kafka.Cluster().ControlKey(int16(kmsg.JoinGroup), func(request kmsg.Request) (kmsg.Response, error, bool) {
		join := request.(*kmsg.JoinGroupRequest)
		if join.InstanceID == nil {
			return nil, nil, false
		}
		place := *join.InstanceID
		if before := joined[place]; before != nil && join.MemberID == "" && on.Load() {
			join.Protocols = before
		}
		joined[place] = join.Protocols
		return nil, nil, false
	})
	return &on
}
