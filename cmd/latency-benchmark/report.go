package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"openbank/report"
	"openbank/result"
	"openbank/whole"
)

type reportCommand struct {
	Results []string `arg:"" name:"RESULT.json" help:"Results of latency-benchmark run. Several are drawn over one another."`

	Out    string   `default:"report.html" help:"The page to write."`
	Title  string   `default:"Latency benchmark" help:"What stands at its head."`
	SVG    string   `name:"svg" placeholder:"DIR" help:"Write the charts as SVG into this directory too, for a README."`
	PNG    string   `name:"png" placeholder:"DIR" help:"Write them as PNG."`
	Charts []string `placeholder:"NAME" help:"Which of the charts --svg and --png write, by name (latency-p99,throughput); default: all."`
}

// Run reads all results before it writes anything.
func (c *reportCommand) Run(s *session) error {
	var inputs []report.Input
	for _, path := range c.Results {
		if c.overwrites(path) {
			return fmt.Errorf("--out: %s is one of the results: name another file", c.Out)
		}
		run, err := result.Read(path)
		if err != nil {
			return err
		}
		inputs = append(inputs, report.Input{Label: strings.TrimSuffix(filepath.Base(path), ".json"), Run: run})
	}
	chosen, err := c.chosen(report.Charts(inputs))
	if err != nil {
		return err
	}
	if err := write(c.Out, func(to io.Writer) error { return report.Page(to, c.Title, cmp.Or(version, "development"), inputs) }); err != nil {
		return err
	}
	written := []string{c.Out}
	for i := range chosen {
		chart := &chosen[i]
		if c.SVG != "" {
			path := filepath.Join(c.SVG, chart.ID+".svg")
			written = append(written, path)
			err = errors.Join(err, write(path, func(to io.Writer) error { _, err := io.WriteString(to, chart.SVG()); return err }))
		}
		if c.PNG != "" {
			path := filepath.Join(c.PNG, chart.ID+".png")
			written = append(written, path)
			err = errors.Join(err, write(path, chart.PNG))
		}
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.stdout, "wrote", strings.Join(written, " "))
	return err
}

// overwrites says whether the page would take the place of a result.
func (c *reportCommand) overwrites(path string) bool {
	page, err := os.Stat(c.Out)
	if err != nil {
		return false // it is made
	}
	measured, err := os.Stat(path)
	return err == nil && os.SameFile(page, measured)
}

func (c *reportCommand) chosen(charts []report.Chart) ([]report.Chart, error) {
	if len(c.Charts) == 0 {
		return charts, nil
	}
	if c.SVG == "" && c.PNG == "" {
		return nil, errors.New("--charts chooses what --svg and --png write: give one of them a directory")
	}
	var there []string
	for _, chart := range charts {
		there = append(there, chart.ID)
	}
	for _, name := range c.Charts {
		if !slices.Contains(there, name) {
			return nil, fmt.Errorf("these results give no chart %q; they give %s", name, strings.Join(there, ", "))
		}
	}
	return slices.DeleteFunc(charts, func(chart report.Chart) bool { return !slices.Contains(c.Charts, chart.ID) }), nil
}

// write makes a file, and the directory that it lies in. What was there before stays until the new one is whole.
func write(path string, content func(io.Writer) error) error {
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = whole.Write(path, 0o644, content)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
