package topology

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"openbank/connect"
)

// Chunks keep a request and its answer small whatever the size of the topology.
const (
	topicsAtOnce     = 200
	partitionsAtOnce = 2_000 // a controller takes no more than 10,000 records in a request
)

func (t *Target) planTopics(ctx context.Context, plan *Plan) error {
	there, err := t.metadata(ctx, "listing the topics")
	if err != nil {
		return err
	}
	var listed []string // and there
	for _, topic := range plan.topology.Topics {
		found, ok := there[topic.Name]
		switch {
		case ok && found.Err == nil:
			listed = append(listed, topic.Name)
		case ok && !isUnknownTopic(found.Err):
			return fmt.Errorf("looking at topic %s: %w", topic.Name, connect.Explain(found.Err))
		}
	}
	configs, err := t.configs(ctx, listed)
	if err != nil {
		return err
	}
	moving, err := t.moving(ctx, plan, there)
	if err != nil {
		return err
	}
	for i := range plan.topology.Topics {
		topic := &plan.topology.Topics[i]
		found, ok := there[topic.Name]
		if !ok || found.Err != nil {
			plan.create(topic)
			continue
		}
		before := len(plan.Changes)
		plan.compareConfig(topic, configs[topic.Name])
		plan.comparePartitions(topic, found)
		plan.compareReplicas(topic, found, moving[topic.Name])
		holdBack(plan.Changes[before:], found)
		if len(plan.Changes) == before {
			plan.Existing++
		}
	}
	plan.unlistedTopics(there)
	if err := t.validate(ctx, plan); err != nil {
		return err
	}
	if plan.options.DeleteTopics {
		return t.planTopicDeletions(ctx, plan, there)
	}
	return nil
}

func (p *Plan) create(topic *Topic) {
	replicas := topic.Replicas.of(len(p.brokers))
	change := Change{Kind: KindTopic, Action: Create, Name: topic.Name, topic: topic, Fields: []Field{
		{Name: "partitions", To: strconv.Itoa(int(topic.Partitions))}, {Name: "replicas", To: strconv.Itoa(int(replicas))},
	}}
	for _, name := range slices.Sorted(maps.Keys(topic.Config)) {
		change.Fields = append(change.Fields, Field{Name: name, To: topic.Config[name]})
	}
	if int(replicas) > len(p.brokers) {
		change.Blocked = fmt.Sprintf("there are %s, and %d replicas are wanted: start more, or write max %d", count(len(p.brokers), "broker"), replicas, replicas)
	}
	if needed, err := strconv.Atoi(topic.Config["min.insync.replicas"]); err == nil && needed > int(replicas) {
		change.Warnings = append(change.Warnings, fmt.Sprintf("min.insync.replicas is %d with %s: nobody can write with acks=all", needed, count(int(replicas), "replica")))
	}
	p.Changes = append(p.Changes, change)
}

// config is one value of a topic's configuration.
type config struct {
	name, value string
	own         bool // the topic's, and no default of the brokers
	secret      bool // the brokers do not tell it
}

// configs are a topic's configuration, or why they can't be told.
type configs struct {
	values []config
	err    error
}

