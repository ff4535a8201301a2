package metric

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

// The conventions of Prometheus: https://prometheus.io/docs/practices/naming/
func TestTheNamesFollowTheConventions(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, f := range append(append([]Family{}, Families...), Process...) {
		if seen[f.Name] || !regexp.MustCompile(`^(openbank|process|go)_[a-z_]+$`).MatchString(f.Name) {
			t.Errorf("%s is there twice or no name of ours", f.Name)
		}
		seen[f.Name] = true
		if total := strings.HasSuffix(f.Name, "_total"); total != (f.Kind == counter) {
			t.Errorf("%s is a %s: counters end in _total, and nothing else does", f.Name, f.Kind)
		}
		if (f.Kind == histogram) != (len(f.Buckets) > 0) {
			t.Errorf("%s is a %s with %d buckets", f.Name, f.Kind, len(f.Buckets))
		}
		if f.Help == "" || !strings.HasSuffix(f.Help, ".") && !strings.HasSuffix(f.Help, "GOMEMLIMIT.") || strings.ContainsAny(f.Help, "\n\\") {
			t.Errorf("%s is helped by %q", f.Name, f.Help)
		}
	}
}

func TestASetIsWrittenWithItsHelp(t *testing.T) {
	t.Parallel()
	s := New()
	s.Counter("openbank_dead_letters_total", `a"topic`, "unreadable").Add(3)
	s.Counter("openbank_dead_letters_total", "b", "unreadable").Inc()
	s.Gauge("openbank_lag_records", "a", "0").Set(7)
	s.Gauge("openbank_lag_records", "a", "1").Set(8)
	s.Forget("openbank_lag_records", "a", "1")
	s.GaugeFunc("openbank_ready", func() float64 { return 1 })
	h := s.Histogram("openbank_batch_records", "a")
	h.Update(1)
	h.Update(60)
	var out bytes.Buffer
	if err := s.Write(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# HELP openbank_dead_letters_total Records of a command topic that became dead letters.\n# TYPE openbank_dead_letters_total counter\n" +
			`openbank_dead_letters_total{topic="a\"topic",reason="unreadable"} 3` + "\n" + `openbank_dead_letters_total{topic="b",reason="unreadable"} 1` + "\n",
		"# TYPE openbank_batch_records histogram\n" + `openbank_batch_records_bucket{topic="a",le="1"} 1` + "\n",
		`openbank_batch_records_bucket{topic="a",le="50"} 1` + "\n" + `openbank_batch_records_bucket{topic="a",le="100"} 2` + "\n",
		`openbank_batch_records_bucket{topic="a",le="+Inf"} 2` + "\n" + `openbank_batch_records_sum{topic="a"} 61` + "\n" + `openbank_batch_records_count{topic="a"} 2` + "\n",
		"# TYPE openbank_lag_records gauge\n" + `openbank_lag_records{topic="a",partition="0"} 7` + "\n",
		"openbank_ready 1\n",
		"# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes ",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), `partition="1"`) {
		t.Error("what was forgotten is written")
	}
	if n := strings.Count(out.String(), "# HELP openbank_dead_letters_total "); n != 1 {
		t.Errorf("the help is written %d times", n)
	}
}

func TestAMetricThatIsNotInTheListPanics(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(*Set){
		"a name that there is not": func(s *Set) { s.Counter("openbank_surprises_total") },
		"another kind":             func(s *Set) { s.Counter("openbank_ready") },
		"a label too few":          func(s *Set) { s.Counter("openbank_dead_letters_total", "a") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s is made", name)
				}
			}()
			make(New())
		}()
	}
}

func BenchmarkCounting(b *testing.B) {
	s := New()
	c, h := s.Counter("openbank_transactions_total"), s.Histogram("openbank_answer_seconds", "a")
	b.Run("counter", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.Inc()
		}
	})
	b.Run("histogram", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.Update(0.004)
		}
	})
}
