//go:build !realkafka

package handler_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A handler has given partitions up for one that joins. When that one stops before it has any, nobody waits for it.
func TestAStopBeforeThereArePartitionsGivesThePlaceUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	serving := b.start()
	var n ids
	b.open(b.watch(creationAnswers), n.next())
	hasAll := b.hasAll(serving)
	b.eventually("it has all partitions", reasonableTimeout, hasAll)
	for range 5 {
		joining := b.start()
		b.eventually("the other one is about to join", reasonableTimeout, func() error {
			if in := b.members(); len(in) < 4 {
				return fmt.Errorf("in the group are %v", in)
			}
			return nil
		})
		b.stop(joining)
		if strings.Contains(joining.text(), "partitions assigned") {
			b.eventually("it has all partitions, after one that was too fast", 2*reasonableTimeout, hasAll)
			continue
		}
		if in := b.members(); len(in) != 2 {
			t.Errorf("in the group are %v", in)
		}
		b.eventually("the first has all partitions again", 40*time.Second, hasAll) // a rebalance that waits for a member takes a minute
		b.stop(serving)
		return
	}
	t.Error("each had partitions before it could be stopped")
}
