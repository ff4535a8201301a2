//go:build !realkafka

package handler_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Alerts compare the partitions that handlers have with those that there are. They are handled within a minute or so.
func TestPartitionsThatAreAddedCountAtOnceAndAreHandled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	h := b.start(serving)
	var n ids
	b.open(b.watch(creationAnswers), n.next())
	if _, err := kadm.NewClient(b.client).CreatePartitions(t.Context(), 3, transfers); err != nil {
		t.Fatal(err)
	}
	b.eventually("the metric has them", reasonableTimeout, func() error {
		_, metrics, err := b.get(h, "/metrics")
		if err == nil && !strings.Contains(metrics, `openbank_topic_partitions{topic="confirm_money_transfer"} 12`) {
			err = errors.New("not yet")
		}
		return err
	})
	b.eventually("it has them", reasonableTimeout, func() error {
		_, metrics, err := b.get(h, "/metrics")
		if err == nil && !strings.Contains(metrics, `openbank_assigned_partitions{topic="confirm_money_transfer"} 12`) {
			err = errors.New("not yet")
		}
		return err
	})
	b.stop(h)
}
