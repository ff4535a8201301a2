//go:build crashpoints

// Package crash kills its process where the environment says, and tells on standard error what a test has to know of it:
//
//	CRASH_AT=after-postgres-commit:3:0s   the process kills itself at the third passage of that point with a batch in flight;
//	                                      with 200ms, whoever is there stands still for so long first, while all else goes on
//	crash point=... passage=3 batch=17 at=<Unix ns>                written before it does
//	passed point=...                                               every point, the first time that it is passed with a batch in flight
//	delivered topic=... partition=2 offset=41 at=<Unix ns>         every record that the consumer handed over
package crash

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	name    string
	passage int64
	pause   time.Duration
	passed  atomic.Int64
	told    sync.Map // the points that were passed
)

func init() {
	text := os.Getenv("CRASH_AT")
	if text == "" {
		return
	}
	parts := strings.Split(text, ":")
	var errs [2]error
	if len(parts) == 3 {
		passage, errs[0] = strconv.ParseInt(parts[1], 10, 64)
		pause, errs[1] = time.ParseDuration(parts[2])
	}
	if err := errors.Join(errs[:]...); err != nil || passage < 1 {
		panic(fmt.Sprintf("CRASH_AT is %q, it must be POINT:PASSAGE:PAUSE, as in after-postgres-commit:3:0s", text))
	}
	name = parts[0]
}

// Enabled says whether this program can crash.
const Enabled = true

// Point kills the process with SIGKILL when this is the passage that CRASH_AT names. Without a batch it is none.
func Point(point string, batch int) {
	if batch == 0 {
		return
	}
	if _, known := told.LoadOrStore(point, true); !known {
		say("passed point=%s\n", point)
	}
	if point != name || passed.Add(1) != passage {
		return
	}
	time.Sleep(pause)
	say("crash point=%s passage=%d batch=%d at=%d\n", point, passage, batch, time.Now().UnixNano())
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	select {} // nothing comes after it
}

// Delivered writes down that the consumer handed over a record.
func Delivered(topic string, partition int32, offset int64) {
	say("delivered topic=%s partition=%d offset=%d at=%d\n", topic, partition, offset, time.Now().UnixNano())
}

// say writes without a buffer: what is said survives the process.
func say(format string, values ...any) { _, _ = fmt.Fprintf(os.Stderr, format, values...) }
