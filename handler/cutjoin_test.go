//go:build !realkafka

package handler_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The broker that a client asks for the topic before it joins the group dies before it answers, and does not come back. In about half of the runs it is
// the question that the client asks before its join, which it would wait for then for good.
func TestABrokerThatDiesWhenItIsAskedBeforeAJoin(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	cluster := b.bank.Kafka.Cluster()
	var dead atomic.Int32
	dead.Store(-1)
	cluster.Control(func(request kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		node := cluster.CurrentNode()
		if m, ok := request.(*kmsg.MetadataRequest); ok && dead.Load() < 0 && len(m.Topics) == 1 && m.Topics[0].Topic != nil && *m.Topics[0].Topic == transfers {
			dead.Store(node)
			go func() { _ = cluster.RemoveNode(node) }()
		}
		if node >= 0 && node == dead.Load() {
			return nil, errors.New("dead"), true
		}
		return nil, nil, false
	})
	h := b.start("DELIVERY=exactly-once")
	b.eventually("it has the partitions", reasonableTimeout, h.says(`"partitions assigned" topic=confirm_money_transfer`))
	b.stop(h)
}
