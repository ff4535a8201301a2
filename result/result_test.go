package result

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestARunIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	latency := NewLatency()
	for i := range 1000 {
		if err := latency.RecordValue(int64(i+1) * int64(time.Millisecond)); err != nil {
			t.Fatal(err)
		}
	}
	run := &Run{
		Tool: "v1", Scenario: "latency", Started: time.Unix(1, 0).UTC(),
		Subjects: []Subject{{Name: "ours", Kind: "handler", Delivery: "exactly-once", Rounds: []Round{{Load: 500, Latency: latency}}}},
	}
	path := filepath.Join(t.TempDir(), "run.json")
	if err := run.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	read := got.Subjects[0].Rounds[0].Latency
	for _, q := range []float64{0, 50, 99, 99.9, 100} {
		if read.At(q) != latency.At(q) {
			t.Errorf("p%v is %s, was %s", q, read.At(q), latency.At(q))
		}
	}
	got.Subjects[0].Rounds[0].Latency, run.Subjects[0].Rounds[0].Latency = nil, nil
	if !reflect.DeepEqual(got, run) {
		t.Errorf("read %+v, wrote %+v", got, run)
	}
}

func TestALinkIsWrittenWhereItLeads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, link, nowhere := filepath.Join(dir, "run.json"), filepath.Join(dir, "latest.json"), filepath.Join(dir, "nowhere.json")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Symlink(path, link), os.Symlink("/proc/version", nowhere)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(CanWrite(link), (&Run{Tool: "v1"}).Write(link)); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(path); err != nil || got.Tool != "v1" {
		t.Errorf("%+v, %v", got, err)
	}
	if err := CanWrite(nowhere); err == nil || !strings.Contains(err.Error(), "no file can be made in /proc") {
		t.Errorf("a link to where nothing can be made: %v", err)
	}
}

func TestUsageIsToldByProcess(t *testing.T) {
	t.Parallel()
	r := Round{Usage: []Usage{
		{At: 2 * time.Second, Process: Own, CPU: 5 * time.Second, RSS: 30},
		{Process: "broker", CPU: time.Second, RSS: 7, PeakRSS: 9},
		{Process: Own, CPU: 2 * time.Second, RSS: 40, PeakRSS: 35},
	}}
	if got := r.Processes(); !slices.Equal(got, []string{Own, "broker"}) {
		t.Errorf("processes: %v", got)
	}
	if used, over := r.CPU(Own); used != 3*time.Second || over != 2*time.Second {
		t.Errorf("the handler used %s in %s", used, over)
	}
	if used, over := r.CPU("broker"); used != 0 || over != 0 {
		t.Errorf("one sample of the broker tells of %s in %s", used, over)
	}
	if own, broker := r.PeakRSS(Own), r.PeakRSS("broker"); own != 40 || broker != 9 {
		t.Errorf("peaks: %d, %d", own, broker)
	}
}

func TestOtherFilesAreRefusedByName(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"no json":        "not a result",
		`{"format": 99}`: "format is 99",
		`{}`:             "format is 0",
	} {
		path := filepath.Join(t.TempDir(), "other.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
