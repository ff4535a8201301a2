package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"openbank/progress"
	"openbank/topology"
)

type applyCommand struct {
	planning

	Plan         string        `arg:"" optional:"" placeholder:"FILE" help:"A plan that plan --out saved: it is applied if the world did not move since, and what it deletes needs --yes still."`
	Yes          bool          `help:"Apply without asking."`
	CreateOnly   bool          `help:"Make what is missing and leave all that exists as it is, without asking. What is left is told; it is no error."`
	ApplyTimeout time.Duration `default:"1h" help:"How long the changes may take, the copying of replicas included."`
}

func (a *applyCommand) run(ctx context.Context, c console) error {
	if err := a.check(); err != nil {
		return err
	}
	want, options, shown, err := a.wanted(ctx)
	if err != nil {
		return err
	}
	target, done, err := a.open(c.err)
	if err != nil {
		return err
	}
	defer done()
	plan, err := a.plan(ctx, target, want, options)
	if err != nil {
		return err
	}
	if shown != nil {
		if a.CreateOnly && (options.DeleteTopics || options.DeleteSubjects || options.DeleteACLs || options.PruneConfig) {
			return fmt.Errorf("the plan %s was made to delete or prune, and --create-only does neither: leave it out, or plan again without --allow-delete and --prune-config", a.Plan)
		}
		if err := shown.Moved(plan); err != nil {
			return fmt.Errorf("applying %s: %w", a.Plan, err)
		}
	}
	var left []topology.Change
	if a.CreateOnly {
		left = plan.CreateOnly()
	}
	switch {
	case a.Output == "json":
	case plan.Empty() && len(left) > 0:
		if _, err := fmt.Fprintln(c.out, "Nothing is missing. What is not as it must be is left, because of --create-only."); err != nil {
			return err
		}
	default:
		if err := a.show(c, plan); err != nil {
			return err
		}
	}
	for _, change := range left {
		target.Logger.Warn("left as it is", "what", change.String(), "because", "of --create-only")
	}
	for _, unchecked := range plan.Unchecked {
		target.Logger.Warn("not compared", "what", unchecked)
	}
	if plan.Empty() {
		return a.report(c, plan, left, nil)
	}
	if err := a.consent(ctx, c, target, plan); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, a.ApplyTimeout)
	defer cancel()
	return a.report(c, plan, left, target.Apply(ctx, plan))
}

func (a *applyCommand) check() error {
	faults := []error{a.Check()}
	if a.ApplyTimeout <= 0 {
		faults = append(faults, errors.New("--apply-timeout must be more than nothing, such as 1h"))
	}
	if a.CreateOnly && (a.PruneConfig || len(a.AllowDelete) > 0) {
		faults = append(faults, errors.New("--create-only changes and deletes nothing: leave it out, or --prune-config and --allow-delete"))
	}
	if a.Plan != "" && (a.Topology != "" || a.PruneConfig || len(a.AllowDelete) > 0) {
		faults = append(faults, errors.New("a saved plan has its topology and its options in it: leave out --topology, --prune-config and --allow-delete"))
	}
	return errors.Join(faults...)
}

// wanted is what to apply, and the plan that was shown if there is one.
func (a *applyCommand) wanted(ctx context.Context) (*topology.Topology, topology.Options, *topology.Plan, error) {
	if a.Plan == "" {
		want, err := load(ctx, a.Topology)
		return want, a.options(), nil, err
	}
	shown, err := untilDone(ctx, func() (*topology.Plan, error) {
		file, err := os.Open(a.Plan)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }() // it was read only
		return topology.LoadPlan(file)
	})
	if err != nil {
		return nil, topology.Options{}, nil, fmt.Errorf("reading the plan %s: %w", a.Plan, err)
	}
	return shown.Topology(), shown.Options(), shown, nil
}

