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

	"openbank/certs"
	"openbank/embedded"
)

// group is a leader and another member, that have joined once each and share out what there is, and what it takes to be a third.
func group(ctx context.Context, t *testing.T) (k *embedded.Kafka, set certs.Options, leader, other *member) {
	t.Helper()
	k, set, _ = brokers(t)
	leader, other = newMember(t, k, set, "leader"), newMember(t, k, set, "other")
	if err := errors.Join(leader.join(ctx), leader.sync(ctx, leader)); err != nil {
		t.Fatal(err)
	}
	joined := make(chan error, 1)
	go func() { joined <- other.join(ctx) }()
	await(ctx, t, k, func(g *kfake.GroupInfo) bool { return g.State == "PreparingRebalance" })
	if err := errors.Join(leader.join(ctx), <-joined); err != nil {
		t.Fatal(err)
	}
	return k, set, leader, other
}

func await(ctx context.Context, t *testing.T, k *embedded.Kafka, is func(*kfake.GroupInfo) bool) {
	t.Helper()
	if _, err := k.Cluster().WaitGroupInfo(ctx, "group", is); err != nil {
		t.Fatal(err)
	}
}

// A member leaves while it waits for what the leader gives it: who joins after that is answered.
func TestAMemberMayLeaveWhileItsGroupSharesPartitionsOut(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, _, leader, other := group(ctx, t)
	synced := make(chan error, 1)
	other.asksAnew()
	go func() { synced <- other.sync(ctx) }()
	<-other.asks // for its share; the leader gives none
	if err := other.leave(ctx); err != nil {
		t.Fatal(err)
	}
	if err := leader.join(ctx); err != nil {
		t.Errorf("the leader joins again: %v", err)
	}
	if err := <-synced; !errors.Is(err, kerr.UnknownMemberID) {
		t.Errorf("who has left has a share: %v", err)
	}
}

// A member waits for the group to miss one that is dead, for longer than its own session.
func TestAMemberThatWaitsForOthersIsNotForgotten(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	k, set, leader, other := group(ctx, t)
	if err := errors.Join(leader.sync(ctx, leader, other), other.sync(ctx)); err != nil {
		t.Fatal(err)
	}
	third := newMember(t, k, set, "third")
	joined := make(chan error, 2)
	go func() { joined <- third.join(ctx) }()
	await(ctx, t, k, func(g *kfake.GroupInfo) bool { return g.State == "PreparingRebalance" })
	leader.asksAnew()
	go func() { joined <- leader.join(ctx) }()
	<-leader.asks // to join
	if err := other.heartbeat(ctx); !errors.Is(err, kerr.RebalanceInProgress) {
		t.Fatal(err)
	}
	if err := errors.Join(<-joined, <-joined); err != nil {
		t.Error(err)
	}
	await(ctx, t, k, func(g *kfake.GroupInfo) bool { return len(g.Members) == 2 })
}

// member is one of a group, in a place of its own.
type member struct {
	client *kgo.Client
	place  string
	joined *kmsg.JoinGroupResponse
	asks   chan struct{} // a request is written that others may keep waiting
}

func newMember(t *testing.T, k *embedded.Kafka, set certs.Options, place string) *member {
	t.Helper()
	m := &member{place: place, joined: &kmsg.JoinGroupResponse{}, asks: make(chan struct{}, 100)}
	own, err := certs.ClientTLS(set.Files("command-handler"))
	if err != nil {
		t.Fatal(err)
	}
	if m.client, err = kgo.NewClient(kgo.SeedBrokers(strings.Split(k.Addresses(), ",")...), kgo.DialTLSConfig(own), kgo.WithHooks(m)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.client.Close)
	return m
}

func (m *member) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key == int16(kmsg.JoinGroup) || key == int16(kmsg.SyncGroup) {
		m.asks <- struct{}{}
	}
}

// asksAnew forgets what the member has asked for.
func (m *member) asksAnew() {
	for len(m.asks) > 0 {
		<-m.asks
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

// sync asks for the member's share, and gives each of the others one if it is the leader.
func (m *member) sync(ctx context.Context, to ...*member) error {
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.InstanceID, sync.MemberID, sync.Generation = "group", &m.place, m.joined.MemberID, m.joined.Generation
	for _, o := range to {
		given := kmsg.NewSyncGroupRequestGroupAssignment()
		given.MemberID = o.joined.MemberID
		sync.GroupAssignment = append(sync.GroupAssignment, given)
	}
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

func (m *member) heartbeat(ctx context.Context) error {
	heartbeat := kmsg.NewPtrHeartbeatRequest()
	heartbeat.Group, heartbeat.InstanceID, heartbeat.MemberID, heartbeat.Generation = "group", &m.place, m.joined.MemberID, m.joined.Generation
	beaten, err := heartbeat.RequestWith(ctx, m.client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(beaten.ErrorCode)
}
