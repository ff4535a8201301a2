package main

import "runtime/debug"

// memoryLimit is what the Go heap is kept to unless GOMEMLIMIT says otherwise, in bytes; librdkafka's buffers come on top.
const memoryLimit = 24 << 20

// heapGrowth and backlogGrowth are by how many percent of what is in use the Go heap grows between two collections before there has been
// a backlog and after, unless GOGC says otherwise. There is little in use, 2 to 4 MB: half of Go's default saves as much again, for a few
// percent more CPU while commands are few. In a backlog it would be a tenth more, and there unload has made room for a larger heap
// (docs/benchmarks/2026-11-26-handler.md, "What was changed").
const (
	heapGrowth    = 50
	backlogGrowth = 85
)

// limitMemory sets Go's memory limit and how its heap grows as far as the environment does not, and returns what to call at a backlog.
func limitMemory(env func(string) (string, bool)) func() {
	if _, ok := env("GOMEMLIMIT"); !ok {
		debug.SetMemoryLimit(memoryLimit)
	}
	_, growthSet := env("GOGC")
	if !growthSet {
		debug.SetGCPercent(heapGrowth)
	}
	return func() {
		if !growthSet {
			debug.SetGCPercent(backlogGrowth)
		}
		unload()
		keepGroups()
	}
}
