package topology

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// PartialError tells what an Apply that failed had done by then; running it again does the rest.
type PartialError struct {
	Applied []string
	Failed  []error
}

func (e *PartialError) Error() string {
	lines := make([]string, 0, len(e.Failed)+1)
	for _, failed := range e.Failed {
		lines = append(lines, failed.Error())
	}
	applied := "nothing"
	if len(e.Applied) > 0 {
		applied = strings.Join(e.Applied, ", ")
	}
	return strings.Join(append(lines, "applied: "+applied), "\n")
}

// Unwrap makes errors.Is and As reach each failure.
func (e *PartialError) Unwrap() []error { return e.Failed }

// Apply does what the plan says: schemas first, so that no topic is without them when a producer finds it. A step that fails
// doesn't stop the others. What another run did in between counts as done. Errors: *PartialError.
func (t *Target) Apply(ctx context.Context, plan *Plan) error {
	result := &PartialError{}
	for _, schema := range plan.Schemas {
		id, err := t.Registry.Register(ctx, schema.Subject, schema.Text)
		if err != nil {
			result.Failed = append(result.Failed, fmt.Errorf("registering subject %s: %w", schema.Subject, err))
			continue
		}
		t.logger().Info("registered a schema", "subject", schema.Subject, "id", id)
		result.Applied = append(result.Applied, "subject "+schema.Subject)
	}
	admin := kadm.NewClient(t.Kafka)
	for _, topic := range plan.Topics {
		config := make(map[string]*string, len(topic.Config))
		for key, value := range topic.Config {
			config[key] = &value
		}
		_, err := admin.CreateTopic(ctx, topic.Partitions, topic.Replicas, config, topic.Name)
		switch {
		case errors.Is(err, kerr.TopicAlreadyExists):
			t.logger().Info("the topic was made by another meanwhile", "topic", topic.Name)
		case err != nil:
			result.Failed = append(result.Failed, fmt.Errorf("creating topic %s: %w", topic.Name, err))
			continue
		default:
			t.logger().Info("created a topic", "topic", topic.Name, "partitions", topic.Partitions, "replicas", topic.Replicas)
		}
		result.Applied = append(result.Applied, "topic "+topic.Name)
	}
	if len(result.Failed) > 0 {
		return result
	}
	return nil
}
