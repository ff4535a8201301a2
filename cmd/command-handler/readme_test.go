package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The README's table is what --help says.
func TestTheReadmeListsEverySetting(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings {
		fallback := ""
		if s.fallback != "" {
			fallback = "`" + s.fallback + "`"
		}
		row := fmt.Sprintf("| `--%s` | `%s` | %s | %s |\n", s.flag, s.env, fallback, s.about)
		if !strings.Contains(string(readme), row) {
			t.Errorf("the README lacks the row\n%s", row)
		}
	}
}