// consent is nil when the plan may be carried out.
func (a *applyCommand) consent(ctx context.Context, c console, target *topology.Target, plan *topology.Plan) error {
	switch {
	case a.Yes || a.CreateOnly:
		return nil
	case a.Plan != "" && plan.Count(topology.Delete) == 0:
		return nil // it was looked at before
	case c.interactive && a.Output != "json":
		return a.ask(ctx, c, target, plan)
	case plan.Harmless():
		return nil
	}
	return a.unasked(plan)
}

// unasked says what in a plan somebody has to agree to, and how they can.
func (a *applyCommand) unasked(plan *topology.Plan) error {
	if a.Plan != "" { // the rest of it was agreed to when it was looked at
		return errors.New("there is no terminal to ask at, and the plan deletes: give --yes to apply all of it; nothing was applied")
	}
	var does []string
	if plan.Count(topology.Update) > 0 {
		does = append(does, "changes what exists")
	}
	if plan.Count(topology.Delete) > 0 {
		does = append(does, "deletes")
	}
	for _, change := range plan.Changes {
		if change.Kind == topology.KindACL && change.Action == topology.Create {
			does = append(does, "makes ACLs, the first of which on a resource can lock others out")
			break
		}
	}
	if does == nil { // all of it is not possible
		does = append(does, "is about what exists")
	}
	give := "give --yes to apply all of it"
	if !a.PruneConfig && len(a.AllowDelete) == 0 {
		give += ", or --create-only to make only the topics, subjects and versions that are missing"
	}
	return fmt.Errorf("there is no terminal to ask at, and the plan %s: %s; nothing was applied", strings.Join(does, ", "), give)
}

// ask shows what is about to be done to whoever sits at the terminal. They may take their time: what is done is what they saw.
func (a *applyCommand) ask(ctx context.Context, c console, target *topology.Target, plan *topology.Plan) error {
	switch answer, err := progress.Ask(ctx, c.in, c.out, "Apply this? Only yes is taken for it: "); {
	case ctx.Err() != nil:
		return fmt.Errorf("nothing was applied: %w", err)
	case answer != "yes": // an end of the input is none
		return errors.New("nothing was applied")
	}
	now, err := a.plan(ctx, target, plan.Topology(), plan.Options())
	if err != nil {
		return err
	}
	return plan.Moved(now)
}

// report ends the command: what was applied, what was left by --create-only, and the error if not all was done that should have been.
func (a *applyCommand) report(c console, plan *topology.Plan, left []topology.Change, err error) error {
	var partial *topology.PartialError
	if err != nil && !errors.As(err, &partial) {
		return err
	}
	if a.Output == "json" {
		result := struct {
			Plan       any      `json:"plan"`
			Applied    []string `json:"applied"`
			NotApplied []string `json:"not_applied"`
			Left       []string `json:"left"`
		}{plan.Summed(), []string{}, []string{}, []string{}}
		for _, change := range left {
			result.Left = append(result.Left, change.String())
		}
		if partial != nil {
			result.Applied = append(result.Applied, partial.Applied...)
			for _, failed := range partial.Failed {
				result.NotApplied = append(result.NotApplied, failed.Error())
			}
			for _, change := range partial.UnderWay {
				result.NotApplied = append(result.NotApplied, change+": under way when it was interrupted, and perhaps applied")
			}
			for _, change := range partial.Left {
				result.NotApplied = append(result.NotApplied, change+": not begun when it was interrupted")
			}
		} else {
			for _, change := range plan.Changes {
				result.Applied = append(result.Applied, change.String())
			}
		}
		return errors.Join(err, topology.WriteJSON(c.out, result))
	}
	if partial != nil && errors.Is(partial.Cause, context.DeadlineExceeded) {
		err = fmt.Errorf("%w\n(--apply-timeout is %s)", err, a.ApplyTimeout)
	}
	if partial != nil && a.Plan != "" {
		err = fmt.Errorf("%w\n(%s is of the state before it: plan again for the rest)", err, a.Plan)
	}
	if err == nil && !plan.Empty() {
		_, err = fmt.Fprintf(c.out, "Applied: %d created, %d changed, %d deleted.\n", plan.Count(topology.Create), plan.Count(topology.Update), plan.Count(topology.Delete))
	}
	return err
}
