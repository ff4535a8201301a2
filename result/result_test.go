package result

import (
	"os"
	"path/filepath"
	"reflect"
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
