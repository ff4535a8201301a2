package realkafka

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"openbank/process"
)

// java is the path of the java command.
type java string

func findJava() (java, error) {
	if home := os.Getenv("JAVA_HOME"); home != "" {
		return java(filepath.Join(home, "bin", "java")), nil
	}
	path, err := exec.LookPath("java")
	if err != nil {
		return "", errors.New("java is missing: install Java 17 or newer (Debian: apt-get install openjdk-17-jre-headless), or set JAVA_HOME")
	}
	return java(path), nil
}

// quickStart has a JVM compile with less effort, which halves what a start costs and slows it down later.
const quickStart = "-XX:TieredStopAtLevel=1"

// run runs a program to its end.
func (j java) run(ctx context.Context, args ...string) error {
	output, err := exec.CommandContext(ctx, string(j), args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("java %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(output)))
	}
	return nil
}

// server is a JVM that runs until it is stopped.
type server struct {
	java    java
	name    string
	args    []string
	log     string // the file that its output is added to
	process *process.Process
}

func (s *server) start(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()             // the child has it
	cmd := exec.Command(string(s.java), s.args...) //nolint:noctx // it outlives the start, and is stopped by process
	cmd.Stdout, cmd.Stderr = log, log
	s.process, err = process.Start(cmd, syscall.SIGKILL)
	return err
}

// await asks until the answer is good, the server has ended or ctx is done.
func (s *server) await(ctx context.Context, ask func() error) error {
	ticker := time.NewTicker(askInterval)
	defer ticker.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-s.process.Exited():
			return fmt.Errorf("%s ended while it was waited for (%w): %s", s.name, s.process.Err(), s.lastLines())
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; the last answer was: %w; it says: %s", s.name, ctx.Err(), err, s.lastLines())
		case <-ticker.C:
		}
	}
}

// lastLines are the end of what the server wrote.
func (s *server) lastLines() string {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	const most = 2000 // bytes
	if len(text) > most {
		text = text[len(text)-most:]
	}
	return strings.TrimSpace(string(text))
}
