package embedded_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"openbank/embedded"
)

// A member leaves while it waits for what the leader gives it: who joins after that is answered.
func TestAMemberMayLeaveWhileItsGroupSharesPartitionsOut(t *testing.T) {
	t.Parallel()
	k, err := embedded.StartKafka(t.Context(), embedded.KafkaConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	syncs := make(chan struct{}, 10)
	k.Cluster().ControlKey(int16(kmsg.SyncGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		syncs <- struct{}{}
		return nil, nil, false
	})
	leader, other := newMember(t, k, "leader"), newMember(t, k, "other")
	if err := errors.Join(leader.join(ctx), leader.sync(ctx)); err != nil {
		t.Fatal(err)
	}
	<-syncs
	joined, synced, left := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() { joined <- other.join(ctx) }()
	if _, err := k.Cluster().WaitGroupInfo(ctx, "group", func(g *kfake.GroupInfo) bool { return g.State == "PreparingRebalance" }); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(leader.join(ctx), <-joined); err != nil {
		t.Fatal(err)
	}
	go func() { synced <- other.sync(ctx) }()
	<-syncs // which is handled before whatever comes now
	go func() { left <- other.leave(ctx) }()
	<-other.leaves
	if err := errors.Join(leader.sync(ctx), <-synced, <-left); err != nil {
		t.Fatal(err)
	}
	if err := leader.join(ctx); err != nil {
		t.Errorf("the leader joins again: %v", err)
	}
}

// member is one of a group, in a place of its own.
type member struct {
	client *kgo.Client
	place  string
	joined *kmsg.JoinGroupResponse
	leaves chan struct{} // a request to leave is written
}

func newMember(t *testing.T, k *embedded.Kafka, place string) *member {
	t.Helper()
	m := &member{place: place, joined: &kmsg.JoinGroupResponse{}, leaves: make(chan struct{}, 10)}
	var err error
	if m.client, err = kgo.NewClient(kgo.SeedBrokers(strings.Split(k.Addresses(), ",")...), kgo.WithHooks(m)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.client.Close)
	return m
}

func (m *member) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key == int16(kmsg.LeaveGroup) {
		m.leaves <- struct{}{}
	}
}

func (m *member) join(ctx context.Context) error {
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.InstanceID, join.MemberID, join.ProtocolType = "group", &m.place, m.joined.MemberID, "consumer"
	join.RebalanceTimeoutMillis, join.SessionTimeoutMillis = int32(patience.Milliseconds()), 6000
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name, protocol.Metadata = "any", []byte{0}
	join.Protocols = append(join.Protocols, protocol)
	joined, err := join.RequestWith(ctx, m.client)
	if err != nil {
		return err
	}
	m.joined = joined
	return kerr.ErrorForCode(joined.ErrorCode)
}

func (m *member) sync(ctx context.Context) error {
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.InstanceID, sync.MemberID, sync.Generation = "group", &m.place, m.joined.MemberID, m.joined.Generation
	synced, err := sync.RequestWith(ctx, m.client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(synced.ErrorCode)
}

func (m *member) leave(ctx context.Context) error {
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group = "group"
	of := kmsg.NewLeaveGroupRequestMember()
	of.InstanceID = &m.place
	leave.Members = append(leave.Members, of)
	left, err := leave.RequestWith(ctx, m.client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(left.Members[0].ErrorCode)
}
