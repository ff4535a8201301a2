package embedded_test

import (
	"sync"
	"testing"

	"openbank/embedded"
)

// Whoever makes a temporary directory sweeps those away that nobody holds: never one that another is making at that moment.
func TestTemporaryDirectoriesThatAreBeingMadeAreNotSweptAway(t *testing.T) {
	t.Parallel()
	var makers sync.WaitGroup
	for range 8 {
		makers.Go(func() {
			for range 100 {
				r, err := embedded.StartRegistry(t.Context(), embedded.RegistryConfig{})
				if err != nil {
					t.Error(err)
					return
				}
				if err := r.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	makers.Wait()
}
