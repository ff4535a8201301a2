package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What a broker does not take is in no topic, whatever a handler does; what it may have taken is not to be sent anew under another id.
func TestACommandThatBrokersRefuseIsKnownNotToBeSent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code    int16
		refused bool
	}{
		"no right to write":            {kerr.TopicAuthorizationFailed.Code, true},
		"a record too large":           {kerr.MessageTooLarge.Code, true},
		"an error that leaves it open": {kerr.UnknownServerError.Code, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, transfers))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(cluster.Close)
			cluster.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				asked := request.(*kmsg.ProduceRequest)
				answer := asked.ResponseKind().(*kmsg.ProduceResponse)
				for _, t := range asked.Topics {
					topic := kmsg.NewProduceResponseTopic()
					topic.Topic, topic.TopicID = t.Topic, t.TopicID
					for _, p := range t.Partitions {
						partition := kmsg.NewProduceResponseTopicPartition()
						partition.Partition, partition.ErrorCode = p.Partition, c.code
						topic.Partitions = append(topic.Partitions, partition)
					}
					answer.Topics = append(answer.Topics, topic)
				}
				return answer, nil, true
			})
			client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(client.Close)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err = (&reach{kafka: client}).exchange(ctx, &kgo.Record{Topic: transfers, Value: []byte("command")})
			if err == nil || errors.Is(err, errRefused) != c.refused || !errors.Is(err, kerr.ErrorForCode(c.code)) {
				t.Errorf("%v; refused: want %v", err, c.refused)
			}
		})
	}
}
