// Command open-bank is everything at once: a whole bank on this machine that shows and checks itself (demo), one that keeps
// running and that anybody can join (run), and a hand on that bank or any other one: account, transfer, balance, tail, verify,
// check, dead-letters, send-garbage.
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
		fmt.Fprintln(os.Stderr, "open-bank:", err)
		os.Exit(1) //nolint:gocritic // the signals' registration ends with the process
	}
}

type commands struct {
	Demo demoCommand `cmd:"" help:"Start a whole bank, send it 50,000 transfers, check everything, and stop it."`
	Run  runCommand  `cmd:"" help:"Keep a whole bank running, for any client to join."`

	Account  accountCommand  `cmd:"" help:"Open an account, or ask again for one that was opened."`
	Transfer transferCommand `cmd:"" help:"Move money."`
	Balance  balanceCommand  `cmd:"" help:"Show an account as the database has it."`
	Tail     tailCommand     `cmd:"" help:"Show the records of a topic, decoded, as lines of JSON."`
	Verify   verifyCommand   `cmd:"" help:"Check that the database's balances are the sum of what happened."`
	Check    checkCommand    `cmd:"" help:"Read all topics and the database as an outsider and check that they tell one story."`
	Letters  lettersCommand  `cmd:"" name:"dead-letters" help:"List, show and replay what could not be handled."`
	Garbage  garbageCommand  `cmd:"" name:"send-garbage" help:"Send a few records that no handler can read, to try dead letters out."`
	Certs    certsCommand    `cmd:"" help:"Make a development CA and certificates for brokers and clients."`

	Version kong.VersionFlag `help:"Print the version."`
}

// session is what a command works with besides its flags.
type session struct {
	// A context in a struct: kong hands a command one value of each type, and a session is the length of one call.
	ctx            context.Context
	bank           named
	stdin          io.Reader
	stdout, stderr io.Writer
}

func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	getenv, bank, err := withBankFile(args, getenv)
	if err != nil {
		return err
	}
	var cli commands
	program := connect.Program{
		Name: "open-bank", Version: version,
		Description: "A whole bank on this machine, and a hand on any. The commands that reach for a bank take the one of `open-bank run` in this directory when neither flags nor environment name another.",
	}
	parsed, err := program.Parse(&cli, args, getenv, stdout, stderr)
	if err != nil || parsed == nil {
		return err
	}
	return parsed.Run(&session{ctx: ctx, bank: bank, stdin: os.Stdin, stdout: stdout, stderr: stderr})
}
