// Package progress shows people how far a long command is: a line that moves on a terminal, a line now and then elsewhere.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	widestBar  = 15
	barPeriod  = 200 * time.Millisecond
	linePeriod = 3 * time.Second
)

// Progress shows how far a step is. It may be used from several goroutines.
type Progress struct {
	out      io.Writer
	terminal bool
	columns  func() int // of the terminal
	period   time.Duration

	mu    sync.Mutex
	title string
	start time.Time
	shown time.Time // when it was drawn last
	count int64     // At that time
	rate  float64   // since the time before
}

// New writes to out, which may be a terminal.
func New(out io.Writer) *Progress {
	p := &Progress{out: out, period: linePeriod}
	if file, ok := out.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb" {
			p.terminal, p.period = true, barPeriod
			p.columns = func() int { return columns(file) }
		}
	}
	return p
}

// Step begins another step.
func (p *Progress) Step(title string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.title, p.start, p.shown, p.count, p.rate = title, now, now, 0, 0
	if p.terminal {
		p.frame(title)
		return
	}
	p.printf("%s\n", title)
}

// frame replaces the line by text, as much of it as there is room for: what a terminal wraps can't be replaced.
func (p *Progress) frame(text string) {
	shown := []rune(text)
	p.printf("\r\033[K%s", string(shown[:min(len(shown), max(0, p.columns()-1))]))
}

// At tells how far the step is. It may be called as often as one likes. A step of one thing has no way to be shown.
func (p *Progress) At(count, all int64) {
	if all <= 1 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	since := now.Sub(p.shown)
	if since < p.period {
		return
	}
	p.rate = float64(count-p.count) / since.Seconds()
	p.shown, p.count = now, count
	if p.terminal {
		p.frame(p.title + " " + p.bar(count, all))
		return
	}
	p.printf("  %s\n", p.bar(count, all))
}

// Say tells how the step goes, in words that are asked for when it is time to show them.
func (p *Progress) Say(words func() string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.shown) < p.period {
		return
	}
	p.shown = now
	if p.terminal {
		p.frame(p.title + " " + words())
		return
	}
	p.printf("  %s\n", words())
}

func (p *Progress) bar(count, all int64) string {
	share := min(1, float64(count)/float64(all))
	text := fmt.Sprintf("%3.0f%%  %s of %s  %s/s", share*100, Grouped(count), Grouped(all), Grouped(int64(p.rate)))
	if !p.terminal {
		return text
	}
	// The numbers say more than the bar: it has what they leave.
	width := min(widestBar, p.columns()-1-len(p.title)-len(" [] ")-len(text))
	if width < 5 {
		return text
	}
	full := int(share * float64(width))
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", width-full) + "] " + text
}

// Done ends the step with what came of it.
func (p *Progress) Done(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	took := time.Since(p.start).Seconds()
	if p.terminal {
		p.printf("\r\033[K%s: %s (%.1f s)\n", p.title, text, took)
		return
	}
	p.printf("  %s (%.1f s)\n", text, took)
}

// Abandon leaves the line of a step that failed, for the error that follows.
func (p *Progress) Abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal && p.title != "" {
		p.printf("\n")
	}
}

// printf writes to a terminal or a log; there is nobody to tell when that fails.
func (p *Progress) printf(format string, args ...any) { _, _ = fmt.Fprintf(p.out, format, args...) }

// Grouped writes 1234567 as 1,234,567.
func Grouped(n int64) string {
	text := fmt.Sprint(n)
	digits := strings.TrimPrefix(text, "-")
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if n < 0 {
		return "-" + digits
	}
	return digits
}

// Counted is a number of things: 1 time, 1,000 times.
func Counted[N int | int64](n N, what string) string {
	if n != 1 {
		what += "s"
	}
	return Grouped(int64(n)) + " " + what
}
