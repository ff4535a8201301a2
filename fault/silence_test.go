//go:build soak

package fault

import (
	"fmt"
	"testing"
	"time"

	"openbank/embedded"
)

// A server that is silent for longer than every time-out that can be shorter than a minute: connections that look alive, and
// nothing comes. Row locks, leases, group membership and transactions run into their limits meanwhile.
func TestTheBooksAreRightAfterALongSilence(t *testing.T) {
	t.Parallel()
	total, seed := &tally{sum: map[spot]*count{}}, seedOrTime()
	for i, where := range []string{postgres, oneBroker, brokers, registrar} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, embedded.PostgresConfig{})
			for j, what := range []string{"half-open", "lost replies", "stall"} {
				s := draw(seed + uint64(10*i+j))
				s.again = fmt.Sprintf("-tags soak -args -seed %d", seed)
				s.end = plain
				s.faults = []fault{{300 * time.Millisecond, where, what, 40 * time.Second}}
				playOne(t, w, s, total)
			}
		})
	}
}
