package result

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Case is what rounds have in common that repeat one another.
type Case struct {
	Load     float64
	Handled  int64
	Hot      float64
	Handlers int // at least 1
}

// Case is the round's.
func (r *Round) Case() Case { return Case{r.Load, r.Handled, r.Hot, max(1, r.Handlers)} }

// String is for people: "at 500/s", "after 1,000,000, 100% hot"; empty when there is nothing to tell apart.
func (c Case) String() string {
	var parts []string
	if c.Load > 0 {
		parts = append(parts, "at "+Number(c.Load)+"/s")
	}
	if c.Handled > 0 {
		parts = append(parts, "after "+Number(float64(c.Handled)))
	}
	if c.Hot > 0 {
		parts = append(parts, fmt.Sprintf("%g%% hot", 100*c.Hot))
	}
	if c.Handlers > 1 {
		parts = append(parts, fmt.Sprintf("%d handlers", c.Handlers))
	}
	return strings.Join(parts, ", ")
}

// Compare orders cases by load, what was handled before, the hot share and the number of handlers.
func (c Case) Compare(other Case) int {
	return cmp.Or(cmp.Compare(c.Load, other.Load), cmp.Compare(c.Handled, other.Handled), cmp.Compare(c.Hot, other.Hot), cmp.Compare(c.Handlers, other.Handlers))
}

// Repeated are the rounds of a case.
type Repeated struct {
	Case   Case
	Rounds []*Round
}

// Cases are the subject's rounds by what they have in common, in the order of Case.Compare.
func (s *Subject) Cases() []Repeated {
	var all []Repeated
	for i := range s.Rounds {
		r := &s.Rounds[i]
		at := slices.IndexFunc(all, func(of Repeated) bool { return of.Case == r.Case() })
		if at < 0 {
			at = len(all)
			all = append(all, Repeated{Case: r.Case()})
		}
		all[at].Rounds = append(all[at].Rounds, r)
	}
	slices.SortStableFunc(all, func(a, b Repeated) int { return a.Case.Compare(b.Case) })
	return all
}

// Pointers are the rounds themselves, not copies.
func Pointers(rounds []Round) []*Round {
	all := make([]*Round, len(rounds))
	for i := range rounds {
		all[i] = &rounds[i]
	}
	return all
}
