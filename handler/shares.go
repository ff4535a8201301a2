package handler

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"
)

const (
	// lookTime is the time between two looks at how the group shares a topic's partitions.
	lookTime = 5 * time.Second
	// looks is in how many of them in a row a partition is nobody's before the group is made to share them anew. One that is given from
	// a member to another is nobody's for as long as its work in flight takes, revokeWait at most.
	looks = 3
)

// watchShares looks, for a while after the group has shared out its partitions, whether each of them is somebody's. A member that is to give
// some up does so and joins again, and with that join the others get them. When it dies before it, and another process takes its place at
// once, Kafka lets that one in without sharing anything out (KIP-345): what was given up is nobody's from then on. So it is when a member
// that lives is held up for so long that the client forgets who it was (max.poll.interval.ms), and comes back as if it were new.
func (l *lane) watchShares(work context.Context) {
	if !l.h.static {
		return // whoever comes anew has everything shared out
	}
	l.endWatch()
	ctx, end := context.WithCancel(l.ctx)
	l.endWatch = end
	l.background.Go(func() {
		orphans := l.awaitOrphans(ctx)
		if len(orphans) == 0 {
			return
		}
		l.post(func() {
			if ctx.Err() == nil {
				l.shareAnew(work, orphans)
			}
		})
	})
}

// awaitOrphans waits until every partition of the topic is somebody's, or some are nobody's for good, which it returns. It returns none when
// ctx is done first.
func (l *lane) awaitOrphans(ctx context.Context) (orphans []int32) {
	for seen := 0; seen < looks && pause(ctx, lookTime); {
		shared, err := l.h.shared(ctx, l.topic.name)
		if err != nil { // the brokers are away, or the group is at it
			l.log.Debug("looking whose the partitions are", "error", err)
			seen = 0
			continue
		}
		orphans = nil
		for partition := range int32(l.topic.partitions) {
			if !slices.Contains(shared, partition) {
				orphans = append(orphans, partition)
			}
		}
		if len(orphans) == 0 {
			return nil
		}
		seen++
	}
	if ctx.Err() != nil {
		return nil
	}
	return orphans
}

// shareAnew leaves the group and joins it again, which has it share out everything.
func (l *lane) shareAnew(work context.Context, orphans []int32) {
	l.log.Warn("partitions are nobody's, as when a handler died while it gave them up: leaving the group and joining it again, which has it share them out",
		"group", l.h.cfg.Group, "partitions", orphans)
	l.meter.orphaned.Inc()
	l.joined.Fails("it joins group " + l.h.cfg.Group + " again, to have it share out the partitions of topic " + l.topic.name)
	l.leave()
	if err := l.subscribe(work); err != nil {
		l.h.fail(fmt.Errorf("joining group %s again: %w", l.h.cfg.Group, err))
	}
}

// shared is which partitions of a topic the members of the group have. The client's own question, DescribeConsumerGroups (librdkafka 2.15),
// aborts the process, by an assertion, when the brokers go away meanwhile. Error: also while the group is not at rest.
func (h *Handler) shared(ctx context.Context, topic string) (partitions []int32, err error) {
	group := appendText(nil, h.cfg.Group)
	answer, err := h.cfg.Kafka.askAny(ctx, findCoordinator, group)
	if err != nil {
		return nil, err
	}
	code, _, host, port := answer.int16(), answer.int32(), answer.text(), answer.int32()
	if code != 0 {
		return nil, fmt.Errorf("the coordinator of group %s: error code %d", h.cfg.Group, code)
	}
	answer, err = h.cfg.Kafka.call(ctx, net.JoinHostPort(host, strconv.Itoa(int(port))), describeGroups, append([]byte{0, 0, 0, 1}, group...))
	if err != nil {
		return nil, err
	}
	state := ""
	answer.times(func() {
		code, _, state = answer.int16(), answer.text(), answer.text()
		_, _ = answer.text(), answer.text() // the protocol
		answer.times(func() {
			_, _, _, _ = answer.text(), answer.text(), answer.text(), answer.bytes() // who it is, and what it joined with
			assignment := &fields{rest: answer.bytes()}
			_ = assignment.int16() // version
			assignment.times(func() {
				name := assignment.text()
				assignment.times(func() {
					if partition := assignment.int32(); name == topic {
						partitions = append(partitions, partition)
					}
				})
			})
		})
	})
	switch {
	case answer.cut:
		return nil, fmt.Errorf("the description of group %s is cut short", h.cfg.Group)
	case code != 0:
		return nil, fmt.Errorf("describing group %s: error code %d", h.cfg.Group, code)
	case state != "Stable":
		return nil, fmt.Errorf("group %s is %s", h.cfg.Group, state)
	}
	return partitions, nil
}
