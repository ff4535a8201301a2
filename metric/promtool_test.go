//go:build promtool

package metric

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var promtoolPath = flag.String("promtool", "promtool", "Prometheus' promtool")

// promtool has it take what is given to it, in the folder of the rules.
func promtool(t *testing.T, stdin []byte, arguments ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), *promtoolPath, arguments...)
	command.Dir, command.Stdin = "../docs/prometheus", bytes.NewReader(stdin)
	if output, err := command.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
}

// Every alert fires when it should, with the words that it should, and not before: alerts_test.yml.
func TestPromtoolFindsTheAlertsToFireWhenTheyShould(t *testing.T) {
	t.Parallel()
	promtool(t, nil, "check", "config", "prometheus.yml")
	promtool(t, nil, "check", "rules", "--lint=all", "--lint-fatal", "alerts.yml")
	promtool(t, nil, "test", "rules", "alerts_test.yml")
}

// Where there is one of every metric, no query of the dashboard comes back empty.
func TestPromtoolAnswersEveryQueryOfTheDashboard(t *testing.T) {
	t.Parallel()
	var test strings.Builder
	fmt.Fprint(&test, "evaluation_interval: 1m\ntests:\n- interval: 15s\n  input_series:\n")
	for _, s := range one() {
		values := "1x240"
		if s.kind != gauge {
			values = "0+1x240"
		}
		fmt.Fprintf(&test, "  - {series: '%s', values: %s}\n", s.name, values)
	}
	fmt.Fprint(&test, "  promql_expr_test:\n")
	variables := strings.NewReplacer("$job", ".*", "$instance", ".*", "$__rate_interval", "1m")
	for _, p := range dashboard(t).Panels {
		for _, q := range p.Targets {
			fmt.Fprintf(&test, "  - {expr: 'absent(%s)', eval_time: 30m, exp_samples: []}\n", variables.Replace(q.Expr))
		}
	}
	file := filepath.Join(t.TempDir(), "dashboard_test.yml")
	if err := os.WriteFile(file, []byte(test.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, nil, "test", "rules", file)
}

// one is the series of one metric of every family as Prometheus has them. With the values of the labels every query finds something.
func one() (all []struct{ name, kind string }) {
	values := map[string]string{"outcome": "rejected", "disposition": "duplicate", "le": "+Inf"}
	add := func(name, kind string, labels ...string) {
		matchers := `job="command-handler",instance="10.0.0.1:8383"`
		for _, l := range labels {
			v := values[l]
			if v == "" {
				v = "some"
			}
			matchers += fmt.Sprintf(",%s=%q", l, v)
		}
		all = append(all, struct{ name, kind string }{name + "{" + matchers + "}", kind})
	}
	for _, families := range [][]Family{Families, Process} {
		for _, f := range families {
			if f.Kind != histogram {
				add(f.Name, f.Kind, f.Labels...)
				continue
			}
			add(f.Name+"_bucket", f.Kind, append([]string{"le"}, f.Labels...)...)
			add(f.Name+"_sum", f.Kind, f.Labels...)
			add(f.Name+"_count", f.Kind, f.Labels...)
		}
	}
	return all
}

// What is served is in Prometheus' format, and follows its conventions.
func TestPromtoolReadsWhatIsServed(t *testing.T) {
	t.Parallel()
	s := New()
	for _, f := range Families {
		values := make([]string, len(f.Labels))
		for i := range values {
			values[i] = `so"me`
		}
		switch f.Kind {
		case counter:
			s.Counter(f.Name, values...).Inc()
		case gauge:
			s.Gauge(f.Name, values...).Set(0.5)
		case histogram:
			s.Histogram(f.Name, values...).Update(1)
		}
	}
	var out bytes.Buffer
	if err := s.Write(&out); err != nil {
		t.Fatal(err)
	}
	promtool(t, out.Bytes(), "check", "metrics")
}
