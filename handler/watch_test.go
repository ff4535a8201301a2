package handler_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// watch collects what is written to topics from here to the test's end.
type watch struct {
	b       *bundle
	mu      sync.Mutex
	records map[string][]*kgo.Record // by topic
}

func (b *bundle) watch(topics ...string) *watch {
	b.t.Helper()
	return b.watchAs(kgo.ReadCommitted(), topics...)
}

func (b *bundle) watchAs(level kgo.IsolationLevel, topics ...string) *watch {
	b.t.Helper()
	client, err := b.kafka.Client("watch", kgo.FetchIsolationLevel(level), kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(100*time.Millisecond), kgo.MetadataMinAge(100*time.Millisecond), kgo.UnknownTopicRetries(-1))
	if err != nil {
		b.t.Fatal(err)
	}
	w := &watch{b: b, records: map[string][]*kgo.Record{}}
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			fetched := client.PollFetches(ctx)
			w.mu.Lock()
			fetched.EachRecord(func(r *kgo.Record) { w.records[r.Topic] = append(w.records[r.Topic], r) })
			w.mu.Unlock()
		}
	}()
	b.t.Cleanup(func() {
		cancel()
		<-done
		client.Close()
	})
	return w
}

// of are the records of a topic with a key, so far.
func (w *watch) of(topic, key string) []*kgo.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []*kgo.Record
	for _, r := range w.records[topic] {
		if key == "" || string(r.Key) == key {
			found = append(found, r)
		}
	}
	return found
}

// wait returns the first n records of a topic with a key ("" for any).
func (w *watch) wait(topic, key string, n int) []*kgo.Record {
	w.b.t.Helper()
	var found []*kgo.Record
	w.b.eventually(fmt.Sprintf("%d records on %s with key %q", n, topic, key), reasonableTimeout, func() error {
		if found = w.of(topic, key); len(found) < n {
			return fmt.Errorf("there are %d", len(found))
		}
		return nil
	})
	return found[:n]
}
