//go:build !realkafka

package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A pipe that nobody writes to stands for whatever takes long to read.
func TestAnInterruptEndsTheReadingOfFiles(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"lint": {"lint", "--topology"}, "plan": {"plan", "--topology"}, "a saved plan": {"apply"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pipe := filepath.Join(t.TempDir(), "topology.yaml")
			if err := syscall.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan result)
			go func() {
				var out, stderr bytes.Buffer
				err := run(ctx, append(args, pipe), func(string) string { return "" }, console{out: &out, err: &stderr})
				done <- result{status: exitStatus(err, &stderr), err: err, stderr: stderr.String()}
			}()
			writer, err := os.OpenFile(pipe, os.O_WRONLY, 0) // returns once somebody reads
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			(<-done).check(t, statusError, "reading the ", ": interrupted")
			if err := writer.Close(); err != nil { // so that what still reads ends
				t.Error(err)
			}
		})
	}
}

// The brokers answer the creation of topics no more, as it happens, and somebody presses ctrl-C.
func TestAnInterruptTellsOnceWhatWasAppliedAndWhatNot(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	s.create(t, "old", 1, 1, nil)
	file := write(t, "topics: [{name: a, partitions: 1, replicas: 1, schemas: [Heartbeat]}, {name: b, partitions: 1, replicas: 1}, {name: old, partitions: 2, replicas: 1, config: {retention.ms: 5}}]\nacls: [{principal: User:shop, reads: [a]}]", nil)
	ctx, cancel := context.WithCancel(t.Context())
	s.embedded.kafka.ControlKey(int16(kmsg.CreateTopics), func(request kmsg.Request) (kmsg.Response, error, bool) {
		s.embedded.kafka.KeepControl()
		if request.(*kmsg.CreateTopicsRequest).ValidateOnly {
			return nil, nil, false
		}
		cancel()
		s.embedded.kafka.SleepControl(func() { <-t.Context().Done() })
		return nil, nil, false
	})
	var out, stderr bytes.Buffer
	err := run(ctx, []string{"apply", "--yes", "--topology", file}, s.getenv, console{out: &out, err: &stderr})
	got := result{exitStatus(err, &stderr), err, out.String(), stderr.String()}
	got.check(t, statusError, "it was interrupted before all was done", "under way, and perhaps applied:\n  topic a\n  topic b\nnot begun:\n  config of topic old\n  partitions of topic old\n  ACL User:shop: allow describe on topic a\n", "applied:\n  subject a-nl.openweb.data.Heartbeat")
	if n := strings.Count(got.stderr, "interrupted"); n != 1 || strings.Contains(got.stderr, "canceled") {
		t.Errorf("%d times: %s", n, got.stderr)
	}
}

// The first entry on a topic locks out everybody whose own is not there, for good when somebody presses ctrl-C before it is.
func TestACLsComeTogether(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	file := write(t, "topics: [{name: a, partitions: 1, replicas: 1}]\nacls: [{principal: User:shop, reads: [a]}, {principal: User:till, writes: [a]}]", nil)
	var sizes []int
	s.embedded.kafka.ControlKey(int16(kmsg.CreateACLs), func(request kmsg.Request) (kmsg.Response, error, bool) {
		s.embedded.kafka.KeepControl()
		sizes = append(sizes, len(request.(*kmsg.CreateACLsRequest).Creations))
		return nil, nil, false
	})
	s.run(t, "apply", "--yes", "--topology", file).check(t, 0, "User:shop: allow describe on topic a", "User:till: allow write on topic a")
	if len(sizes) != 1 || sizes[0] < 4 {
		t.Errorf("the entries came in requests of %v", sizes)
	}
	s.run(t, "plan", "--topology", file).check(t, 0)
}

// Another one makes the topic between our plan and our request, and the broker that we ask what it is like has not heard of it yet.
func TestATopicThatAnotherMadeAMomentAgoIsLookedAtWhenItIsKnown(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	file := write(t, "topics: [{name: a, partitions: 2, replicas: 1, config: {retention.ms: 5}}]", nil)
	kafka := s.embedded.kafka
	unheard, made := 0, false // control functions are called one at a time
	kafka.ControlKey(int16(kmsg.CreateTopics), func(request kmsg.Request) (kmsg.Response, error, bool) {
		if request.(*kmsg.CreateTopicsRequest).ValidateOnly || made {
			return nil, nil, false
		}
		made = true
		retention := "5"
		kafka.SleepControl(func() { s.create(t, "a", 2, 1, map[string]*string{"retention.ms": &retention}) })
		unheard = 3
		return nil, nil, false
	})
	kafka.ControlKey(int16(kmsg.Metadata), func(request kmsg.Request) (kmsg.Response, error, bool) {
		asked := request.(*kmsg.MetadataRequest)
		if unheard == 0 || len(asked.Topics) != 1 || asked.Topics[0].Topic == nil || *asked.Topics[0].Topic != "a" {
			return nil, nil, false
		}
		kafka.KeepControl()
		unheard--
		answer := asked.ResponseKind().(*kmsg.MetadataResponse)
		for id, address := range kafka.ListenAddrs() {
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				t.Error(err)
			}
			broker := kmsg.NewMetadataResponseBroker()
			number, _ := strconv.Atoi(port)
			broker.NodeID, broker.Host, broker.Port = int32(id), host, int32(number)
			answer.Brokers = append(answer.Brokers, broker)
		}
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic, topic.ErrorCode = asked.Topics[0].Topic, kerr.UnknownTopicOrPartition.Code
		answer.Topics = append(answer.Topics, topic)
		return answer, nil, true
	})
	s.run(t, "apply", "--yes", "--topology", file).check(t, 0, "Applied: 1 created")
	if unheard != 0 {
		t.Errorf("it was not asked for %d times more", unheard)
	}
}
