package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"openbank/connect"
)

const (
	// defaultDirectory is where `run` keeps its bank, and where the other commands look for it.
	defaultDirectory = ".openbank"
	bankFileName     = "bank.env"
)

// connection is all the settings that say where a bank is.
type connection struct {
	Kafka    connect.Kafka    `embed:""`
	Registry connect.Registry `embed:""`
	Database connect.Database `embed:""`
}

// withBankFile lets the variables of the bank in the default directory count where nothing else says where a bank is. It is all
// or nothing: the brokers of one bank with the certificates of another would be a riddle.
func withBankFile(args []string, getenv func(string) string) (func(string) string, error) {
	names, err := connect.VariableNames(&connection{})
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(names, func(name string) bool { return getenv(name) != "" }) {
		return getenv, nil
	}
	for _, arg := range args {
		for _, prefix := range []string{"--kafka-", "--no-kafka-", "--schema-registry-", "--database-"} {
			if strings.HasPrefix(arg, prefix) {
				return getenv, nil
			}
		}
	}
	bank, err := readBankFile(filepath.Join(defaultDirectory, bankFileName))
	if errors.Is(err, fs.ErrNotExist) {
		return getenv, nil
	}
	if err != nil {
		return nil, err
	}
	return func(name string) string {
		if value := getenv(name); value != "" {
			return value
		}
		return bank[name]
	}, nil
}

// writeBankFile writes variables, KEY=value each, so that a shell can source them. Only the owner may read it: it has
// passwords. It is there as a whole or not at all.
func writeBankFile(path string, variables []string) error {
	var text strings.Builder
	text.WriteString("# How to reach this bank: set -a; . " + path + "; set +a\n")
	for _, variable := range variables {
		key, value, _ := strings.Cut(variable, "=")
		text.WriteString(key + "=" + quote(value) + "\n")
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, []byte(text.String()), 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// quote leaves plain values bare, so that what reads KEY=value without being a shell can as well.
func quote(value string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/:.,@_-+=%?", r)
	}
	if strings.IndexFunc(value, func(r rune) bool { return !plain(r) }) < 0 {
		return value
	}
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}

func readBankFile(path string) (map[string]string, error) {
	file, err := os.Open(path) // the path is the user's choice
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	variables := map[string]string{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		key, value, ok := strings.Cut(lines.Text(), "=")
		if !ok || strings.HasPrefix(key, "#") {
			continue
		}
		if strings.HasPrefix(value, "'") {
			value = strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(value, "'"), "'"), `'\''`, "'")
		}
		variables[key] = value
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return variables, nil
}
