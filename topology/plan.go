package topology

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/registry"
)

// Target is where a topology is to be: a cluster and a registry. The caller closes both clients.
type Target struct {
	Kafka    *kgo.Client
	Registry *registry.Client
	// Brokers is how many brokers must be there before topics are made: a topic that is made while the others are still
	// starting would have too few replicas for good. At least 1.
	Brokers int
	Logger  *slog.Logger
}

// Plan is the difference between a topology and a target.
type Plan struct {
	Topics   []Topic  // to be created, replicas capped at the brokers that are there
	Schemas  []Schema // to be registered
	Existing int      // topics and subjects that are there already
	Notes    []string // differences that are left as they are
}

// Empty says that there is nothing to do.
func (p *Plan) Empty() bool { return len(p.Topics) == 0 && len(p.Schemas) == 0 }

// Plan waits until brokers and registry answer, and compares. It writes nothing. Errors: ctx's, with what was waited for, or
// what the brokers or the registry refused.
func (t *Target) Plan(ctx context.Context, want *Topology) (*Plan, error) {
	brokers, err := t.awaitBrokers(ctx)
	if err != nil {
		return nil, err
	}
	plan := &Plan{}
	if err := t.planTopics(ctx, want, brokers, plan); err != nil {
		return nil, err
	}
	for _, topic := range want.Topics {
		for _, schema := range topic.Schemas {
			there, err := t.isRegistered(ctx, schema)
			switch {
			case err != nil:
				return nil, fmt.Errorf("looking up subject %s: %w", schema.Subject, err)
			case there:
				plan.Existing++
			default:
				plan.Schemas = append(plan.Schemas, schema)
			}
		}
	}
	return plan, nil
}

func (t *Target) planTopics(ctx context.Context, want *Topology, brokers int, plan *Plan) error {
	names := make([]string, len(want.Topics))
	for i, topic := range want.Topics {
		names[i] = topic.Name
	}
	there, err := kadm.NewClient(t.Kafka).ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return fmt.Errorf("listing the topics: %w", err)
	}
	for _, topic := range want.Topics {
		found, ok := there[topic.Name]
		switch {
		case ok && found.Err == nil:
			plan.Existing++
			if n := len(found.Partitions); n != int(topic.Partitions) {
				plan.Notes = append(plan.Notes, fmt.Sprintf("topic %s has %d partitions instead of %d: left as it is", topic.Name, n, topic.Partitions))
			}
		case !ok || isUnknownTopic(found.Err):
			topic.Replicas = min(topic.Replicas, int16(min(brokers, 1<<15-1)))
			plan.Topics = append(plan.Topics, topic)
		default:
			return fmt.Errorf("looking at topic %s: %w", topic.Name, found.Err)
		}
	}
	return nil
}

// isRegistered accepts a latest version that means the same, whoever wrote it, and any earlier version that is this very text:
// somebody went on to a newer one, which is not to be turned back.
func (t *Target) isRegistered(ctx context.Context, schema Schema) (bool, error) {
	latest, err := t.Registry.Latest(ctx, schema.Subject)
	if errors.Is(err, registry.ErrUnknownSubject) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if sameSchema(latest.Text, schema.Text) {
		return true, nil
	}
	_, err = t.Registry.Lookup(ctx, schema.Subject, schema.Text)
	if errors.Is(err, registry.ErrUnknownSchema) || errors.Is(err, registry.ErrUnknownSubject) {
		return false, nil
	}
	return err == nil, err
}
