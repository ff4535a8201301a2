// Package result is what a benchmark run leaves behind: one JSON file that holds all that a reader needs to judge the figures,
// or to make others of them. Who measures writes it, who reports and compares reads it; it measures and draws nothing itself.
package result

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"openbank/whole"
)

// Format is the version of the file's layout. A reader refuses files of another one.
const Format = 1

// Run is one run of the benchmark: one scenario, one or several handlers that took turns.
type Run struct {
	Format   int       `json:"format"`
	Tool     string    `json:"tool"`     // version of the benchmark
	Command  []string  `json:"command"`  // its arguments, without secrets
	Scenario string    `json:"scenario"` // latency, ramp, drain, soak, hot, grow, floor
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended"`

	Machine       Machine           `json:"machine"`
	Versions      map[string]string `json:"versions"`      // kafka, registry, postgres and whatever else took part
	Postgres      map[string]string `json:"postgres"`      // settings that decide its speed: fsync, synchronous_commit, shared_buffers …
	Configuration map[string]string `json:"configuration"` // the scenario's settings, as flags have them

	Subjects []Subject `json:"subjects"`

	// Interrupted says that the run was stopped before its end, Failure why it failed: then some of what is above is missing. Faults
	// are the first answers that were wrong.
	Interrupted bool     `json:"interrupted,omitempty"`
	Failure     string   `json:"failure,omitempty"`
	Faults      []string `json:"faults,omitempty"`
}

// Machine is where all of it ran.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory int64  `json:"memory_bytes"`
	System string `json:"system"` // distribution and kernel
}

// Subject is one thing that was measured: a handler, the floor, pgbench.
type Subject struct {
	Name     string   `json:"name"`
	Kind     string   `json:"kind"`     // handler, floor, store
	Command  string   `json:"command"`  // how it was started; empty when it ran already
	Delivery string   `json:"delivery"` // exactly-once, at-least-once; empty where it has no meaning
	Version  string   `json:"version"`
	Rounds   []Round  `json:"rounds"` // in order of time; those of several subjects interleave
	Notes    []string `json:"notes,omitempty"`
}

// Round is one measurement without warm-up.
type Round struct {
	Started  time.Time     `json:"started"`
	Duration time.Duration `json:"duration_ns"`
	// Load is the rate that was offered beside or as the measured interactions, in commands/s; 0 when all was there at once.
	Load float64 `json:"load_per_s"`
	// Handled is how many commands had been handled before, for grow.
	Handled int64 `json:"handled_before,omitempty"`
	// Hot is the share of transfers that touch one and the same account, 0 to 1, for hot.
	Hot float64 `json:"hot_share,omitempty"`
	// Handlers is how many handlers shared the work; 0 means one.
	Handlers int `json:"handlers,omitempty"`

	Commands int64   `json:"commands"` // sent
	Answered int64   `json:"answered"`
	Wrong    int64   `json:"wrong"`     // answers that a model contradicts: any makes the run a failure
	TimedOut int64   `json:"timed_out"` // interactions without an answer in time
	Rate     float64 `json:"rate_per_s"`

	// Latency is from when a command was due to be sent until its answer, or its BalanceChanged in ramp, was read. Nil where nothing was timed.
	Latency *Latency `json:"latency,omitempty"`
	// Lateness is how long after it was due the load generator handed a command to its Kafka client. It is part of Latency: where
	// it is not small beside it, the generator was too slow for this machine. Nil where nothing had a schedule.
	Lateness *Latency `json:"lateness,omitempty"`
	// Samples are the single interactions of a ramp; other scenarios keep a histogram a second instead.
	Samples []Sample `json:"samples,omitempty"`
	Seconds []Second `json:"seconds,omitempty"`
	Usage   []Usage  `json:"usage,omitempty"`
}

// Sample is one interaction.
type Sample struct {
	At      time.Duration `json:"at_ns"` // since the round's start
	Load    float64       `json:"load_per_s"`
	Latency time.Duration `json:"latency_ns"` // the time-out when it ran into it
	Timeout bool          `json:"timeout,omitempty"`
}

