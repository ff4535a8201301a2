// Command latency-benchmark measures command handlers of the open-bank stack end to end, draws what was measured, and says
// whether one run is worse than another.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"openbank/connect"
)

// version is set by the build.
var version string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "latency-benchmark:", err)
		os.Exit(status(err)) //nolint:gocritic // the signals' registration ends with the process
	}
}

type commands struct {
	Run       runCommand       `cmd:"" help:"Measure, and write a result."`
	FloorEcho floorEchoCommand `cmd:"" hidden:"" help:"The floor's echo, which run starts."`
	Report    reportCommand    `cmd:"" help:"Make one page, that stands alone, of the results of one or several runs; and pictures for a README."`
	Compare   compareCommand   `cmd:"" help:"Say whether run B is worse than run A, and how sure that is. Exit status 2 when it is by more than the tolerance."`

	Version kong.VersionFlag `help:"Print the version."`
}

// status is the process's: 2 when a comparison found B worse, 1 for every other error.
func status(err error) int {
	if errors.Is(err, errWorse) {
		return 2
	}
	return 1
}

// session is what a command works with besides its flags.
type session struct {
	// A context in a struct: kong hands a command one value of each type, and a session is the length of one call.
	ctx            context.Context
	args           []string
	getenv         func(string) string
	stdout, stderr io.Writer
}

func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	var cli commands
	program := connect.Program{
		Name: "latency-benchmark", Version: version,
		Description: "Measures command handlers end to end, from when a command was due to its answer.",
	}
	parsed, err := program.Parse(&cli, args, getenv, stdout, stderr)
	if err != nil || parsed == nil {
		return err
	}
	return parsed.Run(&session{ctx: ctx, args: args, getenv: getenv, stdout: stdout, stderr: stderr})
}
