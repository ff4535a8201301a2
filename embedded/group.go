package embedded

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What kfake calls the states of a group in which it waits for joins, and for what its leader gives to whom.
const (
	joining    = "PreparingRebalance"
	sharingOut = "CompletingRebalance"
)

const (
	// beat is the pause between two heartbeats for one who joins; the shortest session is 6 s.
	beat = 2 * time.Second
	// lookPause is the pause between two looks at a group.
	lookPause = 5 * time.Millisecond
	// sharingTime bounds the wait for a leader: one that is gone is missed within its session, of 6 s as a rule.
	sharingTime = 10 * time.Second
)

// groups has kfake do with members that wait for an answer as Apache Kafka does. Left alone, it forgets one whose session ends while it waits,
// without an answer, and takes one that goes or dies while it waits for its share for one that was joining: the next rebalance lasts until its
// time-out then, for longer than a session. So whoever joins has heartbeats sent for it, and waits for its share here.
type groups struct {
	cluster *kfake.Cluster
	client  *kgo.Client // connects when it is needed

	ctx    context.Context // done when the cluster is about to stop
	cancel context.CancelFunc

	mu      sync.Mutex
	stopped bool
	using   sync.WaitGroup // those who use the cluster
}

// newGroups is for a cluster that listens on those listeners, whatever it says of where it is.
func newGroups(cluster *kfake.Cluster, listeners []net.Listener, secured *tls.Config) (*groups, error) {
	said := cluster.ListenAddrs()
	client, err := kgo.NewClient(kgo.SeedBrokers(said...), kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
		if at := slices.Index(said, address); at >= 0 {
			address = listeners[at].Addr().String()
		}
		if secured == nil {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		own := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: secured.Certificates, InsecureSkipVerify: true} // brokers are each other's clients
		return (&tls.Dialer{Config: own}).DialContext(ctx, network, address)
	}))
	if err != nil {
		return nil, err
	}
	g := &groups{cluster: cluster, client: client}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	cluster.ControlKey(int16(kmsg.JoinGroup), func(request kmsg.Request) (kmsg.Response, error, bool) {
		join := request.(*kmsg.JoinGroupRequest)
		if (join.InstanceID != nil || join.MemberID != "") && g.enter() {
			go func() {
				defer g.using.Done()
				g.beatFor(join)
			}()
		}
		return nil, nil, false
	})
	cluster.ControlKey(int16(kmsg.SyncGroup), func(request kmsg.Request) (kmsg.Response, error, bool) {
		if sync := request.(*kmsg.SyncGroupRequest); len(sync.GroupAssignment) == 0 && g.enter() { // not the leader's
			defer g.using.Done()
			cluster.SleepControl(func() { g.awaitShares(sync) }) // others are served meanwhile
		}
		return nil, nil, false
	})
	return g, nil
}

// enter says whether the cluster may be used; using is to be told when it is not any more.
func (g *groups) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.stopped {
		g.using.Add(1)
	}
	return !g.stopped
}

// stop is for right before the cluster is closed.
func (g *groups) stop() {
	g.mu.Lock()
	g.stopped = true
	g.mu.Unlock()
	g.cancel()
	g.using.Wait()
	g.client.Close()
}

// beatFor sends heartbeats for whoever joins until the joins are over, and then one more: kfake counts no session for a member whose answer
// did not reach it.
func (g *groups) beatFor(join *kmsg.JoinGroupRequest) {
	begun := g.cluster.GroupInfo(join.Group)
	for g.pause(beat) {
		now := g.cluster.GroupInfo(join.Group)
		if now == nil {
			return
		}
		at := slices.IndexFunc(now.Members, func(m kfake.GroupMember) bool {
			if join.InstanceID != nil {
				return m.InstanceID != nil && *m.InstanceID == *join.InstanceID
			}
			return m.MemberID == join.MemberID
		})
		if at < 0 {
			return
		}
		heartbeat := kmsg.NewPtrHeartbeatRequest()
		heartbeat.Group, heartbeat.Generation = join.Group, now.Epoch
		heartbeat.MemberID, heartbeat.InstanceID = now.Members[at].MemberID, join.InstanceID
		limited, cancel := context.WithTimeout(g.ctx, beat)
		_, _ = heartbeat.RequestWith(limited, g.client) // whoever may not do that goes without
		cancel()
		if now.State != joining || begun != nil && begun.Epoch != now.Epoch {
			return
		}
	}
}

// awaitShares returns when the leader has given the members their shares, or the group begins anew.
func (g *groups) awaitShares(sync *kmsg.SyncGroupRequest) {
	for end := time.Now().Add(sharingTime); time.Now().Before(end); {
		now := g.cluster.GroupInfo(sync.Group)
		if now == nil || now.State != sharingOut || now.Epoch != sync.Generation || !g.pause(lookPause) {
			return
		}
	}
}

func (g *groups) pause(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-g.ctx.Done():
		return false
	}
}
