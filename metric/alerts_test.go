package metric

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// alertTests is what promtool's tests of the alerts have of interest here; `make test-alerts` runs them.
type alertTests struct {
	Tests []struct {
		Name  string
		Input []struct{ Series string } `yaml:"input_series"`
		Rules []struct {
			Alert    string `yaml:"alertname"`
			Expected []any  `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	}
}

func readAlertTests(t *testing.T) (tests alertTests) {
	t.Helper()
	if err := yaml.Load([]byte(read(t, "prometheus/alerts_test.yml")), &tests); err != nil {
		t.Fatal(err)
	}
	if len(tests.Tests) == 0 {
		t.Fatal("there are no tests")
	}
	return tests
}

// Every alert is tested to fire, and not to.
func TestEveryAlertIsTested(t *testing.T) {
	t.Parallel()
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range readAlertTests(t).Tests {
		for _, r := range test.Rules {
			if len(r.Expected) > 0 {
				fires[r.Alert] = true
			} else {
				quiet[r.Alert] = true
			}
		}
	}
	for _, found := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(read(t, "prometheus/alerts.yml"), -1) {
		if !fires[found[1]] || !quiet[found[1]] {
			t.Errorf("%s is tested to fire: %v, and not to: %v", found[1], fires[found[1]], quiet[found[1]])
		}
	}
}

var (
	aSeries = regexp.MustCompile(`^(\w+)\{(.*)\}$`)
	aLabel  = regexp.MustCompile(`(\w+)="([^"]*)"`)
)

// The series of these tests have the names, the labels and the buckets that a handler's have, and where all is well is one of each that
// an alert asks for. The handler's tests hold the values of their labels to what it serves.
func TestTheAlertsAreTestedOnWhatThereIs(t *testing.T) {
	t.Parallel()
	tests := readAlertTests(t)
	for _, test := range tests.Tests {
		for _, input := range test.Input {
			parts := aSeries.FindStringSubmatch(input.Series)
			if parts == nil {
				t.Fatalf("%q: %s is no series", test.Name, input.Series)
			}
			labels := map[string]string{}
			for _, l := range aLabel.FindAllStringSubmatch(parts[2], -1) {
				labels[l[1]] = l[2]
			}
			want, buckets, there := labelsOf(parts[1])
			if !there || len(labels) != len(want) || slices.ContainsFunc(want, func(l string) bool { return labels[l] == "" }) {
				t.Errorf("%q: %s should have the labels %q (there: %v)", test.Name, input.Series, want, there)
			}
			if le, bounded := labels["le"]; bounded && le != "+Inf" {
				if bound, err := strconv.ParseFloat(le, 64); err != nil || !slices.Contains(buckets, bound) {
					t.Errorf("%q: %s is none of the buckets %v", test.Name, input.Series, buckets)
				}
			}
		}
	}
	well := tests.Tests[0]
	for _, asked := range aMetric.FindAllString(read(t, "prometheus/alerts.yml"), -1) {
		if !slices.ContainsFunc(well.Input, func(s struct{ Series string }) bool { return strings.HasPrefix(s.Series, asked+"{") }) {
			t.Errorf("%q lacks %s", well.Name, asked)
		}
	}
}

var (
	aMetric   = regexp.MustCompile(`\b(?:up|(?:openbank|process|go)_[a-z_]+)\b`)
	aGrouping = regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`)
	aLegend   = regexp.MustCompile(`\{\{(\w+)\}\}`)
)

// labelsOf is which labels the series of a name have once Prometheus has looked at them, and a histogram's buckets.
func labelsOf(series string) (labels []string, buckets []float64, there bool) {
	labels = []string{"job", "instance"}
	if series == "up" {
		return labels, nil, true
	}
	for _, f := range slices.Concat(Families, Process) {
		part, ours := strings.CutPrefix(series, f.Name)
		switch {
		case !ours:
		case f.Kind != histogram && part == "", f.Kind == histogram && (part == "_sum" || part == "_count"):
			return append(labels, f.Labels...), f.Buckets, true
		case f.Kind == histogram && part == "_bucket":
			return append(append(labels, f.Labels...), "le"), f.Buckets, true
		}
	}
	return nil, nil, false
}

// By what a query groups is a label of all that it asks for, and what a legend shows is left over.
func TestQueriesGroupByLabelsThatThereAre(t *testing.T) {
	t.Parallel()
	asked := func(where, query string) (labels []string) {
		t.Helper()
		for _, name := range aMetric.FindAllString(query, -1) {
			of, _, there := labelsOf(name)
			if !there {
				t.Errorf("%s asks for %s, which there is not", where, name)
			}
			if labels == nil {
				labels = of
			}
			labels = slices.DeleteFunc(labels, func(l string) bool { return !slices.Contains(of, l) })
		}
		for _, grouping := range aGrouping.FindAllStringSubmatch(query, -1) {
			for l := range strings.SplitSeq(grouping[1], ", ") {
				if !slices.Contains(labels, l) {
					t.Errorf("%s groups by %s, which is no label of all that it asks for", where, l)
				}
			}
		}
		return labels
	}
	for _, p := range dashboard(t).Panels {
		for _, q := range p.Targets {
			left := asked(p.Title, q.Expr)
			if grouping := aGrouping.FindStringSubmatch(q.Expr); grouping != nil {
				left = strings.Split(grouping[1], ", ")
			} else if strings.HasPrefix(q.Expr, "sum(") || strings.HasPrefix(q.Expr, "count(") {
				left = nil
			}
			for _, l := range aLegend.FindAllStringSubmatch(q.LegendFormat, -1) {
				if !slices.Contains(left, l[1]) {
					t.Errorf("%s shows %s, of %q", p.Title, l[1], left)
				}
			}
		}
	}
}
