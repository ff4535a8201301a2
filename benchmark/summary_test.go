package benchmark

import (
	"strings"
	"testing"
	"time"

	"openbank/result"
)

func TestTheTableNamesDeliveryAndRatio(t *testing.T) {
	t.Parallel()
	latency := result.NewLatency()
	for i := range 100 {
		_ = latency.RecordValue(int64(i+1) * int64(time.Millisecond))
	}
	used := []result.Usage{{Process: result.Own, RSS: 1 << 20, PeakRSS: 20 << 20}, {Process: result.Own, At: time.Second, CPU: 30 * time.Millisecond, PeakRSS: 21 << 20}}
	var out strings.Builder
	Print(&out, &result.Run{Subjects: []result.Subject{
		{Name: "ours", Kind: "handler", Delivery: "exactly-once", Notes: []string{"a note"}, Rounds: []result.Round{
			{Rate: 30000, Answered: 1000, Usage: used}, {Rate: 50000, Answered: 1000, Usage: used}, {Rate: 500, Load: 500, Answered: 100, Latency: latency}, {Rate: 0.4, Load: 0.4, Answered: 1, Latency: latency},
			{Rate: 20000, Hot: 1, Handlers: 4, Handled: 1000000},
		}},
		{Name: "TPC-B", Kind: "store", Rounds: []result.Round{{Rate: 8000}}},
		{Name: "climber", Kind: "handler", Delivery: "exactly-once", Rounds: []result.Round{
			{Rate: 12345, Load: 2000, Latency: latency, Samples: make([]result.Sample, 3)}, {Rate: 54321, Load: 3000, Latency: latency, Samples: make([]result.Sample, 3)},
		}},
	}})
	for _, want := range []string{
		"ours exactly-once 2 40,000 5.00 - - - - 30.0 us 21.0 MiB", "ours at 500/s exactly-once 1 500 - 50.0 ms 99.0 ms", "ours at 0.4/s exactly-once 1 0.4 - 50.0 ms",
		"ours 4 handlers 100% hot after 1,000,000 exactly-once 1 20,000 2.50",
		"TPC-B - 1 8,000 1.00", "ours: a note", "climber, load reached exactly-once 2 2,500 - - - - -",
	} {
		if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

func TestAnInteractionIsSeenAtTheNextLook(t *testing.T) {
	t.Parallel()
	for took, want := range map[time.Duration]time.Duration{time.Millisecond: 20 * time.Millisecond, 20 * time.Millisecond: 20 * time.Millisecond, 21 * time.Millisecond: 40 * time.Millisecond} {
		if got := (Ramp{CheckEvery: 20 * time.Millisecond}).checked(took); got != want {
			t.Errorf("%s is seen after %s, not %s", took, got, want)
		}
	}
	if got := (Ramp{}).checked(1234); got != 1234 {
		t.Errorf("without looks: %s", got)
	}
}
