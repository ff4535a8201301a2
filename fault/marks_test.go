package fault

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// kill is a crash as the dead handler's log has it.
type kill struct {
	Point       string
	Passage     int
	Batch       int  // what was in flight: commands, records or partitions
	Redelivered int  // records that another handler got after this one
	InEnding    bool // after all was settled
	at          int64
}

// place is a record of a command topic.
type place struct {
	topic     string
	partition int32
	offset    int64
}

// marks is what one handler's log tells.
type marks struct {
	kill      *kill
	delivered map[place][]int64 // when
	passed    []string          // crash points
}

// readAll reads the logs of a schedule's handlers.
func readAll(logs string) (all []marks, err error) {
	files, err := filepath.Glob(filepath.Join(logs, "handler-*.log"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		m, err := readMarks(file)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// readAgain is how often records were read after the first time.
func readAgain(logs string) (again int, err error) {
	all, err := readAll(logs)
	different := map[place]bool{}
	for _, m := range all {
		for at, times := range m.delivered {
			again += len(times)
			different[at] = true
		}
	}
	return again - len(different), err
}

// checkPassed holds the crash points that handlers have passed to the table of those of their mode.
func checkPassed(logs, delivery string) error {
	all, err := readAll(logs)
	for _, m := range all {
		for _, name := range m.passed {
			if !slices.ContainsFunc(points[delivery], func(p point) bool { return p.name == name }) && !slices.Contains(passPoints, name) {
				err = fmt.Errorf("a handler passes the crash point %s in %s, the table of points has it not there", name, delivery)
			}
		}
	}
	return err
}

// readKills are the crashes of a schedule's handlers. What was read again counts when it was before all was settled.
func readKills(logs string, settled int64) ([]kill, error) {
	all, err := readAll(logs)
	if err != nil {
		return nil, err
	}
	var kills []kill
	for i := range all {
		k := all[i].kill
		if k == nil {
			continue
		}
		for at := range all[i].delivered {
			for j := range all {
				if j != i && slices.ContainsFunc(all[j].delivered[at], func(t int64) bool { return k.at < t && t < settled }) {
					k.Redelivered++
					break
				}
			}
		}
		k.InEnding = k.at > settled
		kills = append(kills, *k)
	}
	return kills, nil
}

func readMarks(file string) (marks, error) {
	m := marks{delivered: map[place][]int64{}}
	f, err := os.Open(file)
	if err != nil {
		return m, err
	}
	defer func() { _ = f.Close() }() // it was only read
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "delivered "):
			var p place
			var at int64
			if _, err := fmt.Sscanf(line, "delivered topic=%s partition=%d offset=%d at=%d", &p.topic, &p.partition, &p.offset, &at); err != nil {
				return m, fmt.Errorf("%s: %q: %w", file, line, err)
			}
			m.delivered[p] = append(m.delivered[p], at)
		case strings.HasPrefix(line, "passed point="):
			m.passed = append(m.passed, strings.TrimPrefix(line, "passed point="))
		case strings.HasPrefix(line, "crash "):
			var k kill
			if _, err := fmt.Sscanf(line, "crash point=%s passage=%d batch=%d at=%d", &k.Point, &k.Passage, &k.Batch, &k.at); err != nil {
				return m, fmt.Errorf("%s: %q: %w", file, line, err)
			}
			m.kill = &k
		}
	}
	return m, lines.Err()
}

// saying counts the handlers' logs that say something.
func saying(logs, what string) int {
	files, _ := filepath.Glob(filepath.Join(logs, "handler-*.log")) // the pattern is a good one
	n := 0
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), what) {
			n++
		}
	}
	return n
}

func lastLine(file string) string {
	text, _ := os.ReadFile(file)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if !strings.HasPrefix(lines[i], "delivered ") && !strings.HasPrefix(lines[i], "passed ") {
			return lines[i]
		}
	}
	return ""
}
