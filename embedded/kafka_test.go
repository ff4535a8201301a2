package embedded_test

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/certs"
	"openbank/embedded"
)

const patience = 30 * time.Second

// brokers is a Kafka with mutual TLS, and the settings with which librdkafka reaches it.
func brokers(t *testing.T) (*embedded.Kafka, certs.Options, kafka.ConfigMap) {
	t.Helper()
	set := certs.Options{Dir: filepath.Join(t.TempDir(), "certs")}
	if err := certs.Generate(set); err != nil {
		t.Fatal(err)
	}
	server, err := certs.ServerTLS(set.Files("kafka-1"))
	if err != nil {
		t.Fatal(err)
	}
	k, err := embedded.StartKafka(t.Context(), embedded.KafkaConfig{TLS: server})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	own := set.Files("command-handler")
	return k, set, kafka.ConfigMap{
		"bootstrap.servers": k.Addresses(), "security.protocol": "ssl", "enable.metrics.push": false, "log_level": 0,
		"ssl.ca.location": own.CA, "ssl.certificate.location": own.Cert, "ssl.key.location": own.Key, "ssl.key.password": own.Password,
	}
}

func with(settings kafka.ConfigMap, more kafka.ConfigMap) *kafka.ConfigMap {
	all := maps.Clone(settings)
	maps.Copy(all, more)
	return &all
}

func makeTopic(t *testing.T, settings kafka.ConfigMap, topic string, partitions int) {
	t.Helper()
	admin, err := kafka.NewAdminClient(&settings)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	made, err := admin.CreateTopics(t.Context(), []kafka.TopicSpecification{{Topic: topic, NumPartitions: partitions, ReplicationFactor: 3}})
	if err != nil || made[0].Error.Code() != kafka.ErrNoError {
		t.Fatal(err, made)
	}
}

