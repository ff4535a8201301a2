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
	"openbank/embedded"
	"openbank/surroundings"
)

const (
	// defaultDirectory is where `run` keeps its bank, and where the other commands look for it.
	defaultDirectory = ".openbank"
	bankFileName     = "bank.env"
)

// connection is all the settings that say where a bank is.
type connection = surroundings.Connection

// prefixes are what the flags of a connection begin with that say where its parts are.
var prefixes = map[part][]string{
	kafkaPart: {"kafka-", "ssl-"}, registryPart: {"schema-registry-"}, databasePart: {"database-url", "db-"},
}

// part is one part of a connection.
type part string

const (
	kafkaPart    part = "KAFKA_BROKERS" // named after the one variable that no other can stand in for
	registryPart part = "SCHEMA_REGISTRY_URL"
	databasePart part = "DATABASE_URL"
)

// named is what the command line and the environment say about where a bank is.
type named struct {
	parts    map[part]bool // those that a flag or variable is about
	bankFile bool          // none, and the bank of the default directory counts
}

// withBankFile lets the variables of the bank in the default directory count where nothing else says where a bank is. It is all
// or nothing: the brokers of one bank with the certificates of another would be a riddle.
func withBankFile(args []string, getenv func(string) string) (func(string) string, named, error) {
	found := named{parts: map[part]bool{}}
	names, err := connect.VariableNames(&connection{})
	if err != nil {
		return nil, found, err
	}
	for part, prefixes := range prefixes {
		for _, prefix := range prefixes {
			variables := strings.ToUpper(strings.ReplaceAll(prefix, "-", "_"))
			found.parts[part] = found.parts[part] ||
				slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, variables) && getenv(name) != "" }) ||
				slices.ContainsFunc(args, func(arg string) bool {
					return strings.HasPrefix(arg, "--"+prefix) || strings.HasPrefix(arg, "--no-"+prefix)
				})
		}
	}
	if found.parts[kafkaPart] || found.parts[registryPart] || found.parts[databasePart] {
		return getenv, found, nil
	}
	bank, err := readBankFile(filepath.Join(defaultDirectory, bankFileName))
	if errors.Is(err, fs.ErrNotExist) {
		return getenv, found, nil
	}
	if err != nil {
		return nil, found, err
	}
	found.bankFile = true
	return func(name string) string {
		if value := getenv(name); value != "" {
			return value
		}
		return bank[name]
	}, found, nil
}

// check fails when nothing says where the bank is that a command needs these parts of, or when it is known to have gone.
func (n named) check(needed ...part) error {
	if n.bankFile {
		running, err := embedded.InUse(defaultDirectory)
		if err != nil {
			return fmt.Errorf("looking at the bank in %s: %w", defaultDirectory, err)
		}
		if !running {
			return fmt.Errorf("the bank that %s tells of is not running any more: start open-bank run again", filepath.Join(defaultDirectory, bankFileName))
		}
		return nil
	}
	variables := make([]string, len(needed))
	for i, part := range needed {
		if n.parts[part] {
			return nil
		}
		variables[i] = string(part)
	}
	return fmt.Errorf("no bank is running in this directory: start open-bank run, source its bank.env, or set %s", strings.Join(variables, " and "))
}

// bankEnvironment is what a handler of a bank needs, and its clients may have. The database is not guarded: a trial bank is where
// one tries what verify makes of an altered row.
func bankEnvironment(s *surroundings.Surroundings) []string {
	return append(slices.Clone(s.Environment()), "DATABASE_GUARD=false")
}

// writeBankFile writes variables, KEY=value each, so that a shell can source them. Only the owner may read it: it has
// passwords. It is there as a whole or not at all.
func writeBankFile(path string, variables []string) error {
	var text strings.Builder
	text.WriteString("# How to reach this bank: set -a; . " + path + "; set +a\n")
	text.WriteString("# With DATABASE_GUARD=false other programs may change rows, as a trial bank is for.\n")
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
