package main

import (
	"context"
	"fmt"
	"strings"

	"openbank/topology"
	"openbank/whole"
)

type planCommand struct {
	planning

	Out string `placeholder:"FILE" help:"Save the plan, for apply FILE. It holds the topology and its schemas, and no passwords."`
}

func (p *planCommand) run(ctx context.Context, c console) error {
	if err := p.Check(); err != nil {
		return err
	}
	want, err := load(ctx, p.Topology)
	if err != nil {
		return err
	}
	target, done, err := p.open(c.err)
	if err != nil {
		return err
	}
	defer done()
	plan, err := p.plan(ctx, target, want, p.options())
	if err != nil {
		return err
	}
	if err := p.show(c, plan); err != nil {
		return err
	}
	if p.Out != "" {
		if err := save(plan, p.Out); err != nil {
			return err
		}
	}
	switch {
	case !plan.Empty():
		return errDifference
	case len(plan.Unchecked) > 0:
		return fmt.Errorf("not all could be compared: %s", strings.Join(plan.Unchecked, "; "))
	}
	return nil
}

func save(plan *topology.Plan, path string) error {
	if err := whole.Write(path, 0o600, plan.Save); err != nil {
		return fmt.Errorf("saving the plan: %w", err)
	}
	return nil
}
