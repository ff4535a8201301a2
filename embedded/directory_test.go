package embedded_test

import (
	"strconv"
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

// directory's name is one that a temporary directory could have: others who sweep leave it alone, held or not.
func TestADirectoryThatWasGivenIsNotSweptAway(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	for id := 1; id <= 2; id++ {
		given, err := embedded.StartRegistry(t.Context(), embedded.RegistryConfig{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if got := register(t, given.URL(), strconv.Itoa(id), `{"type":"fixed","name":"f","size":`+strconv.Itoa(id)+`}`); got != id {
			t.Errorf("schema %d has id %d: what was there before is gone", id, got)
		}
		if err := given.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		temporary, err := embedded.StartRegistry(t.Context(), embedded.RegistryConfig{})
		if err != nil {
			t.Fatal(err)
		}
		if err := temporary.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
