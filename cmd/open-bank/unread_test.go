package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/embedded"
)

// Retention may take what a command has begun to read, all of it too.
func TestWhatIsDeletedWhileItIsReadIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	kafka, err := embedded.StartKafka(t.Context(), embedded.KafkaConfig{Brokers: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kafka.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	for name, c := range map[string]struct {
		before []int64 // of each partition, of three records, to where it is deleted
		after  int     // how many records come then on the first
		want   []string
	}{
		"nothing":                {[]int64{0, 0}, 0, []string{"0/0", "0/1", "0/2", "1/0", "1/1", "1/2"}},
		"some":                   {[]int64{2, 0}, 0, []string{"0/2", "1/0", "1/1", "1/2"}},
		"a partition":            {[]int64{3, 0}, 0, []string{"1/0", "1/1", "1/2"}},
		"all":                    {[]int64{3, 3}, 0, nil},
		"all, and records after": {[]int64{3, 3}, 2, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // which the records are waited for without end
			defer cancel()
			topic := strings.NewReplacer(" ", "-", ",", "").Replace(name)
			client, err := kgo.NewClient(kgo.SeedBrokers(kafka.Addresses()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			admin := kadm.NewClient(client)
			if _, err := admin.CreateTopic(ctx, 2, 1, nil, topic); err != nil {
				t.Fatal(err)
			}
			produce := func(partition int32, n int) {
				for range n {
					if err := client.ProduceSync(ctx, &kgo.Record{Topic: topic, Partition: partition, Value: []byte("x")}).FirstErr(); err != nil {
						t.Fatal(err)
					}
				}
			}
			produce(0, 3)
			produce(1, 3)
			left, from, err := (&reach{kafka: client}).unread(ctx, topic)
			if err != nil {
				t.Fatal(err)
			}
			offsets := kadm.Offsets{}
			for partition, offset := range c.before {
				offsets.AddOffset(topic, int32(partition), offset, -1)
			}
			if deleted, err := admin.DeleteRecords(ctx, offsets); err != nil || deleted.Error() != nil {
				t.Fatal(err, deleted.Error())
			}
			produce(0, c.after)
			client.AddConsumePartitions(from)
			var got []string
			err = left.readTo(ctx, client, func(record *kgo.Record) error {
				got = append(got, fmt.Sprintf("%d/%d", record.Partition, record.Offset))
				return nil
			})
			slices.Sort(got)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			}
		})
	}
}
