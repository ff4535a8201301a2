//go:build realkafka

package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"openbank/connect"
	"openbank/fleet"
	"openbank/process"
	"openbank/realkafka"
	"openbank/surroundings"
)

// surround starts an Apache Kafka and a registry that checks compatibility, makes the topics and schemas, and starts a handler unless
// only the surroundings are wanted. It returns the variables that lead there, for this process and for the commands.
func surround(t *testing.T, dir string, args []string) (variables map[string]string, environment []string) {
	t.Helper()
	bank, err := realkafka.StartBank(t.Context(), realkafka.BankConfig{Kafka: realkafka.Config{CNOnly: true, Brief: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // t's is done
		defer cancel()
		if err := bank.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	environment, variables = bank.Environment(), map[string]string{}
	for _, variable := range environment {
		name, value, _ := strings.Cut(variable, "=")
		variables[name] = value
	}
	var to surroundings.Connection
	if _, err := (connect.Program{Name: "test"}).Parse(&to, nil, func(name string) string { return variables[name] }, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := to.MakeTopics(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(args, "--only=surroundings") {
		return variables, environment
	}
	log := filepath.Join(dir, "handler.log")
	output, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(binaries, "command-handler"))
	cmd.Env, cmd.Stdout, cmd.Stderr = append(append(fleet.Environment(), environment...), "DATABASE_GUARD=false"), output, output // rows are changed in a trial bank
	handler, err := process.Start(cmd, syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		handler.Kill()
		_ = output.Close()
	})
	await(t, "the handler to work", func() bool {
		text, err := os.ReadFile(log)
		if err != nil || !handler.Running() {
			t.Fatalf("%v: %v: %s", err, handler.Err(), text)
		}
		return bytes.Contains(text, []byte("partitions assigned"))
	})
	return variables, environment
}
