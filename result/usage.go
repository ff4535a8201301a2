package result

import (
	"slices"
	"time"
)

// Processes are those that a round has usage of, the subject's own first, the others by name.
func (r *Round) Processes() []string {
	var names []string
	for _, u := range r.Usage {
		if !slices.Contains(names, u.Process) {
			names = append(names, u.Process)
		}
	}
	slices.Sort(names)
	if i := slices.Index(names, Own); i > 0 {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, Own)
	}
	return names
}

// Used are the samples of one process, in order of time.
func (r *Round) Used(process string) []Usage {
	var used []Usage
	for _, u := range r.Usage {
		if u.Process == process {
			used = append(used, u)
		}
	}
	slices.SortStableFunc(used, func(a, b Usage) int { return int(a.At - b.At) })
	return used
}

// CPU is what a process used from its first sample in the round to its last, and the time between them: who measures takes one at
// the round's start and one at its end. Both are 0 with fewer than two samples.
func (r *Round) CPU(process string) (used, over time.Duration) {
	u := r.Used(process)
	if len(u) < 2 {
		return 0, 0
	}
	return u[len(u)-1].CPU - u[0].CPU, u[len(u)-1].At - u[0].At
}

// PeakRSS is the most memory in bytes that a process was seen to have: as the system tells where it does, else the largest
// sample. 0 without samples.
func (r *Round) PeakRSS(process string) int64 {
	var peak int64
	for _, u := range r.Used(process) {
		peak = max(peak, u.PeakRSS, u.RSS)
	}
	return peak
}
