package topology

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file, or writes it anew.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant (%s)\n%s", got, path, want)
	}
}

// Each file in testdata/malformed has its errors beside it, whole: the place, what is written there, what is wrong, the mend.
func TestAMalformedTopologyIsToldWhereAndHowToMendIt(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/malformed/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 30 {
		t.Fatalf("%d files", len(files))
	}
	placed := regexp.MustCompile(`(?m)^[0-9a-z-]+\.yaml:[0-9]+:[0-9]+: .+: .+$`)
	for _, path := range files {
		name := filepath.Base(path)
		t.Run(strings.TrimSuffix(name, ".yaml"), func(t *testing.T) {
			t.Parallel()
			_, err := Load(os.DirFS("testdata/malformed"), name)
			var bad *FileError
			if !errors.As(err, &bad) {
				t.Fatalf("got %v", err)
			}
			for _, fault := range bad.Faults {
				if fault.Wrong == "" || fault.Mend == "" {
					t.Errorf("%+v", fault)
				}
				if name != "01-empty.yaml" && !placed.MatchString(fault.Error()) {
					t.Errorf("without a place or a mend: %v", fault)
				}
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".txt", err.Error()+"\n")
		})
	}
}
