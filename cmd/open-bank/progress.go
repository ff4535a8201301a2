package main

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

// progress shows how far a step is: a bar that moves on a terminal, a line now and then elsewhere.
type progress struct {
	out      io.Writer
	terminal bool
	columns  func() int // of the terminal
	period   time.Duration

	mu    sync.Mutex
	title string
	start time.Time
	shown time.Time // when it was drawn last
	count int64     // at that time
	rate  float64   // since the time before
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out, period: linePeriod}
	if file, ok := out.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb" {
			p.terminal, p.period = true, barPeriod
			p.columns = func() int { return columns(file) }
		}
	}
	return p
}

// step begins another step.
func (p *progress) step(title string) {
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
func (p *progress) frame(text string) {
	shown := []rune(text)
	p.printf("\r\033[K%s", string(shown[:min(len(shown), max(0, p.columns()-1))]))
}

// at tells how far the step is. It may be called as often as one likes. A step of one thing has no way to be shown.
func (p *progress) at(count, all int64) {
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

func (p *progress) bar(count, all int64) string {
	share := min(1, float64(count)/float64(all))
	text := fmt.Sprintf("%3.0f%%  %s of %s  %s/s", share*100, grouped(count), grouped(all), grouped(int64(p.rate)))
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

// done ends the step with what came of it.
func (p *progress) done(format string, args ...any) {
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

// abandon leaves the line of a step that failed, for the error that follows.
func (p *progress) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal && p.title != "" {
		p.printf("\n")
	}
}

// printf writes to a terminal or a log; there is nobody to tell when that fails.
func (p *progress) printf(format string, args ...any) { _, _ = fmt.Fprintf(p.out, format, args...) }

// grouped writes 1234567 as 1,234,567.
func grouped(n int64) string {
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
