package topology

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// planFormat is raised when a saved plan means something else than before.
const planFormat = 2

// savedPlan is a plan in a file: what was wanted, what was allowed, and what had to be changed for it.
type savedPlan struct {
	Format   int       `json:"plan_format"`
	Topology *Topology `json:"topology"`
	Options  Options   `json:"options"`
	Plan     *Plan     `json:"plan"`
}

// Save writes the plan so that LoadPlan reads it, on another machine or later.
func (p *Plan) Save(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(savedPlan{planFormat, p.topology, p.options, p})
}

// LoadPlan reads what Save wrote. The plan can be printed and compared, by Moved; what is applied is a fresh plan of its
// Topology with its Options.
func LoadPlan(r io.Reader) (*Plan, error) {
	decoder := json.NewDecoder(r)
	decoder.DisallowUnknownFields()
	var saved savedPlan
	err := decoder.Decode(&saved)
	switch {
	case errors.Is(err, io.EOF):
		return nil, errors.New("it is empty: save a plan by `plan --out FILE`")
	case err != nil && strings.Contains(err.Error(), `unknown field "changes"`):
		return nil, errors.New("it is what `plan --output json` prints, which can't be applied: save a plan by `plan --out FILE`")
	case err != nil:
		return nil, fmt.Errorf("it is not a plan that `plan --out` wrote: %w", err)
	case decoder.More():
		return nil, errors.New("there is something behind the plan: save it anew by `plan --out FILE`")
	case saved.Format == 0:
		return nil, errors.New("it is not a plan that `plan --out` wrote: it has no plan_format in it")
	}
	if saved.Format != planFormat || saved.Topology == nil || saved.Plan == nil {
		return nil, errors.New("it is a plan of another version of this program: plan again")
	}
	saved.Plan.topology, saved.Plan.options = saved.Topology, saved.Options
	return saved.Plan, nil
}

// Topology is what the plan is for.
func (p *Plan) Topology() *Topology { return p.topology }

// Options are what the plan may do.
func (p *Plan) Options() Options { return p.options }

// MovedError tells how the world differs from what a plan was made of.
type MovedError struct{ Moved []string }

func (e *MovedError) Error() string {
	return "the cluster or the registry is not any more as it was when the plan was made: plan again\n  " + strings.Join(e.Moved, "\n  ")
}

// Moved compares a plan that was made just now with the one that was shown: applying now would do something else than was agreed
// to. Errors: *MovedError.
func (p *Plan) Moved(now *Plan) error {
	var moved []string
	current := make(map[string]Change, len(now.Changes))
	for _, change := range now.Changes {
		current[change.key()] = change
	}
	for _, shown := range p.Changes {
		found, there := current[shown.key()]
		switch {
		case !there:
			moved = append(moved, fmt.Sprintf("%s: nothing to %s any more", shown, shown.Action))
		case !shown.same(found):
			moved = append(moved, fmt.Sprintf("%s: was planned as %s, is now %s", shown, shown.brief(), found.brief()))
		}
		delete(current, shown.key())
	}
	for _, change := range now.Changes {
		if _, unplanned := current[change.key()]; unplanned {
			moved = append(moved, fmt.Sprintf("%s: to %s, which was not planned", change, change.Action))
		}
	}
	if len(moved) > 0 {
		return &MovedError{moved}
	}
	return nil
}

func (c Change) key() string { return string(c.Kind) + "\x00" + string(c.Action) + "\x00" + c.Name }

// same leaves the warnings out: how many records a topic has is not what was agreed to, but that something is lost which was empty is.
func (c Change) same(other Change) bool {
	if c.Action == Delete && len(c.Warnings) == 0 && len(other.Warnings) > 0 {
		return false
	}
	c.Warnings, other.Warnings = nil, nil
	one, errA := json.Marshal(c)
	two, errB := json.Marshal(other)
	return errA == nil && errB == nil && bytes.Equal(one, two)
}

// brief is a change's values in a few words.
func (c Change) brief() string {
	parts := make([]string, 0, len(c.Fields)+1)
	for _, field := range c.Fields {
		parts = append(parts, field.Name+" "+field.arrow(c.Action))
	}
	if c.Blocked != "" {
		parts = append(parts, "not possible ("+c.Blocked+")")
	}
	if c.ID != "" {
		parts = append(parts, "id "+c.ID)
	}
	if c.Action == Delete {
		parts = append(parts, c.Warnings...)
	}
	if len(parts) == 0 {
		return "another one"
	}
	return strings.Join(parts, ", ")
}
