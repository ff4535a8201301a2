// Package metric is what a handler counts, under which names, and how Prometheus reads it.
//
// Every family of metrics stands in Families with its help text, and nothing else can be made: what is not there is a mistake of
// the caller and panics. The values are made once, at the start, with all their labels, so that counting is an atomic addition
// and neither looks anything up nor allocates. No label holds what a record holds: their values are few and known beforehand.
package metric

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/VictoriaMetrics/metrics"
)

// Counter only goes up.
type Counter = metrics.Counter

// Histogram counts observations by size.
type Histogram = metrics.PrometheusHistogram

// Gauge goes up and down.
type Gauge = metrics.Gauge

// Set is the metrics of one process. It is safe for concurrent use.
type Set struct{ set *metrics.Set }

// New returns an empty set.
func New() *Set {
	metrics.ExposeMetadata(true) // the library knows it for all sets together only
	return &Set{metrics.NewSet()}
}

// Counter makes a counter, or returns the one that is there. The values are those of the family's labels, in their order.
func (s *Set) Counter(family string, values ...string) *Counter {
	name, _ := series(family, counter, values)
	return s.set.GetOrCreateCounter(name)
}

// Histogram makes a histogram, or returns the one that is there.
func (s *Set) Histogram(family string, values ...string) *Histogram {
	name, f := series(family, histogram, values)
	return s.set.GetOrCreatePrometheusHistogramExt(name, f.Buckets)
}

// Gauge makes a gauge that is set, or returns the one that is there.
func (s *Set) Gauge(family string, values ...string) *Gauge {
	name, _ := series(family, gauge, values)
	return s.set.GetOrCreateGauge(name, nil)
}

// GaugeFunc makes a gauge that is asked whenever somebody looks.
func (s *Set) GaugeFunc(family string, ask func() float64, values ...string) {
	name, _ := series(family, gauge, values)
	s.set.NewGauge(name, ask)
}

// Forget removes a gauge.
func (s *Set) Forget(family string, values ...string) {
	name, _ := series(family, gauge, values)
	s.set.UnregisterMetric(name)
}

// Write writes all metrics, and those of the process, in Prometheus' text format.
func (s *Set) Write(w io.Writer) error {
	var all bytes.Buffer
	s.set.WritePrometheus(&all)
	// The library writes the lines of the help texts, but takes none.
	var out bytes.Buffer
	for line := range bytes.Lines(all.Bytes()) {
		if family, ok := bytes.CutPrefix(bytes.TrimSuffix(line, []byte("\n")), []byte("# HELP ")); ok {
			fmt.Fprintf(&out, "# HELP %s %s\n", family, find(string(family)).Help)
		} else {
			out.Write(line)
		}
	}
	writeProcess(&out)
	_, err := w.Write(out.Bytes())
	return err
}

// series is the name of one metric of a family.
func series(family, kind string, values []string) (string, Family) {
	f := find(family)
	if f.Kind != kind || len(values) != len(f.Labels) {
		panic(fmt.Sprintf("metric %s is a %s with the labels %q, not a %s with %q", family, f.Kind, f.Labels, kind, values))
	}
	if len(values) == 0 {
		return family, f
	}
	var name strings.Builder
	name.WriteString(family)
	for i, v := range values {
		fmt.Fprintf(&name, "%c%s=%q", "{,"[min(i, 1)], f.Labels[i], v)
	}
	name.WriteByte('}')
	return name.String(), f
}

func find(family string) Family {
	for _, f := range Families {
		if f.Name == family {
			return f
		}
	}
	panic("there is no metric " + family + ": Families lacks it")
}