func (t *Target) configs(ctx context.Context, topics []string) (map[string]configs, error) {
	all := make(map[string]configs, len(topics))
	for chunk := range slices.Chunk(topics, topicsAtOnce) {
		request := kmsg.NewPtrDescribeConfigsRequest()
		for _, name := range chunk {
			resource := kmsg.NewDescribeConfigsRequestResource()
			resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, name
			request.Resources = append(request.Resources, resource)
		}
		var response *kmsg.DescribeConfigsResponse
		err := t.reading(ctx, "reading the topics' configuration", func(ctx context.Context) (err error) {
			if response, err = request.RequestWith(ctx, t.Kafka); err != nil {
				return err
			}
			for _, resource := range response.Resources {
				if resource.ErrorCode == kerr.UnknownTopicOrPartition.Code {
					return kerr.UnknownTopicOrPartition // the broker has not heard of a topic that another one listed
				}
			}
			return nil
		})
		if err != nil && (response == nil || !isUnknownTopic(err)) {
			return nil, err
		}
		for _, resource := range response.Resources {
			if err := kerr.ErrorForCode(resource.ErrorCode); err != nil {
				all[resource.ResourceName] = configs{err: err}
				continue
			}
			values := make([]config, 0, len(resource.Configs))
			for _, c := range resource.Configs {
				// Brokers of before 1.1 tell no source, only whether it is a default.
				own := c.Source == kmsg.ConfigSourceDynamicTopicConfig || c.Source == kmsg.ConfigSourceUnknown && !c.IsDefault
				one := config{name: c.Name, own: own, secret: c.IsSensitive && c.Value == nil}
				if c.Value != nil {
					one.value = *c.Value
				}
				values = append(values, one)
			}
			all[resource.ResourceName] = configs{values: values}
		}
	}
	return all, nil
}

