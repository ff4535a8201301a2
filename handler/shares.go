package handler

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

const (
	// lookTime is the time between two looks at how the group shares a topic's partitions.
	lookTime = 5 * time.Second
	// looks is in how many of them in a row some partition is nobody's before the group is made to share them anew: beyond what a handler may
	// take to give one up.
	looks = int((revokeWait+transactionTimeout)/lookTime) + 1
	// blind is after how many looks in a row without an answer the log tells of it.
	blind = 12
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
	patience := (looks + rand.IntN(looks)) << min(l.orphanings, 5) // seldom more than one of those that see it leaves; who left in vain waits
	l.background.Go(func() {
		orphans, err := l.awaitOrphans(ctx, patience)
		l.post(func() {
			switch {
			case err != nil || ctx.Err() != nil: // the group has begun to share them out again
			case len(orphans) == 0:
				l.orphanings = 0
			default:
				l.shareAnew(work, orphans)
			}
		})
	})
}

// awaitOrphans waits until every partition of the topic is somebody's, or until some were nobody's in a number of looks in a row, and returns
// those. Error: ctx's.
func (l *lane) awaitOrphans(ctx context.Context, patience int) ([]int32, error) {
	seen, unseen := 0, 0
	for pause(ctx, lookTime) {
		orphans, err := l.orphans(ctx)
		switch {
		case err == nil:
			if seen, unseen = seen+1, 0; len(orphans) == 0 || seen == patience {
				return orphans, nil
			}
			continue
		case errors.Is(err, errSharing):
			seen, unseen = 0, 0
		default:
			seen, unseen = 0, unseen+1
		}
		l.log.Debug("looking whose the partitions are", "error", err)
		if unseen == blind {
			l.log.Warn("the brokers do not say whose the partitions are: some that are nobody's would not be found", "group", l.h.cfg.Group, "reason", err)
		}
	}
	return nil, ctx.Err()
}

// orphans are the partitions of the topic that no member of the group has. Error: also errSharing.
func (l *lane) orphans(ctx context.Context) (orphans []int32, err error) {
	topics, err := l.h.describe(ctx, []string{l.topic.name}) // there may be more of them by now
	if err != nil {
		return nil, err
	}
	shared, err := l.h.shared(ctx, l.topic.name)
	if err != nil {
		return nil, err
	}
	for partition := range max(int32(topics[l.topic.name].partitions), l.seen.Load()) {
		if !slices.Contains(shared, partition) {
			orphans = append(orphans, partition)
		}
	}
	return orphans, nil
}

// shareAnew leaves the group and joins it again, which has it share out everything.
func (l *lane) shareAnew(work context.Context, orphans []int32) {
	if l.queue.isClosed() {
		return // a stop keeps our place
	}
	l.log.Warn("partitions are nobody's, as when they were added, or a handler died while it gave them up: leaving the group and joining it again, which has it share them out",
		"group", l.h.cfg.Group, "partitions", orphans)
	l.orphanings++
	l.meter.orphaned.Inc()
	l.joinAgain(work)
}

// joinAgain leaves the group and joins it without a claim to any partition.
func (l *lane) joinAgain(work context.Context) {
	if l.queue.isClosed() {
		return
	}
	l.leave(work)
	if l.rejoining {
		return // it was fenced, and joins anew in any case
	}
	if len(l.epochs) > 0 { // the client gives up what it has when it has heard of the commits that are on their way
		l.background.Go(func() {
			if pause(l.ctx, leaveTold) {
				l.post(func() { l.joinAgain(work) })
			}
		})
		return
	}
	l.joined.Fails("it joins group " + l.h.cfg.Group + " again, to have it share out the partitions of topic " + l.topic.name)
	if err := l.subscribe(work); err != nil && !isKafka(err, kafka.ErrFatal) { // which Poll tells with its reason
		l.h.fail(fmt.Errorf("joining group %s again: %w", l.h.cfg.Group, err))
	}
}

// errSharing says that the group is not at rest.
var errSharing = errors.New("the group is about to share its partitions out")

// shared is which partitions of a topic the members of the group have. The client's own question, DescribeConsumerGroups (librdkafka 2.15),
// aborts the process, by an assertion, when the brokers go away meanwhile. Error: also errSharing.
func (h *Handler) shared(ctx context.Context, topic string) (partitions []int32, err error) {
	coordinator, err := h.coordinator(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := h.cfg.Kafka.call(ctx, coordinator, describeGroups, appendText([]byte{0, 0, 0, 1}, h.cfg.Group))
	if err != nil {
		return nil, err
	}
	code, state := int16(0), ""
	answer.times(func() {
		code, _, state = answer.int16(), answer.text(), answer.text()
		_, _ = answer.text(), answer.text() // the protocol
		answer.times(func() {
			_, _, _, _ = answer.text(), answer.text(), answer.text(), answer.bytes() // who it is, and what it joined with
			bytes := answer.bytes()
			assignment := &fields{rest: bytes}
			_ = assignment.int16() // version
			assignment.times(func() {
				name := assignment.text()
				assignment.times(func() {
					if partition := assignment.int32(); name == topic {
						partitions = append(partitions, partition)
					}
				})
			})
			answer.cut = answer.cut || assignment.cut && len(bytes) > 0
		})
	})
	switch {
	case answer.cut:
		return nil, fmt.Errorf("the description of group %s is cut short", h.cfg.Group)
	case code != 0:
		return nil, fmt.Errorf("describing group %s: %w", h.cfg.Group, brokerError(code))
	case state != "Stable":
		return nil, fmt.Errorf("%w: %s is %s", errSharing, h.cfg.Group, state)
	}
	return partitions, nil
}
