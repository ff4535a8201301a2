package embedded

import (
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// sharingOut is what kfake calls the state of a group between the joins and what its leader gives to whom.
	sharingOut = "CompletingRebalance"
	// lookPause is the pause between two looks at that.
	lookPause = 5 * time.Millisecond
	// sharingTime bounds the wait for it: a leader that is gone is missed within its session, of 6 s as a rule.
	sharingTime = 10 * time.Second
)

// groups has a member that waits for its share leave, and another one take its place, only once the group's leader has shared the partitions
// out. kfake counts the one that goes for one that was joining (removeMember): the next rebalance then lasts until its time-out, and whoever
// waits in it for longer than a session is forgotten without an answer. Apache Kafka does neither.
type groups struct {
	cluster *kfake.Cluster

	mu    sync.Mutex
	waits map[string]int32 // in which generation the member in a place asked for its share, by the group and the place

	looking sync.RWMutex // held to read by whoever asks the cluster
	stopped bool         // it answers nothing any more
}

func newGroups(cluster *kfake.Cluster) *groups {
	g := &groups{cluster: cluster, waits: map[string]int32{}}
	cluster.ControlKey(int16(kmsg.SyncGroup), func(request kmsg.Request) (kmsg.Response, error, bool) {
		if sync := request.(*kmsg.SyncGroupRequest); sync.InstanceID != nil {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.waits[placeOf(sync.Group, *sync.InstanceID)] = sync.Generation
		}
		return nil, nil, false
	})
	cluster.ControlKey(int16(kmsg.LeaveGroup), func(request kmsg.Request) (kmsg.Response, error, bool) {
		leave := request.(*kmsg.LeaveGroupRequest)
		for _, m := range leave.Members {
			if m.InstanceID != nil {
				g.settle(leave.Group, *m.InstanceID)
			}
		}
		return nil, nil, false
	})
	cluster.ControlKey(int16(kmsg.JoinGroup), func(request kmsg.Request) (kmsg.Response, error, bool) {
		if join := request.(*kmsg.JoinGroupRequest); join.InstanceID != nil && join.MemberID == "" {
			g.settle(join.Group, *join.InstanceID)
		}
		return nil, nil, false
	})
	return g
}

func placeOf(group, instance string) string { return group + "\x00" + instance }

// settle returns when the member in a place waits for no share. It is for control functions: others are served meanwhile.
func (g *groups) settle(group, instance string) {
	g.mu.Lock()
	generation, asked := g.waits[placeOf(group, instance)]
	g.mu.Unlock()
	if !asked {
		return
	}
	g.cluster.SleepControl(func() {
		for end := time.Now().Add(sharingTime); g.sharesOut(group, generation) && time.Now().Before(end); {
			time.Sleep(lookPause)
		}
	})
}

func (g *groups) sharesOut(group string, generation int32) bool {
	g.looking.RLock()
	defer g.looking.RUnlock()
	if g.stopped {
		return false
	}
	info := g.cluster.GroupInfo(group)
	return info != nil && info.State == sharingOut && info.Epoch == generation
}

// stop is for right before the cluster is closed.
func (g *groups) stop() {
	g.looking.Lock()
	defer g.looking.Unlock()
	g.stopped = true
}
