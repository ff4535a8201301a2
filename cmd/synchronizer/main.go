// Command synchronizer makes a Kafka cluster and a schema registry hold the topics and subjects of a topology, the open-bank
// stack's unless another is given. It waits for both to be there, creates what is missing and ends: 0 when everything is there,
// 1 otherwise.
package main

import (
	"context"
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
		stop()
		fmt.Fprintln(os.Stderr, "synchronizer:", err)
		os.Exit(1) //nolint:gocritic // stop is called above
	}
}

type commands struct {
	Apply   apply            `cmd:"" help:"Create the topics and register the schemas that are missing. Nothing that exists is changed or deleted."`
	Version kong.VersionFlag `help:"Print the version."`
}

func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	var cli commands
	program := connect.Program{Name: "synchronizer", Description: "Topics and schemas as code.", Version: version}
	parsed, err := program.Parse(&cli, args, getenv, stdout, stderr)
	if err != nil || parsed == nil {
		return err
	}
	return cli.Apply.run(ctx, stdout, stderr)
}
