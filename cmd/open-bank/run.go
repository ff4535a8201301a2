package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
)

type runCommand struct {
	Dir     string `default:".openbank" help:"Where everything is kept, from run to run."`
	Only    string `enum:"all,surroundings" default:"all" help:"surroundings starts all but the command handler."`
	Handler string `placeholder:"FILE" help:"The command-handler to start; the one beside this program when not given."`
}

// Run keeps the bank up until it is interrupted, which is an orderly end.
func (c *runCommand) Run(s *session) (err error) {
	handlerPath := ""
	if c.Only == "all" {
		if handlerPath, err = findHandler(c.Handler); err != nil {
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
	progress := newProgress(s.stderr)
	progress.step("starting Kafka, the registry and Postgres")
	logger := slog.New(slog.NewTextHandler(s.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	around, err := startSurroundings(s.ctx, dir, logger)
	if err != nil {
		progress.abandon()
		if s.ctx.Err() != nil {
			_, err = fmt.Fprintln(s.stderr, "stopped before it was open")
		}
		return err
	}
	defer func() { err = errors.Join(err, around.stop()) }()
	progress.done("ready")

	children := &handlers{reported: map[int]bool{}}
	if c.Only == "all" {
		children, err = startHandlers(handlerPath, 1, dir, around.environment(), nil)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, children.stop()) }()
	}
	bankFile := filepath.Join(dir, bankFileName)
	if err := writeBankFile(bankFile, around.environment()); err != nil {
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
	case i := <-children.ended:
		return children.unexpected(i)
	case <-around.bank.Postgres.Ended():
		fmt.Fprintln(s.stderr, "Postgres ended by itself: stopping")
		children.kill()
		return nil // stopping it says how it ended
	}
}

func (c *runCommand) announce(out io.Writer, around *surroundings, children *handlers, bankFile string) error {
	handler := "none: start one with the variables of bank.env"
	if len(children.logs) > 0 {
		handler = "log in " + children.logs[0]
	}
	_, err := fmt.Fprintf(out, `the bank is open
  kafka (mutual TLS)  %s
  schema registry     %s
  postgres            balancedb; its URL is in bank.env
  command handler     %s
  join it             set -a; . %s; set +a
  stop it             ctrl-C
`, around.bank.Getenv("KAFKA_BROKERS"), around.bank.Getenv("SCHEMA_REGISTRY_URL"), handler, bankFile)
	return err
}
