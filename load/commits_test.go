package load

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestACommitIsDatedByTheFirstLookThatReachesIt(t *testing.T) {
	t.Parallel()
	start := time.Now()
	c := Commits{3: {{10, start}, {20, start.Add(time.Second)}}}
	c.Merge(Commits{3: {{25, start.Add(2 * time.Second)}}})
	for offset, want := range map[int64]time.Duration{0: 0, 9: 0, 10: time.Second, 19: time.Second, 20: 2 * time.Second, 24: 2 * time.Second} {
		if got := c.At(&kgo.Record{Partition: 3, Offset: offset}).Sub(start); got != want {
			t.Errorf("offset %d after %s, not %s", offset, got, want)
		}
	}
	if !c.At(&kgo.Record{Partition: 3, Offset: 25}).IsZero() || !c.At(&kgo.Record{Partition: 4}).IsZero() {
		t.Error("what was not reached has a time")
	}
}
