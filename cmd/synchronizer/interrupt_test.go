//go:build !realkafka

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

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
