package embedded

import (
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// sharingOut is what kfake calls the state of a group between the joins and the leader's shares.
	sharingOut = "CompletingRebalance"
	// lookPause is the pause between two looks at that.
	lookPause = 5 * time.Millisecond
	// sharingTime bounds the wait for it: a leader that is gone is missed within its session, of 6 s as a rule.
	sharingTime = 10 * time.Second
)

// groups has members leave, and others take their places, only once the group's leader has shared the partitions out. kfake counts a member
// that goes while it waits for its share for one that was joining (removeMember): the next rebalance then lasts until its time-out, and who
// waits in it for longer than a session is forgotten without an answer. Apache Kafka does neither.
type groups struct {
	cluster *kfake.Cluster
	mu      sync.RWMutex
	stopped bool // the cluster answers nothing any more
}

func newGroups(cluster *kfake.Cluster) *groups {
	g := &groups{cluster: cluster}
	cluster.ControlKey(int16(kmsg.LeaveGroup), func(request kmsg.Request) (kmsg.Response, error, bool) {
		g.settle(request.(*kmsg.LeaveGroupRequest).Group)
		return nil, nil, false
	})
	cluster.ControlKey(int16(kmsg.JoinGroup), func(request kmsg.Request) (kmsg.Response, error, bool) {
		if join := request.(*kmsg.JoinGroupRequest); join.InstanceID != nil && join.MemberID == "" {
			g.settle(join.Group)
		}
		return nil, nil, false
	})
	return g
}

// settle is for control functions: others are served meanwhile.
func (g *groups) settle(group string) {
	g.cluster.SleepControl(func() {
		for end := time.Now().Add(sharingTime); g.sharesOut(group) && time.Now().Before(end); {
			time.Sleep(lookPause)
		}
	})
}

func (g *groups) sharesOut(group string) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.stopped {
		return false
	}
	info := g.cluster.GroupInfo(group)
	return info != nil && info.State == sharingOut
}

// stop is for right before the cluster is closed.
func (g *groups) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped = true
}
