package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestABankThatWasKilledIsKnownToBeGone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, defaultDirectory), 0o700); err != nil {
		t.Fatal(err)
	}
	variables := []string{"KAFKA_BROKERS=127.0.0.1:1", "SCHEMA_REGISTRY_URL=http://127.0.0.1:1", "DATABASE_URL=postgres://u:p@127.0.0.1:1/d"}
	if err := writeBankFile(filepath.Join(dir, defaultDirectory, bankFileName), variables); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"account"}, {"transfer", "--from=cash", "--to=x", "--amount=1"}, {"balance", "x"}, {"verify"}, {"tail", "x"}} {
		if got := execute(t, dir, nil, args...); got.code != 1 || !strings.Contains(got.stderr, "is not running any more: start open-bank run again") {
			t.Errorf("%q: %+v", args, got)
		}
	}
}

func TestABankFileIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bank.env")
	want := map[string]string{"A": "plain:1,2", "B": "it's $5 & more", "C": "postgres://u:p@h/d?sslmode=disable&x=%20"}
	if err := writeBankFile(path, []string{"A=" + want["A"], "B=" + want["B"], "C=" + want["C"]}); err != nil {
		t.Fatal(err)
	}
	got, err := readBankFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s: %q", key, got[key])
		}
		out, err := exec.CommandContext(t.Context(), "sh", "-c", `. "$1"; printf %s "$`+key+`"`, "sh", path).Output()
		if err != nil || string(out) != value {
			t.Errorf("a shell reads %s as %q (%v)", key, out, err)
		}
	}
}
