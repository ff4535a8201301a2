package connect

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Offsets are what the brokers list. Error: err, or what they say of topics and partitions, each by its name.
func Offsets(listed kadm.ListedOffsets, err error) (kadm.ListedOffsets, error) {
	if err != nil {
		return nil, Explain(err)
	}
	told := map[string]bool{} // a topic that is not there is so in every partition
	listed.Each(func(o kadm.ListedOffset) {
		if o.Err == nil || told[o.Topic] {
			return
		}
		told[o.Topic] = true
		at := "topic " + o.Topic
		if o.Partition >= 0 {
			at += fmt.Sprintf(", partition %d", o.Partition)
		}
		err = errors.Join(err, fmt.Errorf("%s: %w", at, Explain(o.Err)))
	})
	return listed, err
}
