package main

import (
	"runtime/debug"
	"testing"
)

// Not beside other tests: it is this process's heap.
func TestABacklogLetsTheHeapGrowUnlessItsGrowthIsSet(t *testing.T) {
	const given = 77
	limit, growth := debug.SetMemoryLimit(-1), debug.SetGCPercent(given)
	defer func() {
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(growth)
	}()
	for name, c := range map[string]struct {
		set           bool
		before, after int
	}{
		"set":     {true, given, given},
		"not set": {false, heapGrowth, backlogGrowth},
	} {
		debug.SetGCPercent(given)
		backlog := limitMemory(func(string) (string, bool) { return "", c.set })
		if got := debug.SetGCPercent(c.before); got != c.before {
			t.Errorf("%s: %d%%, want %d%%", name, got, c.before)
		}
		backlog()
		if got := debug.SetGCPercent(given); got != c.after {
			t.Errorf("%s: %d%% in a backlog, want %d%%", name, got, c.after)
		}
	}
}
