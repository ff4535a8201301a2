package handler

import (
	"errors"
	"testing"
)

// The client does not name the partition: setting the offset of another one would have the right one go on behind records that nobody handled.
func TestEachPartitionThatMayBeCutOffIsNamed(t *testing.T) {
	t.Parallel()
	l := &lane{h: &Handler{cfg: Config{Group: "g"}}, topic: topic{name: "t"}, epochs: map[int32]*epoch{}}
	for partition, next := range map[int32]int64{0: 1005, 3: 1010, 4: 1011, 5: 1000} {
		l.epochs[partition] = &epoch{partition: partition, next: next, running: true}
	}
	l.epochs[6] = &epoch{partition: 6, next: 1005}
	for cause, want := range map[string]string{
		"Partition truncation detected at offset 1010 (leader epoch 3): broker end offset is 1000 (offset leader epoch 2)": "one of the partitions 0 3 of t: records were read up to offset 1010, but the log was cut off at 1000 and goes on with others from there: a broker that lacked the last records was elected as the leader (unclean.leader.election.enable). Set the offset of group g to 1000 in each of them to handle what is there now: what was handled already gets its answer again; started without that, the handler goes on where it was",
		"No epoch found less or equal to offset 1000 (leader epoch 3): broker end offset is -1 (offset leader epoch -1)":   "partition 5 of t: records were read up to offset 1000, but the log has others now, from an offset on that the broker does not say: a broker that lacked the last records was elected as the leader (unclean.leader.election.enable). Set the offset of group g to the beginning of the log to handle what is there now: what was handled already gets its answer again; started without that, the handler goes on where it was",
		"Partition truncation detected at offset 500 (leader epoch 3): broker end offset is 400 (offset leader epoch 2)":   "",
		"Broker: Offset out of range": "",
	} {
		got := l.cutOff(errors.New(cause))
		if (got == nil) != (want == "") || got != nil && got.Error() != want {
			t.Errorf("%s:\n%v, want\n%s", cause, got, want)
		}
	}
}