// Second is what happened in one second of a round.
type Second struct {
	Second   int           `json:"second"`
	Answered int64         `json:"answered"`
	P50      time.Duration `json:"p50_ns"`
	P99      time.Duration `json:"p99_ns"`
	Max      time.Duration `json:"max_ns"`
}

// Own is the Process of a subject's own usage: the handler's, all of them together when there are several. What else took part
// has its own name: kafka, registry, postgres, benchmark.
const Own = "handler"

// Usage is what one process or container had used by a moment.
type Usage struct {
	At      time.Duration `json:"at_ns"` // since the round's start
	Process string        `json:"process"`
	CPU     time.Duration `json:"cpu_ns"`         // user and system, since the process began
	RSS     int64         `json:"rss_bytes"`      // at that moment
	PeakRSS int64         `json:"peak_rss_bytes"` // so far, where the system tells
}

// Latency is a histogram in nanoseconds, 1 µs to an hour with three significant digits. In the file it is HdrHistogram's own
// compressed form (V2, base64), which its tools in other languages read, with its usual percentiles beside it for people.
type Latency struct{ *hdrhistogram.Histogram }

// NewLatency makes an empty one.
func NewLatency() *Latency {
	return &Latency{hdrhistogram.New(int64(time.Microsecond), int64(time.Hour), 3)}
}

// At is the latency that q percent of all were at or below, q from 0 to 100.
func (l *Latency) At(q float64) time.Duration { return time.Duration(l.ValueAtQuantile(q)) }

type latencyFile struct {
	Count     int64         `json:"count"`
	Mean      float64       `json:"mean_ns"`
	P50       time.Duration `json:"p50_ns"`
	P90       time.Duration `json:"p90_ns"`
	P99       time.Duration `json:"p99_ns"`
	P999      time.Duration `json:"p999_ns"`
	Max       time.Duration `json:"max_ns"`
	Histogram string        `json:"hdr_v2"`
}

// MarshalJSON writes the histogram and its percentiles.
func (l *Latency) MarshalJSON() ([]byte, error) {
	encoded, err := l.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return nil, fmt.Errorf("encoding a histogram: %w", err)
	}
	return json.Marshal(latencyFile{
		Count: l.TotalCount(), Mean: l.Mean(), P50: l.At(50), P90: l.At(90), P99: l.At(99), P999: l.At(99.9),
		Max: time.Duration(l.Max()), Histogram: string(encoded),
	})
}

// UnmarshalJSON reads the histogram; the percentiles come of it.
func (l *Latency) UnmarshalJSON(text []byte) error {
	var file latencyFile
	if err := json.Unmarshal(text, &file); err != nil {
		return err
	}
	decoded, err := hdrhistogram.Decode([]byte(file.Histogram))
	if err != nil {
		return fmt.Errorf("decoding a histogram: %w", err)
	}
	l.Histogram = decoded
	return nil
}

// Read reads a run's file. Errors name the file, and what it is instead.
func Read(path string) (*Run, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading a result: %w", err)
	}
	run := &Run{}
	if err := json.Unmarshal(text, run); err != nil {
		return nil, fmt.Errorf("reading %s: not a result of latency-benchmark run: %w", path, err)
	}
	if run.Format != Format {
		return nil, fmt.Errorf("reading %s: its format is %d, this version reads %d: use the latency-benchmark that wrote it", path, run.Format, Format)
	}
	return run, nil
}

// CanWrite says why no run's file can be written at path; before a measurement rather than after it.
func CanWrite(path string) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // as Write does
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	var why *fs.PathError
	if errors.As(err, &why) {
		return fmt.Errorf("no file can be made in %s: %w", filepath.Dir(path), why.Err)
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// Write writes a run's file, whole or not at all.
func (r *Run) Write(path string) error {
	r.Format = Format
	if err := whole.Write(path, 0o644, r.encode); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

func (r *Run) encode(to io.Writer) error {
	e := json.NewEncoder(to)
	e.SetIndent("", " ")
	return e.Encode(r)
}
