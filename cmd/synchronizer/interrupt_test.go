//go:build !realkafka

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
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
			(<-done).check(t, statusError, "reading the ", "context canceled")
			if err := writer.Close(); err != nil { // so that what still reads ends
				t.Error(err)
			}
		})
	}
}
