//go:build !crashpoints

// Package crash names the places at which a process can be made to die, so that tests can kill a handler exactly there, with
// work in its hands, as no signal from outside can.
//
// Only programs built with the tag crashpoints contain any of it. In all others both functions are empty and leave no
// trace in the binary, which a test of package fault holds them to.
package crash

// Enabled says whether this program can crash.
const Enabled = false

// Point is a place. batch is how much is in flight there: commands, records or the partitions that they came from.
func Point(_ string, _ int) {}

// Delivered tells that the consumer handed over a record.
func Delivered(_ string, _ int32, _ int64) {}
