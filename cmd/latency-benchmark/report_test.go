package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestReportWritesThePageAndThePictures(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	page, pictures := filepath.Join(dir, "new", "page.html"), filepath.Join(dir, "pictures")
	exit, stdout, said := called(t, "report", kept(t, "drain", 100, 101), kept(t, "hot", 90), "--out", page, "--svg", pictures, "--png", pictures, "--title", "Two <runs>")
	if exit != 0 || !strings.Contains(stdout, page) {
		t.Fatalf("exit status %d: %s%s", exit, stdout, said)
	}
	html, err := os.ReadFile(page)
	if err != nil || !strings.Contains(string(html), "<h1>Two &lt;runs&gt;</h1>") {
		t.Errorf("%v: %.200s", err, html)
	}
	if got := names(t, pictures); !slices.Equal(got, []string{"hot.png", "hot.svg", "throughput.png", "throughput.svg"}) {
		t.Errorf("pictures: %v", got)
	}
}

// A report that can't be written to its end, on a full disk, leaves the one before as it was.
func TestAReportTakesTheOldOnesPlaceAsAWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	page := filepath.Join(dir, "page.html")
	if err := os.WriteFile(page, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	full := errors.New("no space left on device")
	err := write(page, func(to io.Writer) error { _, err := io.WriteString(to, "ne"); return errors.Join(err, full) })
	if !errors.Is(err, full) || !strings.Contains(err.Error(), "writing "+page) {
		t.Errorf("error %v", err)
	}
	if text, err := os.ReadFile(page); err != nil || string(text) != "old" {
		t.Errorf("%q, %v", text, err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"page.html"}) {
		t.Errorf("files: %v", got)
	}
	if err := write(page, func(to io.Writer) error { _, err := io.WriteString(to, "new"); return err }); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(page); err != nil || string(text) != "new" {
		t.Errorf("%q, %v", text, err)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestReportOfChosenCharts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out := filepath.Join(dir, "report.html")
	run := kept(t, "drain", 100, 101)
	if exit, _, said := called(t, "report", run, "--out", out, "--svg", dir, "--charts", "throughput"); exit != 0 {
		t.Fatal(said)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"report.html", "throughput.svg"}) {
		t.Errorf("it wrote %v", got)
	}
	for says, args := range map[string][]string{
		`no chart "hot"; they give throughput`: {run, "--out", out, "--svg", dir, "--charts", "hot"},
		"give one of them a directory":         {run, "--out", out, "--charts", "throughput"},
		"gone.json":                            {run, "gone.json", "--out", out},
		"not a result":                         {out, "--out", filepath.Join(dir, "other.html")},
		"is one of the results":                {run, "--out", run},
		"RESULT.json":                          {},
	} {
		exit, _, said := called(t, append([]string{"report"}, args...)...)
		if exit != 1 || !strings.Contains(said, says) {
			t.Errorf("%v: exit status %d: %s", args, exit, said)
		}
	}
}
