//go:build !realkafka

package main

import (
	"path/filepath"
	"testing"
)

// surround opens a bank as its users do and returns the variables that lead to it. The commands find it by themselves.
func surround(t *testing.T, dir string, args []string) (variables map[string]string, environment []string) {
	t.Helper()
	openBank(t, dir, args...)
	variables, err := readBankFile(filepath.Join(dir, defaultDirectory, bankFileName))
	if err != nil {
		t.Fatal(err)
	}
	return variables, nil
}
