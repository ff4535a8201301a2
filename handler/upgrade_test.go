//go:build !realkafka

package handler_test

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"openbank/embedded"
	handlers "openbank/handler"
)

// Topics have ids from when the brokers are brought to 2.8. What a handler executed before and did not publish is known for what it is then, and
// gets its events.
func TestWhatIsExecutedBeforeTopicsHaveIDsIsPublishedAfterwards(t *testing.T) {
	t.Parallel()
	for name, published := range map[string]int{"nothing was published before": 0, "the group has offsets": 5} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			versions := kversion.V2_3_0()
			b := setupWith(t, embedded.Config{Kafka: embedded.KafkaConfig{MaxVersions: versions}})
			b.synchronize()
			w := b.watch(transferAnswers)
			var n ids
			const partition = 4
			client := b.manual()
			deposit := func(count int) (last *kgo.Record) {
				for range count {
					last = b.deposit(&n, partition)
					if err := client.ProduceSync(t.Context(), last).FirstErr(); err != nil {
						t.Fatal(err)
					}
				}
				return last
			}
			if published > 0 {
				h := b.start("LEAVE_ON_STOP=true")
				deposit(published)
				b.answered(reasonableTimeout, false)
				b.stop(h)
			}
			former := b.halfway(handlers.Config{Delivery: handlers.AtLeastOnce})
			ctx, cancel := context.WithTimeout(t.Context(), 2*reasonableTimeout)
			defer cancel()
			last := deposit(3)
			if err := former.Executed(ctx, 3); err != nil {
				t.Fatal(err)
			}
			former.Stop()
			if err := b.bank.Kafka.Stop(ctx); err != nil {
				t.Fatal(err)
			}
			*versions = *kversion.V3_0_0()
			if err := b.bank.Kafka.Start(ctx); err != nil {
				t.Fatal(err)
			}
			h := b.start()
			w.wait(transferAnswers, string(last.Key), 1)
			b.answered(reasonableTimeout, false)
			if err := h.says("further than this database has ever been")(); err == nil {
				t.Error("it says that the database has lost what it has")
			}
			b.stop(h)
		})
	}
}
