package topology

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"openbank/connect"
)

// moving are, by topic and partition, where replicas are on their way to. Only topics whose replicas are not as they must be
// are asked about.
func (t *Target) moving(ctx context.Context, plan *Plan, there kadm.TopicDetails) (map[string]map[int32][]int32, error) {
	ask := kadm.TopicsSet{}
	for _, topic := range plan.topology.Topics {
		if found, ok := there[topic.Name]; ok && found.Err == nil && !plan.replicated(&topic, replicasOf(found)) {
			ask.Add(topic.Name, found.Partitions.Numbers()...)
		}
	}
	if len(ask) == 0 {
		return nil, nil
	}
	return t.reassignments(ctx, ask)
}

func (t *Target) reassignments(ctx context.Context, ask kadm.TopicsSet) (map[string]map[int32][]int32, error) {
	var listed kadm.ListPartitionReassignmentsResponses
	err := t.reading(ctx, "asking which replicas are on their way", func(ctx context.Context) (err error) {
		listed, err = kadm.NewClient(t.Kafka).ListPartitionReassignments(ctx, ask)
		return err
	})
	if connect.IsUnauthorised(err) {
		t.logger().Info("which replicas are on their way is not known", "because", err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	targets := map[string]map[int32][]int32{}
	listed.Each(func(r kadm.ListPartitionReassignmentsResponse) {
		if targets[r.Topic] == nil {
			targets[r.Topic] = map[int32][]int32{}
		}
		targets[r.Topic][r.Partition] = slices.DeleteFunc(slices.Clone(r.Replicas), func(id int32) bool { return slices.Contains(r.RemovingReplicas, id) })
	})
	return targets, nil
}

func replicasOf(found kadm.TopicDetail) map[int32][]int32 {
	replicas := make(map[int32][]int32, len(found.Partitions))
	for number, partition := range found.Partitions {
		replicas[number] = partition.Replicas
	}
	return replicas
}

// wrongReplicas says whether a partition with so many replicas needs others. A capped number is never lowered: a broker that is away
// for a moment must not cost a replica.
func (p *Plan) wrongReplicas(topic *Topic, there int) bool {
	want := int(topic.Replicas.of(len(p.brokers)))
	if topic.Replicas.Capped {
		return there < want
	}
	return there != want
}

func (p *Plan) replicated(topic *Topic, replicas map[int32][]int32) bool {
	for _, ids := range replicas {
		if p.wrongReplicas(topic, len(ids)) {
			return false
		}
	}
	return true
}

func (p *Plan) compareReplicas(topic *Topic, found kadm.TopicDetail, moving map[int32][]int32) {
	replicas := replicasOf(found)
	if len(moving) > 0 {
		for number, target := range moving {
			replicas[number] = target
		}
		if p.replicated(topic, replicas) {
			p.Notes = append(p.Notes, fmt.Sprintf("topic %s: its replicas are on their way already, for %s", topic.Name, count(len(moving), "partition")))
			return
		}
	}
	if p.replicated(topic, replicas) {
		return
	}
	var counts []int
	wrong := 0
	for _, ids := range replicas {
		counts = append(counts, len(ids))
		if p.wrongReplicas(topic, len(ids)) {
			wrong++
		}
	}
	from := strconv.Itoa(slices.Min(counts))
	if most := slices.Max(counts); most > slices.Min(counts) {
		from += " to " + strconv.Itoa(most)
	}
	want := topic.Replicas.of(len(p.brokers))
	change := Change{Kind: KindReplicas, Action: Update, Name: topic.Name, topic: topic, Fields: []Field{
		{Name: "replicas", From: from, To: strconv.Itoa(int(want))},
	}}
	switch {
	case int(want) > len(p.brokers):
		change.Blocked = fmt.Sprintf("there are %s, and %d replicas are wanted: start more, or write max %d", count(len(p.brokers), "broker"), want, want)
	case int(want) > slices.Min(counts):
		change.Warnings = []string{count(wrong, "partition") + " will be copied to other brokers"}
	}
	p.Changes = append(p.Changes, change)
}

// assign chooses brokers for each partition whose number of replicas is wrong. It follows from what is there alone, so that two
// who apply at once choose the same. Partitions keep their preferred broker; new replicas go to racks without one, then to brokers
// with the fewest; those that go are the last in the list.
func (p *Plan) assign(topic *Topic, replicas map[int32][]int32) map[int32][]int32 {
	load := map[int32]int{}
	for _, ids := range replicas {
		for _, id := range ids {
			load[id]++
		}
	}
	racks := map[int32]string{}
	for _, broker := range p.brokers {
		racks[broker.id] = broker.rack
	}
	want := int(topic.Replicas.of(len(p.brokers)))
	chosen := map[int32][]int32{}
	numbers := make([]int32, 0, len(replicas))
	for number := range replicas {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	for _, number := range numbers {
		ids := slices.Clone(replicas[number])
		if !p.wrongReplicas(topic, len(ids)) {
			continue
		}
		for len(ids) > want {
			last := ids[len(ids)-1]
			load[last]--
			ids = ids[:len(ids)-1]
		}
		for len(ids) < want {
			next := p.nextBroker(ids, load, racks)
			load[next]++
			ids = append(ids, next)
		}
		chosen[number] = ids
	}
	return chosen
}

func (p *Plan) nextBroker(taken []int32, load map[int32]int, racks map[int32]string) int32 {
	inRack := map[string]int{}
	for _, id := range taken {
		inRack[racks[id]]++
	}
	free := slices.DeleteFunc(slices.Clone(p.brokers), func(b node) bool { return slices.Contains(taken, b.id) })
	return slices.MinFunc(free, func(a, b node) int {
		return cmp.Or(cmp.Compare(inRack[a.rack], inRack[b.rack]), cmp.Compare(load[a.id], load[b.id]), cmp.Compare(a.id, b.id))
	}).id
}

const (
	reassignmentPoll  = 250 * time.Millisecond
	progressInterval  = 10 * time.Second
	settlingTolerance = 40 // polls in which metadata may lag behind a reassignment that has ended
)

// reassign moves a topic's replicas to where they must be, and waits until they are.
func (t *Target) reassign(ctx context.Context, plan *Plan, topic *Topic) error {
	admin := kadm.NewClient(t.Kafka)
	found, err := t.describe(ctx, topic.Name)
	if err != nil {
		return err
	}
	replicas := replicasOf(found)
	request := kadm.AlterPartitionAssignmentsReq{}
	for number, ids := range plan.assign(topic, replicas) {
		request.Assign(topic.Name, number, ids)
	}
	if len(request) == 0 {
		return nil
	}
	answers, err := admin.AlterPartitionAssignments(ctx, request)
	if err != nil {
		return connect.Explain(err)
	}
	var faults []error
	for _, answer := range answers.Sorted() {
		if answer.Err != nil {
			faults = append(faults, fmt.Errorf("partition %d: %w", answer.Partition, connect.Explain(answer.Err)))
		}
	}
	if err := errors.Join(faults...); err != nil {
		if others := len(answers.Sorted()) - len(faults); others > 0 {
			return fmt.Errorf("%w; the replicas of the other %s are on their way", err, count(others, "partition"))
		}
		return err
	}
	return t.awaitReplicas(ctx, plan, topic, found.Partitions.Numbers())
}

// awaitReplicas waits until no replica is on its way and the metadata says so. Brokers that accept a reassignment and do not
// carry it out are an error.
func (t *Target) awaitReplicas(ctx context.Context, plan *Plan, topic *Topic, numbers []int32) error {
	told := time.Now()
	settled := 0
	for {
		ask := kadm.TopicsSet{}
		ask.Add(topic.Name, numbers...)
		moving, err := t.reassignments(ctx, ask)
		if err != nil {
			return err
		}
		if left := len(moving[topic.Name]); left > 0 {
			settled = 0
			if time.Since(told) >= progressInterval {
				told = time.Now()
				t.logger().Info("replicas are on their way", "topic", topic.Name, "partitions", len(numbers), "left", left)
			}
		} else {
			found, err := t.describe(ctx, topic.Name)
			if err != nil {
				return err
			}
			if plan.replicated(topic, replicasOf(found)) {
				return nil
			}
			if settled++; settled == settlingTolerance {
				return errors.New("the brokers accepted the reassignment, and the partitions are where they were")
			}
		}
		if !sleep(ctx, reassignmentPoll) {
			return fmt.Errorf("waiting for the replicas, which are still on their way: the brokers go on, and the next run looks again: %w", ctx.Err())
		}
	}
}

// describe is one topic's metadata, fresh.
func (t *Target) describe(ctx context.Context, topic string) (kadm.TopicDetail, error) {
	topics, err := t.metadata(ctx, "looking at the topic", topic)
	if err != nil {
		return kadm.TopicDetail{}, err
	}
	found, ok := topics[topic]
	if !ok {
		return found, errors.New("the brokers do not tell of it")
	}
	if found.Err != nil {
		return found, connect.Explain(found.Err)
	}
	return found, nil
}