func (p *Plan) compareConfig(topic *Topic, found configs) {
	if found.err != nil || found.values == nil {
		if len(topic.Config) > 0 || p.options.PruneConfig {
			p.Unchecked = append(p.Unchecked, fmt.Sprintf("the configuration of topic %s: %v", topic.Name, orNothing(connect.Explain(found.err))))
		}
		return
	}
	change := Change{Kind: KindConfig, Action: Update, Name: topic.Name, topic: topic}
	var unnamed []string
	named := map[string]bool{}
	for _, config := range found.values {
		wanted, ok := topic.Config[config.name]
		named[config.name] = true
		switch {
		case ok && config.secret:
			p.Notes = append(p.Notes, fmt.Sprintf("topic %s: the value of %s is secret and not compared", topic.Name, config.name))
		case ok && !sameValue(config.name, config.value, wanted):
			change.Fields = append(change.Fields, Field{Name: config.name, From: config.value, To: wanted})
		case !ok && config.own:
			unnamed = append(unnamed, config.name)
			if p.options.PruneConfig {
				change.Fields = append(change.Fields, Field{Name: config.name, From: config.value})
			}
		}
	}
	for name, wanted := range topic.Config { // what the brokers did not list
		if !named[name] {
			change.Fields = append(change.Fields, Field{Name: name, To: wanted})
		}
	}
	if len(unnamed) > 0 && !p.options.PruneConfig {
		slices.Sort(unnamed)
		if p.Unlisted.Config == nil {
			p.Unlisted.Config = map[string][]string{}
		}
		p.Unlisted.Config[topic.Name] = unnamed
	}
	if len(change.Fields) == 0 {
		return
	}
	slices.SortFunc(change.Fields, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	for _, field := range change.Fields {
		if field.Name == "cleanup.policy" && strings.Contains(field.From, "compact") != strings.Contains(field.To, "compact") {
			change.Warnings = append(change.Warnings, "with another cleanup.policy the brokers may remove records that they kept so far")
		}
	}
	p.Changes = append(p.Changes, change)
}

// holdBack has the configuration of a topic wait for its replicas where it wants more of them in sync than there are: until then nobody could
// write with acks=all. changes are all of the topic's.
func holdBack(changes []Change, found kadm.TopicDetail) {
	var config, replicas *Change
	for i := range changes {
		if changes[i].Kind == KindConfig {
			config = &changes[i]
		}
		if changes[i].Kind == KindReplicas {
			replicas = &changes[i]
		}
	}
	if config == nil {
		return
	}
	at := slices.IndexFunc(config.Fields, func(f Field) bool { return f.Name == "min.insync.replicas" })
	if at < 0 {
		return
	}
	needed, err := strconv.Atoi(config.Fields[at].To)
	if err != nil {
		return // the default
	}
	will, inSync := fewestReplicas(found)
	if replicas != nil && replicas.Blocked == "" {
		will, _ = strconv.Atoi(replicas.Fields[0].To) // written by compareReplicas
	}
	if needed <= inSync && needed <= will {
		return
	}
	switch says := fmt.Sprintf("min.insync.replicas is %d with %s: nobody can write with acks=all", needed, count(will, "replica")); {
	case needed <= will:
		config.replicas = needed
	case replicas != nil && replicas.Blocked != "":
		config.Blocked = says + ", and more replicas are not possible"
	default:
		config.Warnings = append(config.Warnings, says)
	}
}

// fewestReplicas is how many the partition with the fewest has, those on their way included, and how many are in sync where the fewest are.
func fewestReplicas(found kadm.TopicDetail) (replicas, inSync int) {
	replicas, inSync = math.MaxInt, math.MaxInt
	for _, p := range found.Partitions {
		replicas, inSync = min(replicas, len(p.Replicas)), min(inSync, len(p.ISR))
	}
	return replicas, inSync
}

func orNothing(err error) error {
	if err == nil {
		return errors.New("the brokers did not tell it")
	}
	return err
}

func (p *Plan) comparePartitions(topic *Topic, found kadm.TopicDetail) {
	there, want := len(found.Partitions), int(topic.Partitions)
	if there == want {
		return
	}
	change := Change{Kind: KindPartitions, Action: Update, Name: topic.Name, topic: topic, Fields: []Field{
		{Name: "partitions", From: strconv.Itoa(there), To: strconv.Itoa(want)},
	}}
	if want < there {
		change.Blocked = fmt.Sprintf("Kafka takes no partitions away: write %d, or make a new topic and move the records", there)
	} else {
		change.Warnings = append(change.Warnings, "records with the same key go to other partitions from then on, out of order with earlier ones")
		if topic.keyed() {
			change.Warnings[0] += "; this topic is keyed"
		}
	}
	p.Changes = append(p.Changes, change)
}

// unlistedTopics notes what the topology does not list.
func (p *Plan) unlistedTopics(there kadm.TopicDetails) {
	listed := map[string]bool{}
	for _, topic := range p.topology.Topics {
		listed[topic.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if !listed[name] && !there[name].IsInternal && !p.topology.internal(name) && !matches(p.topology.Protected.Topics, name) {
			p.Unlisted.Topics = append(p.Unlisted.Topics, name)
		}
	}
}

// planTopicDeletions tells with each topic how much would be lost.
func (t *Target) planTopicDeletions(ctx context.Context, plan *Plan, there kadm.TopicDetails) error {
	names := plan.Unlisted.Topics
	plan.Unlisted.Topics = nil
	records := map[string]int64{}
	for chunk := range slices.Chunk(names, topicsAtOnce) {
		var starts, ends kadm.ListedOffsets
		err := t.reading(ctx, "counting the records of what is to be deleted", func(ctx context.Context) (err error) {
			admin := kadm.NewClient(t.Kafka)
			if starts, err = admin.ListStartOffsets(ctx, chunk...); err == nil {
				ends, err = admin.ListEndOffsets(ctx, chunk...)
			}
			return err
		})
		if err != nil {
			plan.Notes = append(plan.Notes, "how many records are in what is to be deleted is not known: "+err.Error())
			continue
		}
		ends.Each(func(end kadm.ListedOffset) {
			if start, ok := starts.Lookup(end.Topic, end.Partition); ok && end.Err == nil && start.Err == nil {
				records[end.Topic] += end.Offset - start.Offset
			}
		})
	}
	for _, name := range names {
		change := Change{Kind: KindTopic, Action: Delete, Name: name, ID: there[name].ID.String()}
		if n := records[name]; n > 0 {
			change.Warnings = []string{"about " + count(int(n), "record") + " would be lost"}
		}
		plan.Changes = append(plan.Changes, change)
	}
	return nil
}
