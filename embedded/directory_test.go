package embedded_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"openbank/embedded"
)

// Whoever makes a temporary directory sweeps those away that nobody holds: never one that another is making at that moment.
func TestTemporaryDirectoriesThatAreBeingMadeAreNotSweptAway(t *testing.T) {
	t.Parallel()
	var makers sync.WaitGroup
	for range 8 {
		makers.Go(func() {
			for range 100 {
				r, err := embedded.StartRegistry(t.Context(), embedded.RegistryConfig{})
				if err != nil {
					t.Error(err)
					return
				}
				if err := r.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	makers.Wait()
}

// directory's name is one that a temporary directory could have: others who sweep leave it alone, held or not.
func TestADirectoryThatWasGivenIsNotSweptAway(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	for id := 1; id <= 2; id++ {
		given, err := embedded.StartRegistry(t.Context(), embedded.RegistryConfig{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if got := register(t, given.URL(), strconv.Itoa(id), `{"type":"fixed","name":"f","size":`+strconv.Itoa(id)+`}`); got != id {
			t.Errorf("schema %d has id %d: what was there before is gone", id, got)
		}
		if err := given.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		temporary, err := embedded.StartRegistry(t.Context(), embedded.RegistryConfig{})
		if err != nil {
			t.Fatal(err)
		}
		if err := temporary.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// A file of ports can be cut short, by hand, by a disk, or by the machine that went down under an earlier version: a bank opens all the same, at others.
func TestDamagedPortsAreToldAndReplaced(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	const cut = `{"kafka":[1,2,`
	path, before := filepath.Join(dir, "ports.json"), filepath.Join(directory(t), "before")
	if err := errors.Join(os.WriteFile(path, []byte(cut), 0o600), os.Link(path, before)); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	b := bank(t, embedded.Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if said := log.String(); !strings.Contains(said, "the ports of the last run can't be read") || !strings.Contains(said, path) {
		t.Errorf("it says %q", said)
	}
	var noted struct{ Registry int }
	if text, err := os.ReadFile(path); err != nil || json.Unmarshal(text, &noted) != nil || !strings.HasSuffix(b.Registry.URL(), fmt.Sprint(":", noted.Registry)) {
		t.Errorf("%v: %s, and the registry is at %s", err, text, b.Registry.URL())
	}
	if text, err := os.ReadFile(before); err != nil || string(text) != cut {
		t.Errorf("%v: the old file was written over, which a crash can cut short: %s", err, text)
	}
}
