package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"openbank/benchmark"
	"openbank/connect"
	"openbank/load"
	"openbank/progress"
	"openbank/result"
	"openbank/surroundings"
	"openbank/usage"
)

type runCommand struct {
	Latency latencyCommand `cmd:"" help:"From when a command is due to its answer, at constant rates that do not wait for the bank."`
	Ramp    rampCommand    `cmd:"" help:"The procedure of the published results: one interaction a second, and ever more load beside it."`
	Drain   drainCommand   `cmd:"" help:"How fast a backlog is answered."`
	Soak    soakCommand    `cmd:"" help:"Latency over a long time."`
	Hot     hotCommand     `cmd:"" help:"How fast a backlog is answered when transfers meet on one account, beside one that is spread."`
	Grow    growCommand    `cmd:"" help:"How fast a backlog is answered after millions of handled commands."`
	Floor   floorCommand   `cmd:"" help:"What this machine can do at best: an echo, TPC-B, the bare writes, fsync."`
}

// common is what all scenarios take.
type common struct {
	Bank          surroundings.Connection `embed:""`
	Topics        connect.Topics          `embed:""`
	Surroundings  string                  `enum:"auto,embedded,real,given" default:"auto" help:"embedded: brokers and registry in this process, and a Postgres. real: Apache Kafka, a registry and a Postgres that are started for it; needs Java and Maven. given: the stack that flags or environment name. auto: given when KAFKA_BROKERS or --kafka-brokers is there, else embedded."`
	BrokerSetting map[string]string       `mapsep:"none" placeholder:"NAME=VALUE" help:"A setting of the broker with --surroundings real, as in server.properties; may be given several times."`

	Handler      []string `sep:"none" placeholder:"NAME=COMMAND" help:"A handler to measure, with VARIABLE=value before its program if need be; several take turns. Without one: the command-handler beside this program, or on a given stack the handler that runs there."`
	Rounds       int      `default:"1" help:"How often each takes its turn."`
	WarmUpRounds *int     `placeholder:"N" help:"Rounds before those, which do not count. Default: 1 with --surroundings real for drain, hot, latency and floor, since the brokers' JVM is slow at first; otherwise 0."`
	Accounts     int      `default:"10000" help:"How many accounts each turn opens."`
	Rejected     float64  `default:"0.01" help:"Share of transfers with a wrong token, 0 to 1."`
	Patience     duration `default:"30s" help:"How long nothing may come while something is waited for."`

	Beside    []string `placeholder:"NAME" help:"What takes turns with the handlers: echo-exactly-once, echo-at-least-once, tpcb, writes, fsync; with commas between."`
	MaxBatch  int      `default:"4000" help:"Most commands in one go, of echo and writes."`
	Scale     int      `default:"50" help:"Scale of TPC-B."`
	Clients   int      `default:"16" help:"Clients of TPC-B."`
	StoreTime duration `default:"10s" help:"How long each turn of tpcb, writes and fsync takes."`
	FsyncDir  string   `placeholder:"DIRECTORY" help:"Where fsync is measured; that for temporary files when not given."`

	Sample      []string `sep:"none" placeholder:"WHAT" help:"Whose CPU and memory to sample besides a handler that is started here: pid:NAME=PID, or container:NAME."`
	SampleEvery duration `default:"250ms" help:"Time between samples."`
	Out         string   `placeholder:"FILE" help:"Where the result goes; a name with scenario and time in this directory when not given."`
	Logs        string   `placeholder:"DIRECTORY" help:"Where handlers' logs go; a temporary directory, which stays when the run fails, when not given."`

	noHandler bool // floor measures none
}

// duration is a time.Duration that is more than 0.
type duration time.Duration

// UnmarshalText reads 250ms, 10s, 1h.
func (d *duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no time such as 250ms, 10s or 1h", text)
	}
	if parsed <= 0 {
		return fmt.Errorf("%q is not above 0: write a time such as 250ms, 10s or 1h", text)
	}
	*d = duration(parsed)
	return nil
}

