// Command synchronizer keeps the topics, schema subjects and access control lists of a Kafka cluster and its schema registry as a
// file says, the open-bank stack's unless another is given: it compares (plan), makes it so (apply), writes the file from what is
// there (export), and looks at files alone (lint).
//
// Exit status: 0 when all is as it must be, or was made so; 2 when plan found differences or lint errors; 1 for errors, and
// when apply could not do all of it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"openbank/connect"
	"openbank/topology"
)

// version is set by the build.
var version string

// The exit statuses.
const (
	statusError      = 1
	statusDifference = 2
)

// errDifference ends a command with its own status and without a message: what there is to say was said.
var errDifference = errors.New("there are differences")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program whatever it is at
	c := console{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		interactive: term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd())),
		colour:      term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
	}
	status := exitStatus(run(ctx, os.Args[1:], os.Getenv, c), os.Stderr)
	stop()
	os.Exit(status) //nolint:gocritic // stop is called above
}

// exitStatus tells an error and returns what the program ends with.
func exitStatus(err error, stderr io.Writer) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errDifference):
		return statusDifference
	}
	said := strings.NewReplacer(context.Canceled.Error(), "interrupted", context.DeadlineExceeded.Error(), "no answer in time").Replace(err.Error())
	fmt.Fprintln(stderr, "synchronizer:", topology.Printable(said))
	return statusError
}

// console is whom the program talks to.
type console struct {
	in          io.Reader
	out, err    io.Writer
	interactive bool // somebody can answer
	colour      bool
}

// checkGiven tells of flags and arguments that are given and empty, as they are when a script's variable is not set: what they would
// stand for, another topology and a plan that nobody saw, is not what was meant. Where the bank is may be given empty, against the
// environment.
func checkGiven(parsed *kong.Context) error {
	var faults []error
	for _, step := range parsed.Path {
		var value *kong.Value
		switch {
		case step.Flag != nil && step.Flag.Tag.Get("environment") == "":
			value = step.Flag.Value
		case step.Positional != nil:
			value = step.Positional
		default:
			continue
		}
		words := []string{"x"}
		switch given := value.Target.Interface().(type) {
		case string:
			words = []string{given}
		case []string:
			words = given
		}
		if strings.TrimSpace(strings.Join(words, "")) == "" {
			name := value.Summary()
			if step.Flag != nil {
				name = "--" + value.Name
			}
			faults = append(faults, fmt.Errorf("%s is given and empty: give it a value, or leave it out", name))
		}
	}
	return errors.Join(faults...)
}

// printable keeps from a terminal what it would obey: registries, brokers and files may have anything in their names and messages.
type printable struct{ io.Writer }

func (p printable) Write(text []byte) (int, error) {
	_, err := io.WriteString(p.Writer, topology.Printable(string(text)))
	return len(text), err
}

type commands struct {
	Plan       planCommand       `cmd:"" help:"Show what differs between the topology and what is there. Nothing is written. Exit status: 0 nothing, 2 differences, 1 error."`
	Apply      applyCommand      `cmd:"" help:"Show the plan, ask, and make it so. Without a terminal and without --yes only if nothing that exists is touched."`
	Export     exportCommand     `cmd:"" help:"Write the topology of what is there, with its schemas beside it, so that a plan of it is empty."`
	Lint       lintCommand       `cmd:"" help:"Check a topology and its schemas without a cluster. Exit status: 0 no errors (warnings alone are none), 2 errors, or warnings with --strict, 1 the files could not be read."`
	Schema     schemaCommand     `cmd:"" help:"Print the JSON Schema of topology.yaml, for editors."`
	Default    defaultCommand    `cmd:"" help:"Print the topology that is taken without --topology, the open-bank stack's."`
	Completion completionCommand `cmd:"" help:"Print the completion script of a shell."`
	Version    kong.VersionFlag  `help:"Print the version."`
}

func run(ctx context.Context, args []string, getenv func(string) string, c console) error {
	c.err = printable{c.err}
	var cli commands
	program := connect.Program{Name: "synchronizer", Description: "Topics, schemas and access control lists as code.", Version: version}
	parsed, err := program.Parse(&cli, args, getenv, c.out, c.err)
	if err != nil || parsed == nil {
		return err
	}
	if err := checkGiven(parsed); err != nil {
		return err
	}
	switch parsed.Selected().Name {
	case "plan":
		return cli.Plan.run(ctx, c)
	case "apply":
		return cli.Apply.run(ctx, c)
	case "export":
		return cli.Export.run(ctx, c)
	case "lint":
		return cli.Lint.run(ctx, c)
	case "schema":
		return cli.Schema.run(c)
	case "default":
		return cli.Default.run(c)
	default:
		return cli.Completion.run(parsed.Model, c)
	}
}