// send produces records and returns when all of them are acknowledged.
func send(t *testing.T, settings kafka.ConfigMap, topic string, from, to int) {
	t.Helper()
	producer, err := kafka.NewProducer(with(settings, kafka.ConfigMap{"enable.idempotence": true, "linger.ms": 1}))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	deliveries := make(chan kafka.Event, to-from)
	for i := from; i < to; i++ {
		err := producer.Produce(&kafka.Message{TopicPartition: kafka.TopicPartition{Topic: &topic, Partition: kafka.PartitionAny}, Key: fmt.Append(nil, i), Value: fmt.Append(nil, i)}, deliveries)
		if err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.After(patience)
	for range to - from {
		select {
		case event := <-deliveries:
			if m, ok := event.(*kafka.Message); !ok || m.TopicPartition.Error != nil {
				t.Fatal(event)
			}
		case <-deadline:
			t.Fatal("the records were not acknowledged in time")
		}
	}
}

// consumer is a member of a cooperative-sticky group.
func consumer(t *testing.T, settings kafka.ConfigMap, topic string) *kafka.Consumer {
	t.Helper()
	c, err := kafka.NewConsumer(with(settings, kafka.ConfigMap{
		"group.id": "command-handler", "partition.assignment.strategy": "cooperative-sticky", "auto.offset.reset": "earliest",
		"enable.auto.commit": false, "session.timeout.ms": 6000, "heartbeat.interval.ms": 1000,
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Subscribe(topic, nil); err != nil {
		t.Fatal(err)
	}
	return c
}

// receive polls until want values have come, and commits them.
func receive(t *testing.T, want int, consumers ...*kafka.Consumer) map[string]int {
	t.Helper()
	got := make(map[string]int)
	deadline := time.Now().Add(patience)
	for len(got) < want {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d values came", len(got), want)
		}
		for _, c := range consumers {
			if m, ok := c.Poll(50).(*kafka.Message); ok {
				got[string(m.Value)]++
			}
		}
	}
	for _, c := range consumers {
		if _, err := c.Commit(); err != nil && !strings.Contains(err.Error(), "No offset stored") {
			t.Fatal(err)
		}
	}
	return got
}

func TestLibrdkafkaGoesOnWhereItWasAfterTheBrokersWereAway(t *testing.T) {
	t.Parallel()
	k, _, settings := brokers(t)
	makeTopic(t, settings, "commands", 9)
	send(t, settings, "commands", 0, 500)
	a, b := consumer(t, settings, "commands"), consumer(t, settings, "commands")
	defer func() {
		for _, c := range []*kafka.Consumer{a, b} {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}()
	receive(t, 500, a, b)
	// Until both have their share: partitions that move are read again from the committed offset.
	deadline := time.Now().Add(patience)
	for {
		a.Poll(20)
		b.Poll(20)
		first, err := a.Assignment()
		if err != nil {
			t.Fatal(err)
		}
		second, err := b.Assignment()
		if err != nil {
			t.Fatal(err)
		}
		if len(first)+len(second) == 9 && len(first) > 0 && len(second) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the members have %d and %d partitions of 9", len(first), len(second))
		}
	}
	if _, err := a.Commit(); err != nil && !strings.Contains(err.Error(), "No offset stored") {
		t.Fatal(err)
	}

	for round := range 2 {
		if err := k.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := k.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		from := 500 + 100*round
		send(t, settings, "commands", from, from+100)
		for value, times := range receive(t, 100, a, b) {
			if times != 1 || len(value) != 3 || value < fmt.Sprint(from) {
				t.Errorf("round %d: %s came %d times", round, value, times)
			}
		}
	}
}

func TestAClientWithoutACertificateIsRefused(t *testing.T) {
	t.Parallel()
	k, set, settings := brokers(t)
	for name, leave := range map[string]kafka.ConfigMap{
		"no certificate": {"bootstrap.servers": k.Addresses(), "security.protocol": "ssl", "ssl.ca.location": set.Files("").CA, "log_level": 0},
		"no TLS":         {"bootstrap.servers": k.Addresses(), "log_level": 0},
	} {
		admin, err := kafka.NewAdminClient(&leave)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := admin.GetMetadata(nil, true, 1500); err == nil {
			t.Errorf("a client with %s was let in", name)
		}
		admin.Close()
	}
	admin, err := kafka.NewAdminClient(&settings)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	metadata, err := admin.GetMetadata(nil, true, 10000)
	if err != nil || len(metadata.Brokers) != 3 {
		t.Errorf("with a certificate: %v, %v", metadata, err)
	}
}

func TestATopicIsNotMadeByBeingAskedFor(t *testing.T) {
	t.Parallel()
	_, _, settings := brokers(t)
	admin, err := kafka.NewAdminClient(with(settings, kafka.ConfigMap{"allow.auto.create.topics": true}))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	topic := "unknown"
	if _, err := admin.GetMetadata(&topic, false, 10000); err != nil {
		t.Fatal(err)
	}
	all, err := admin.GetMetadata(nil, true, 10000)
	if err != nil || len(all.Topics) != 0 {
		t.Errorf("there are topics: %v (%v)", all.Topics, err)
	}
}

func TestPortsCanBeChosenAndNothingRunsTwice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k, err := embedded.StartKafka(t.Context(), embedded.KafkaConfig{Dir: dir, Brokers: 1})
	if err != nil {
		t.Fatal(err)
	}
	address := k.Addresses()
	if err := k.Start(t.Context()); err == nil {
		t.Error("running brokers could be started once more")
	}
	if other, err := embedded.StartKafka(t.Context(), embedded.KafkaConfig{Dir: dir}); err == nil {
		_ = other.Close(t.Context())
		t.Error("other brokers could be started in the same directory")
	}
	if err := k.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := k.Close(t.Context()); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	var port int
	if _, err := fmt.Sscanf(address, "127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	again, err := embedded.StartKafka(t.Context(), embedded.KafkaConfig{Dir: dir, Ports: []int{port}})
	if err != nil {
		t.Fatal(err)
	}
	if again.Addresses() != address {
		t.Errorf("it is at %s, asked for %s", again.Addresses(), address)
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(again.Addresses()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if err := again.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
