package progress

import (
	"strings"
	"testing"
	"time"
)

func TestProgressIsLinesWhereThereIsNoTerminal(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	p := New(&out)
	p.Step("sending")
	p.shown = time.Now().Add(-2 * linePeriod)
	p.At(1500, 6000)
	p.At(1501, 6000) // too soon for another line
	p.Done("%s records", Grouped(6000))
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 4 || lines[0] != "sending" || !strings.Contains(lines[1], "25%  1,500 of 6,000") || !strings.HasPrefix(lines[2], "  6,000 records (") {
		t.Errorf("%q", lines)
	}
}

func TestProgressFitsTheTerminal(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		columns    int
		count, all int64
		want       string
	}{
		"wide":              {80, 3000, 6000, "sending [=======        ]  50%  3,000 of 6,000  0/s"},
		"as wide as needed": {50, 6000, 6000, "sending [=============] 100%  6,000 of 6,000  0/s"},
		"no room for a bar": {40, 3000, 6000, "sending  50%  3,000 of 6,000  0/s"},
		"narrow":            {20, 3000, 6000, "sending  50%  3,000"},
		"one thing":         {80, 0, 1, "sending"},
	} {
		var out strings.Builder
		p := New(&out)
		p.terminal, p.columns = true, func() int { return c.columns }
		p.Step("sending")
		p.period, p.shown = 0, time.Now().Add(-1000*time.Hour) // so long ago that the rate rounds to 0
		p.At(c.count, c.all)
		frames := strings.Split(out.String(), "\r\033[K")
		if got := frames[len(frames)-1]; got != c.want || len(got) >= c.columns {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestNumbersAreWrittenForPeople(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567"} {
		if got := Grouped(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
