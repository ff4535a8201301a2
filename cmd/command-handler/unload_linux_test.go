package main

import (
	"io"
	"os"
	"regexp"
	"strconv"
	"testing"
)

// What the program has used of its file leaves the process's memory, and the program goes on.
func TestTheProgramIsUnloaded(t *testing.T) {
	useAll(t)
	before := residentOfFiles(t)
	unload()
	if after := residentOfFiles(t); after > before*3/4 {
		t.Errorf("%d KB of mapped files are resident, %d before: at least a quarter less expected", after, before)
	}
}

// useAll has every page of this program in the process's memory.
func useAll(t *testing.T) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = memory.Close() }()
	for _, m := range regexp.MustCompile(`(?m)^([0-9a-f]+)-([0-9a-f]+) r-.p .*command-handler\.test$`).FindAllSubmatch(maps, -1) {
		from, to := int64(address(string(m[1]))), int64(address(string(m[2])))
		if _, err := io.Copy(io.Discard, io.NewSectionReader(memory, from, to-from)); err != nil {
			t.Fatal(err)
		}
	}
}

func residentOfFiles(t *testing.T) int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`RssFile:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		t.Fatalf("no RssFile in %s", status)
	}
	kb, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kb
}
