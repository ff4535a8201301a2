package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"openbank/fleet"
	"openbank/progress"
	"openbank/surroundings"
)

type runCommand struct {
	Dir     string `default:".openbank" help:"Where everything is kept, from run to run."`
	Only    string `enum:"all,surroundings" default:"all" help:"surroundings starts all but the command handler."`
	Handler string `placeholder:"FILE" help:"The command-handler to start; the one beside this program when not given."`
}

// Run keeps the bank up until it is interrupted, which is an orderly end.
func (c *runCommand) Run(s *session) (err error) {
	if err := checkDir(c.Dir); err != nil {
		return err
	}
	handlerPath := ""
	if c.Only == "all" {
		if handlerPath, err = fleet.Find(c.Handler); err != nil {
			return err
		}
	}
	dir, err := filepath.Abs(c.Dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o711) // Postgres' user, another one under root, has to pass it
	}
	if err != nil {
		return fmt.Errorf("making --dir: %w", err)
	}
	shown := progress.New(s.stderr)
	shown.Step("starting Kafka, the registry and Postgres")
	logger := slog.New(slog.NewTextHandler(s.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	around, err := surroundings.Embedded(s.ctx, dir, logger)
	if err != nil {
		shown.Abandon()
		if s.ctx.Err() != nil {
			_, err = fmt.Fprintln(s.stderr, "stopped before it was open")
		}
		return err
	}
	defer func() { err = errors.Join(err, around.Stop()) }()
	shown.Done("ready")

	children := &fleet.Fleet{}
	if c.Only == "all" {
		children, err = fleet.Start(fleet.Command{Name: "command-handler", Path: handlerPath}, 1, dir, bankEnvironment(around))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, children.Stop()) }()
	}
	bankFile := filepath.Join(dir, bankFileName)
	if err := writeBankFile(bankFile, bankEnvironment(around)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(bankFile)) }() // nobody is there any more
	if err := c.announce(s.stdout, around, children, bankFile); err != nil {
		return err
	}
	select {
	case <-s.ctx.Done():
		_, err = fmt.Fprintln(s.stderr, "stopping")
		return err
	case i := <-children.Ended():
		return children.Unexpected(i)
	case <-around.Bank.Postgres.Ended():
		fmt.Fprintln(s.stderr, "Postgres ended by itself: stopping")
		children.Kill()
		return nil // stopping it says how it ended
	}
}

// checkDir refuses what a shell makes of a variable that is not set: it would be the directory that one is in.
func checkDir(dir string) error {
	if strings.TrimSpace(dir) == "" {
		return fmt.Errorf("--dir is %q: name a directory, or leave the flag out for the one that --help tells", dir)
	}
	return nil
}

func (c *runCommand) announce(out io.Writer, around *surroundings.Surroundings, children *fleet.Fleet, bankFile string) error {
	handler := "none: start one with the variables of bank.env"
	if len(children.Logs()) > 0 {
		handler = "log in " + children.Logs()[0]
	}
	_, err := fmt.Fprintf(out, `the bank is open
  kafka (mutual TLS)  %s
  schema registry     %s
  postgres            balancedb; its URL is in bank.env
  command handler     %s
  join it             set -a; . %s; set +a
  stop it             ctrl-C
`, around.Bank.Getenv("KAFKA_BROKERS"), around.Bank.Getenv("SCHEMA_REGISTRY_URL"), handler, bankFile)
	return err
}
