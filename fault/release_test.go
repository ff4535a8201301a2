package fault

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// What users run can't be made to kill itself: nothing of the crash points is in it.
func TestTheReleasedBinaryHasNoCrashPoints(t *testing.T) {
	t.Parallel()
	released := filepath.Join(t.TempDir(), "command-handler")
	if output, err := exec.Command("go", "build", "-o", released, "openbank/cmd/command-handler").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	traces := slices.Concat([]string{"CRASH_AT", "openbank/crash", "crash point="}, pointNames(), passPoints)
	for _, c := range []struct {
		binary string
		has    bool
	}{{released, false}, {handlerBinary, true}} {
		program, err := os.ReadFile(c.binary)
		if err != nil {
			t.Fatal(err)
		}
		for _, trace := range traces {
			if bytes.Contains(program, []byte(trace)) != c.has {
				t.Errorf("%s in %s: it should be %t", trace, c.binary, c.has)
			}
		}
	}
}