func (c *common) check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Rounds < 1 {
		fault("--rounds must be at least 1")
	}
	if c.WarmUpRounds != nil && *c.WarmUpRounds < 0 {
		fault("--warm-up-rounds must be at least 0")
	}
	if len(c.BrokerSetting) > 0 && c.Surroundings != "real" {
		fault("--broker-setting is for the Kafka of --surroundings real; others have their own settings")
	}
	if c.Accounts < 2 {
		fault("--accounts must be at least 2: money goes from one to another")
	}
	if !(c.Rejected >= 0 && c.Rejected <= 1) { // nor is NaN one
		fault("--rejected: %g is no share from 0 to 1", c.Rejected)
	}
	for _, n := range []struct {
		flag  string
		value int
	}{{"--max-batch", c.MaxBatch}, {"--scale", c.Scale}, {"--clients", c.Clients}} {
		if n.value < 1 {
			fault("%s must be at least 1", n.flag)
		}
	}
	for _, d := range []struct{ flag, path string }{{"--fsync-dir", c.FsyncDir}, {"--out", filepath.Dir(c.Out)}} {
		if d.path == "" {
			continue
		}
		if there, err := os.Stat(d.path); err != nil {
			fault("%s: %w", d.flag, err)
		} else if !there.IsDir() {
			fault("%s: %s is not a directory", d.flag, d.path)
		}
	}
	faults = append(faults, c.Topics.Check())
	if there, err := os.Stat(c.Out); err == nil && there.IsDir() {
		fault("--out: %s is a directory: name a file in it", c.Out)
	} else if err := result.CanWrite(c.Out); err != nil && errors.Join(faults...) == nil { // or it is said already what is wrong with the directory
		fault("--out: %w", err)
	}
	return errors.Join(faults...)
}

// scenario is what a command runs.
type scenario interface {
	Run(ctx context.Context, b *benchmark.Bench) error
}

// measure starts what has to be started, runs a scenario, and leaves the result, also of a run that failed or was interrupted.
func (c *common) measure(s *session, name string, settings map[string]string, run scenario) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	if c.WarmUpRounds == nil {
		c.WarmUpRounds = new(int)
		if c.Surroundings == "real" && slices.Contains([]string{"drain", "hot", "latency", "floor"}, name) {
			*c.WarmUpRounds = 1
		}
	}
	out := c.Out
	r := &result.Run{
		Tool: toolVersion(), Command: append([]string{"latency-benchmark"}, withoutSecrets(s.args)...), Scenario: name,
		Started: time.Now().UTC().Truncate(time.Millisecond), Configuration: c.configuration(settings),
	}
	if out == "" {
		out = fmt.Sprintf("latency-benchmark-%s-%s.json", name, r.Started.Format("20060102-150405"))
	}
	shown := progress.New(s.stderr)
	bench, closeAll, err := c.prepare(s, r, shown)
	defer func() { err = errors.Join(err, closeAll(err != nil)) }()
	if err != nil {
		shown.Abandon()
		return err
	}
	failed := run.Run(s.ctx, bench)
	r.Ended = time.Now().UTC().Truncate(time.Millisecond)
	if s.ctx.Err() != nil {
		r.Interrupted, failed = true, errors.New("interrupted: the result holds what was measured until then")
	} else if failed != nil {
		r.Failure = failed.Error()
	}
	if slices.ContainsFunc(r.Subjects, func(s result.Subject) bool { return len(s.Rounds) > 0 }) {
		benchmark.Print(s.stdout, r)
	}
	if err := r.Write(out); err != nil {
		return errors.Join(failed, err)
	}
	fmt.Fprintf(s.stdout, "result: %s\n", out)
	return failed
}

