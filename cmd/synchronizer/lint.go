package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"openbank/topology"
)

type lintCommand struct {
	Topology      string `placeholder:"FILE" help:"The topology; the open-bank stack's when not given."`
	Against       string `placeholder:"FILE" help:"An earlier topology: what changed since must be possible, Avro schemas compatible by their levels (BACKWARD where none is given), and what is gone is told."`
	NamePattern   string `placeholder:"REGEXP" help:"What each topic's name must match, such as [a-z]+(\\.[a-z]+)*."`
	MaxPartitions int32  `placeholder:"N" help:"How many partitions a topic may have."`
	Strict        bool   `help:"Warnings count as errors."`
	Output        string `enum:"text,json" default:"text" help:"text or json."`
}

func (l *lintCommand) run(ctx context.Context, c console) error {
	options := topology.LintOptions{MaxPartitions: l.MaxPartitions}
	var faults []error
	if l.MaxPartitions < 0 {
		faults = append(faults, errors.New("--max-partitions must be at least 1"))
	}
	if l.NamePattern != "" {
		pattern, err := regexp.Compile("^(?:" + l.NamePattern + ")$")
		if err != nil {
			faults = append(faults, fmt.Errorf("--name-pattern is no regular expression: %w", err))
		}
		options.NamePattern = pattern
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	want, err := load(ctx, l.Topology)
	if err != nil {
		return errors.Join(err, l.faults(c, err))
	}
	if l.Against != "" {
		if options.Against, err = load(ctx, l.Against); err != nil {
			return err
		}
	}
	findings := topology.Lint(want, options)
	failed := false
	for _, finding := range findings {
		failed = failed || finding.Error || l.Strict
	}
	if err := l.show(c, findings); err != nil {
		return err
	}
	if failed {
		return errDifference
	}
	return nil
}

// faults are a malformed topology's as findings, for programs.
func (l *lintCommand) faults(c console, err error) error {
	var bad *topology.FileError
	if l.Output != "json" || !errors.As(err, &bad) {
		return nil
	}
	findings := make([]topology.Finding, len(bad.Faults))
	for i, fault := range bad.Faults {
		message := fault.Wrong
		if fault.Mend != "" {
			message += ": " + fault.Mend
		}
		findings[i] = topology.Finding{Line: fault.Line, Column: fault.Column, Rule: "malformed", Error: true, What: fault.Text, Message: message}
	}
	return l.show(c, findings)
}

func (l *lintCommand) show(c console, findings []topology.Finding) error {
	if l.Output == "json" {
		return topology.WriteJSON(c.out, append([]topology.Finding{}, findings...))
	}
	name := l.Topology
	if name == "" {
		name = "the embedded topology.yaml"
	}
	for _, finding := range findings {
		place := name
		if finding.Earlier {
			place = l.Against
		}
		if finding.Line > 0 {
			place = fmt.Sprintf("%s:%d:%d", place, finding.Line, finding.Column)
		}
		fmt.Fprintln(c.out, topology.Printable(fmt.Sprintf("%s: %s", place, finding)))
	}
	_, err := fmt.Fprintln(c.out, count(len(findings), "finding"))
	return err
}
