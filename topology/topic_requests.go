package topology

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"openbank/connect"
)

// validate has the brokers look at what is planned without doing it: they know rules of their own, policies among them.
func (t *Target) validate(ctx context.Context, plan *Plan) error {
	unasked := false
	judge := func(change *Change, err error) {
		switch {
		case err == nil:
		case connect.IsUnauthorised(err):
			unasked = true
		case errors.Is(err, kerr.TopicAlreadyExists) && change.Action == Create:
			// Apply compares it with what it must be.
			change.Warnings = append(change.Warnings, "it is there: another made it just now, or the principal that connects may not describe it")
		default:
			change.Blocked = "the brokers refuse it: " + err.Error()
		}
	}
	for _, kind := range []Kind{KindTopic, KindConfig, KindPartitions} {
		var some []*Change
		for i := range plan.Changes {
			if change := &plan.Changes[i]; change.Kind == kind && change.Action != Delete && change.Blocked == "" {
				some = append(some, change)
			}
		}
		for chunk := range chunks(some) {
			answers := map[string]error{}
			err := t.reading(ctx, "having the brokers look at the plan", func(ctx context.Context) (err error) {
				answers, err = t.request(ctx, kind, chunk, len(plan.brokers), true)
				return err
			})
			if connect.IsUnauthorised(err) {
				unasked = true
				continue
			}
			if err != nil {
				return err
			}
			for _, change := range chunk {
				judge(change, answers[change.Name])
			}
		}
	}
	if unasked {
		plan.Notes = append(plan.Notes, "the brokers did not look at all of the changes: the principal that connects may not make them")
	}
	return nil
}

// chunks are changes that fit into a request.
func chunks(all []*Change) func(yield func([]*Change) bool) {
	return func(yield func([]*Change) bool) {
		begin, partitions := 0, 0
		for i, change := range all {
			partitions += int(change.topic.Partitions)
			if i > begin && (i-begin == topicsAtOnce || partitions > partitionsAtOnce) {
				if !yield(all[begin:i]) {
					return
				}
				begin, partitions = i, int(change.topic.Partitions)
			}
		}
		if begin < len(all) {
			yield(all[begin:])
		}
	}
}

// request makes, or has validated, changes of one kind in one request; the result is what the brokers say of each topic.
func (t *Target) request(ctx context.Context, kind Kind, changes []*Change, brokers int, validate bool) (map[string]error, error) {
	answers := make(map[string]error, len(changes))
	say := func(topic string, code int16, message *string) {
		if err := withMessage(code, message); err != nil {
			answers[topic] = err
		}
	}
	switch kind {
	case KindTopic:
		request := kmsg.NewPtrCreateTopicsRequest()
		request.TimeoutMillis, request.ValidateOnly = brokerTimeoutMillis, validate
		for _, change := range changes {
			request.Topics = append(request.Topics, creation(change.topic, brokers))
		}
		response, err := request.RequestWith(ctx, t.Kafka)
		if err != nil {
			return nil, err
		}
		for _, topic := range response.Topics {
			say(topic.Topic, topic.ErrorCode, topic.ErrorMessage)
		}
	case KindConfig:
		request := kmsg.NewPtrIncrementalAlterConfigsRequest()
		request.ValidateOnly = validate
		for _, change := range changes {
			request.Resources = append(request.Resources, alteration(change))
		}
		response, err := request.RequestWith(ctx, t.Kafka)
		if err != nil {
			return nil, err
		}
		for _, resource := range response.Resources {
			say(resource.ResourceName, resource.ErrorCode, resource.ErrorMessage)
		}
	default:
		request := kmsg.NewPtrCreatePartitionsRequest()
		request.TimeoutMillis, request.ValidateOnly = brokerTimeoutMillis, validate
		for _, change := range changes {
			topic := kmsg.NewCreatePartitionsRequestTopic()
			topic.Topic, topic.Count = change.Name, change.topic.Partitions
			request.Topics = append(request.Topics, topic)
		}
		response, err := request.RequestWith(ctx, t.Kafka)
		if err != nil {
			return nil, err
		}
		for _, topic := range response.Topics {
			say(topic.Topic, topic.ErrorCode, topic.ErrorMessage)
		}
	}
	return answers, nil
}

// brokerTimeoutMillis is how long the brokers may take to agree on a change.
const brokerTimeoutMillis = 30_000

func creation(topic *Topic, brokers int) kmsg.CreateTopicsRequestTopic {
	created := kmsg.NewCreateTopicsRequestTopic()
	created.Topic, created.NumPartitions, created.ReplicationFactor = topic.Name, topic.Partitions, topic.Replicas.of(brokers)
	for _, name := range slices.Sorted(maps.Keys(topic.Config)) {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = name, kmsg.StringPtr(topic.Config[name])
		created.Configs = append(created.Configs, config)
	}
	return created
}

func alteration(change *Change) kmsg.IncrementalAlterConfigsRequestResource {
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, change.Name
	for _, field := range change.Fields {
		config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		config.Name = field.Name
		if wanted, named := change.topic.Config[field.Name]; named {
			config.Op, config.Value = kmsg.IncrementalAlterConfigOpSet, kmsg.StringPtr(wanted)
		} else {
			config.Op = kmsg.IncrementalAlterConfigOpDelete
		}
		resource.Configs = append(resource.Configs, config)
	}
	return resource
}
