package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"openbank/comparison"
	"openbank/result"
)

// kept writes a drain of these rates and returns its path.
func kept(t *testing.T, scenario string, rates ...float64) string {
	t.Helper()
	run := &result.Run{Scenario: scenario, Subjects: []result.Subject{{Name: "ours", Kind: "handler"}}}
	for _, rate := range rates {
		run.Subjects[0].Rounds = append(run.Subjects[0].Rounds, result.Round{Rate: rate, Answered: 1})
	}
	path := filepath.Join(t.TempDir(), "run.json")
	if err := run.Write(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func called(t *testing.T, args ...string) (exit int, stdout, said string) {
	t.Helper()
	var out, errs strings.Builder
	err := run(t.Context(), args, func(string) string { return "" }, &out, &errs)
	if err == nil {
		return 0, out.String(), errs.String()
	}
	return status(err), out.String(), errs.String() + err.Error()
}

func TestCompareEndsByWhatItFound(t *testing.T) {
	t.Parallel()
	fast, slow := kept(t, "drain", 100, 101, 102, 103, 104), kept(t, "drain", 80, 81, 82, 83, 84)
	few, ramp := kept(t, "drain", 10, 11), kept(t, "ramp", 1)
	for name, c := range map[string]struct {
		args []string
		exit int
		says string
	}{
		"the same":               {[]string{fast, fast}, 0, "same"},
		"better":                 {[]string{slow, fast}, 0, "better (higher)"},
		"worse":                  {[]string{fast, slow}, 2, "worse than A by more than 5%: ours rate"},
		"worse, and tolerated":   {[]string{fast, slow, "--tolerance", "30%"}, 0, "same"},
		"a tolerance as a share": {[]string{fast, slow, "--tolerance=0.3"}, 0, "same"},
		"too few rounds to say":  {[]string{fast, few}, 0, "at least 4 on each side"},
		"another scenario":       {[]string{fast, ramp}, 1, "only runs of one scenario compare"},
		"no such file":           {[]string{fast, "gone.json"}, 1, "gone.json"},
		"one file":               {[]string{fast}, 1, "--subject-a"},
		"a tolerance of nothing": {[]string{fast, slow, "--tolerance", "lots"}, 1, `"lots" is no tolerance`},
		"no number":              {[]string{fast, slow, "--tolerance", "nan"}, 1, `"nan" is no tolerance`},
		"a tolerance of all":     {[]string{fast, slow, "--tolerance", "100%"}, 1, "less than 100%"},
		"no such output":         {[]string{fast, slow, "--output", "xml"}, 1, "text"},
	} {
		exit, stdout, said := called(t, append([]string{"compare"}, c.args...)...)
		if exit != c.exit || !strings.Contains(stdout+said, c.says) {
			t.Errorf("%s: exit status %d, and it says\n%s%s", name, exit, stdout, said)
		}
	}
}

func TestTheHelpOfCompareNamesEveryMetric(t *testing.T) {
	t.Parallel()
	_, help, _ := called(t, "compare", "--help")
	help = strings.Join(strings.Fields(help), " ")
	if list := strings.Join(comparison.MetricNames(), ", "); !strings.Contains(help, list) {
		t.Errorf("the help lacks %q:\n%s", list, help)
	}
}

func TestCompareAsJSON(t *testing.T) {
	t.Parallel()
	exit, stdout, _ := called(t, "compare", kept(t, "drain", 100, 101, 102, 103, 104), kept(t, "drain", 80, 81, 82, 83, 84), "--output", "json")
	var got struct {
		Rows []struct {
			Metric, Verdict string
			A, B            float64
		}
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	if exit != 2 || len(got.Rows) != 1 || got.Rows[0].Metric != "rate" || got.Rows[0].Verdict != "worse" || got.Rows[0].A != 102 || got.Rows[0].B != 82 {
		t.Errorf("exit status %d: %s", exit, stdout)
	}
}
