package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/connect"
	"openbank/topology"
)

// connection are the flags of every command that looks at a cluster.
type connection struct {
	Kafka    connect.Kafka    `embed:""`
	Registry connect.Registry `embed:""`

	Brokers *int          `placeholder:"N" help:"How many brokers to wait for. As many as KAFKA_BROKERS names when not given."`
	Timeout time.Duration `default:"5m" help:"How long to wait for brokers and registry, and to look at what is there."`
	LogJSON bool          `name:"log-json" help:"Log in JSON instead of text."`
}

// Check reports what is wrong with the flags.
func (f *connection) Check() error {
	faults := []error{connect.Check(f.Kafka, f.Registry)}
	if f.Brokers != nil && *f.Brokers < 1 {
		faults = append(faults, errors.New("--brokers must be at least 1"))
	}
	if f.Timeout <= 0 {
		faults = append(faults, errors.New("--timeout must be more than nothing, such as 5m"))
	}
	return errors.Join(faults...)
}

// open makes the clients. The caller calls what is returned when it is done with them.
func (f *connection) open(stderr io.Writer) (*topology.Target, func(), error) {
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	if f.LogJSON {
		logger = slog.New(slog.NewJSONHandler(stderr, nil))
	}
	// A request that fails comes back at once, with its reason: the waiting, and the telling of it, is the topology's.
	kafka, err := f.Kafka.Client("synchronizer", kgo.RequestRetries(1))
	if err != nil {
		return nil, nil, err
	}
	registry, err := f.Registry.Client(logger)
	if err != nil {
		kafka.Close()
		return nil, nil, err
	}
	target := &topology.Target{Kafka: kafka, Registry: registry, Brokers: len(f.Kafka.Brokers), Logger: logger}
	if f.Brokers != nil {
		target.Brokers = *f.Brokers
	}
	return target, func() { registry.Close(); kafka.Close() }, nil
}

// explain names the flag behind a time-out.
func (f *connection) explain(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w; it was waited for %s (--timeout)", err, f.Timeout)
	}
	return err
}

// load reads a topology, or the embedded one. It gives up when ctx ends: a file may be a pipe that nobody writes to, or take long.
func load(ctx context.Context, file string) (*topology.Topology, error) {
	if file == "" {
		return topology.Default()
	}
	want, err := untilDone(ctx, func() (*topology.Topology, error) {
		return topology.Load(os.DirFS(filepath.Dir(file)), filepath.Base(file))
	})
	var bad *topology.FileError
	if errors.As(err, &bad) {
		for _, fault := range bad.Faults {
			fault.File = file
		}
		return nil, fmt.Errorf("reading the topology %s: %s\n%w", file, count(len(bad.Faults), "fault"), err)
	}
	var failed *fs.PathError
	switch {
	case errors.As(err, &failed) && errors.Is(err, syscall.EISDIR):
		return nil, fmt.Errorf("reading the topology %s: it is a directory: name the file, such as %s", file, filepath.Join(file, topology.ExportedName))
	case errors.As(err, &failed): // which knows the name without the directory
		return nil, fmt.Errorf("reading the topology %s: %w", file, failed.Err)
	case err != nil:
		return nil, fmt.Errorf("reading the topology %s: %w", file, err)
	}
	return want, nil
}

// untilDone does what takes no context, and does not wait for it any more when ctx ends: the program does then, too.
func untilDone[T any](ctx context.Context, do func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := do()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// planning are the flags of plan and apply.
type planning struct {
	connection

	Topology    string   `placeholder:"FILE" help:"The topology; the open-bank stack's when not given."`
	AllowDelete []string `values:"topics,subjects,acls" placeholder:"WHAT" help:"Delete what the topology does not list, of these: topics, subjects, acls, with commas between. Internal and protected names never are."`
	PruneConfig bool     `help:"Set configuration of listed topics that the topology does not name back to the default."`
	Output      string   `enum:"text,json" default:"text" help:"text or json."`
}

// Check reports what is wrong with the flags.
func (f *planning) Check() error {
	faults := []error{f.connection.Check()}
	for _, what := range f.AllowDelete {
		switch strings.TrimSpace(what) {
		case "topics", "subjects", "acls":
		default:
			faults = append(faults, fmt.Errorf("--allow-delete: %q is none of topics, subjects, acls: name one or more of them, with commas between", what))
		}
	}
	return errors.Join(faults...)
}

func (f *planning) options() topology.Options {
	options := topology.Options{PruneConfig: f.PruneConfig}
	for _, what := range f.AllowDelete {
		switch strings.TrimSpace(what) {
		case "topics":
			options.DeleteTopics = true
		case "subjects":
			options.DeleteSubjects = true
		default:
			options.DeleteACLs = true
		}
	}
	return options
}

// plan compares within the time-out.
func (f *planning) plan(ctx context.Context, target *topology.Target, want *topology.Topology, options topology.Options) (*topology.Plan, error) {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	plan, err := target.PlanWith(ctx, want, options)
	return plan, f.explain(err)
}

func (f *planning) show(c console, plan *topology.Plan) error {
	if f.Output == "json" {
		return plan.WriteJSON(c.out)
	}
	return plan.Print(c.out, c.colour)
}