// prepare is all that comes before a scenario. What it returns closes what it opened, also when it fails.
func (c *common) prepare(s *session, r *result.Run, shown *progress.Progress) (_ *benchmark.Bench, closeAll func(failed bool) error, err error) {
	var closers []func(failed bool) error
	closeAll = func(failed bool) error {
		var faults []error
		for i := len(closers) - 1; i >= 0; i-- {
			faults = append(faults, closers[i](failed))
		}
		return errors.Join(faults...)
	}
	logger := slog.New(slog.NewTextHandler(s.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	config := benchmark.Config{
		Rounds: c.Rounds, WarmUpRounds: *c.WarmUpRounds, Accounts: c.Accounts, Rejected: c.Rejected, Patience: time.Duration(c.Patience), MaxBatch: c.MaxBatch,
		Scale: c.Scale, Clients: c.Clients, StoreTime: time.Duration(c.StoreTime), FsyncDir: c.FsyncDir, Interval: time.Duration(c.SampleEvery),
		Progress: shown, Logger: logger,
	}
	if config.FsyncDir == "" {
		config.FsyncDir = os.TempDir()
	}
	if config.Self, err = os.Executable(); err != nil {
		return nil, closeAll, fmt.Errorf("finding this program: %w", err)
	}
	given := c.given(s)
	if !c.noHandler {
		if config.Handlers, err = c.contestants(s, given); err != nil {
			return nil, closeAll, err
		}
	}
	for _, beside := range c.Beside {
		if delivery, ok := strings.CutPrefix(beside, "echo-"); ok && (delivery == "exactly-once" || delivery == "at-least-once") {
			config.Echoes = append(config.Echoes, delivery)
			continue
		}
		if beside != benchmark.TPCB && beside != benchmark.Writes && beside != benchmark.Fsync {
			return nil, closeAll, fmt.Errorf("--beside: %q is none of echo-exactly-once, echo-at-least-once, tpcb, writes and fsync", beside)
		}
		config.Stores = append(config.Stores, beside)
	}
	for _, text := range c.Sample {
		target, err := usage.Parse(s.ctx, text)
		if err != nil {
			return nil, closeAll, fmt.Errorf("--sample: %w", err)
		}
		config.Targets = append(config.Targets, target)
	}
	dir := c.Logs
	if dir == "" {
		if dir, err = os.MkdirTemp("", "latency-benchmark-"); err != nil {
			return nil, closeAll, fmt.Errorf("making a directory for logs: %w", err)
		}
		closers = append(closers, func(failed bool) error {
			if logs, err := os.ReadDir(dir); failed && s.ctx.Err() == nil && err == nil && len(logs) > 0 {
				fmt.Fprintf(s.stderr, "the handlers' logs are in %s\n", dir)
				return nil
			}
			return os.RemoveAll(dir)
		})
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, closeAll, fmt.Errorf("--logs: %w", err)
	}
	config.World = &benchmark.World{Connection: c.Bank, Topics: c.Topics, Dir: dir, Logger: logger}
	if !given {
		around, err := c.surround(s, shown, logger)
		if err != nil {
			return nil, closeAll, err
		}
		closers = append(closers, func(bool) error { return around.Stop() })
		config.World.Own, config.World.Connection, config.World.Topics = around, around.Connection, load.DefaultTopics
	}
	if given && len(c.Handler) > 0 {
		if err := config.World.Unattended(s.ctx); err != nil {
			return nil, closeAll, err
		}
	}
	benchmark.Describe(s.ctx, config.World, r)
	return benchmark.New(config, r), closeAll, nil
}

// theirs says whether the handler is somebody else's too.
func (c *common) theirs(s *session) bool { return c.given(s) && len(c.Handler) == 0 }

// given says whether the bank is somebody else's.
func (c *common) given(s *session) bool {
	switch c.Surroundings {
	case "given":
		return true
	case "auto":
		for _, arg := range s.args {
			if strings.HasPrefix(arg, "--kafka-brokers") {
				return true
			}
		}
		return s.getenv("KAFKA_BROKERS") != ""
	}
	return false
}

func (c *common) surround(s *session, shown *progress.Progress, logger *slog.Logger) (around *surroundings.Surroundings, err error) {
	if c.Surroundings == "real" {
		shown.Step("starting Apache Kafka, a registry and Postgres")
		around, err = surroundings.Real(s.ctx, c.BrokerSetting, logger)
	} else {
		shown.Step("starting the embedded Kafka, registry and Postgres")
		around, err = surroundings.Embedded(s.ctx, "", logger)
	}
	if err == nil {
		shown.Done("ready")
	}
	return around, err
}
