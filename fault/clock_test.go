package fault

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// wallClock is how Go code would look at the wall clock: by taking a reading apart or making a time of something else. Waiting,
// adding to a reading and comparing two of them go by the monotonic clock, which nobody can step.
var wallClock = regexp.MustCompile(`time\.Now\(\)\.(Unix|UTC|Local|In|Round|Truncate|Format|Equal|Year|Date|Clock|Marshal)|time\.(Unix|UnixMilli|Date|Parse)\(`)

// A machine's clock that is set, by a minute or a year, changes no decision of the handler's own code: whatever waits there, waits by the
// monotonic clock. So there is no clock to inject in it; this holds it to that. The Kafka client's threads are held to the
// same by package monotonic (TestAClockThatIsSetHoldsNothingUp). What other machines' clocks say, in the records that they send, is wrong in the load of every schedule.
func TestNoDecisionGoesByTheWallClock(t *testing.T) {
	t.Parallel()
	looked := 0
	for _, pattern := range []string{"../handler/*.go", "../registry/*.go", "../store/*.go", "../bank/*.go", "../health/*.go", "../schemas/*.go", "../cmd/command-handler/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") || file == "../handler/meter.go" { // what metrics say decides nothing
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			looked += strings.Count(string(text), "time.Now()")
			for i, line := range strings.Split(string(text), "\n") {
				if wallClock.MatchString(line) {
					t.Errorf("%s:%d: %s", file, i+1, strings.TrimSpace(line))
				}
			}
		}
	}
	if looked == 0 {
		t.Error("nothing looks at the clock: this test looks in the wrong place")
	}
	for _, wrong := range []string{"if time.Now().Unix() > until {", "t := time.Unix(seconds, 0)", "time.Now().Round(0)"} {
		if !wallClock.MatchString(wrong) {
			t.Errorf("%q is not found", wrong)
		}
	}
}
