package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"openbank/result"
)

func made(t *testing.T, inputs []Input) string {
	t.Helper()
	var b strings.Builder
	if err := Page(&b, "Latency & throughput", "v1", inputs); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// OPENBANK_REPORT_DIR=DIR keeps what the synthetic runs give, to be looked at.
func TestThePageOfAllScenarios(t *testing.T) {
	t.Parallel()
	inputs := synthetic()
	html := made(t, inputs)
	if dir := os.Getenv("OPENBANK_REPORT_DIR"); dir != "" {
		keep(t, dir, inputs, html)
	}
	for _, id := range []string{"latency-mean", "latency-p50", "latency-p99", "percentiles", "throughput", "answers-drain", "answers-soak", "grow", "hot", "handlers", "cpu-by-load", "memory-by-load",
		"cpu-drain-openbank-exactly-once-2026-11-25-drain", "memory-drain-openbank-exactly-once-2026-11-25-drain", "soak-openbank-exactly-once"} {
		if !strings.Contains(html, `<figure id="`+id+`">`) {
			t.Errorf("there is no picture %s", id)
		}
	}
	for _, text := range []string{
		"exactly-once", "at-least-once", "AMD EPYC 7B13, 2 cores, 24 GiB", "Apache Kafka 4.3.1", "fsync on", "rates 100,500,1000,5000", "2026-11-25 18:00",
		"retry.backoff.ms 5 on the transactional producer &lt;default&gt;", "Latency &amp; throughput", "Clojure, 2019", "Rust rdkafka sync, 2019", "9 CPUs", "× TPC-B",
	} {
		if !strings.Contains(html, text) {
			t.Errorf("it does not say %q", text)
		}
	}
}

func keep(t *testing.T, dir string, inputs []Input, html string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "report.html"), []byte(html), 0o600); err != nil {
		t.Fatal(err)
	}
	charts := Charts(inputs)
	for i := range charts {
		if err := os.WriteFile(filepath.Join(dir, charts[i].ID+".svg"), []byte(charts[i].SVG()), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(filepath.Join(dir, charts[i].ID+".png"))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(charts[i].PNG(f), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	for _, in := range inputs {
		if err := in.Run.Write(filepath.Join(dir, in.Label+".json")); err != nil {
			t.Fatal(err)
		}
	}
}

// What a page may not have, whatever a browser makes of it: anything from elsewhere, scripts, styles outside the one sheet, ids twice.
func TestThePageStandsAlone(t *testing.T) {
	t.Parallel()
	html := made(t, synthetic())
	for _, bad := range []string{"<script", "<iframe", "<img", "url(", "@import", " style=", "javascript:", "onload", "src="} {
		if strings.Contains(html, bad) {
			t.Errorf("it has %q", bad)
		}
	}
	for _, m := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(html, -1) {
		if !strings.HasPrefix(m[1], "#") && m[1] != "data:," {
			t.Errorf("it links to %s", m[1])
		}
	}
	if n := strings.Count(html, "<style"); n != 1 {
		t.Errorf("it has %d style sheets", n)
	}
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(` id="([^"]*)"`).FindAllStringSubmatch(html, -1) {
		if ids[m[1]] {
			t.Errorf("the id %s is there twice", m[1])
		}
		ids[m[1]] = true
	}
	for _, m := range regexp.MustCompile(` aria-labelledby="([^"]*)"`).FindAllStringSubmatch(html, -1) {
		for _, id := range strings.Fields(m[1]) {
			if !ids[id] {
				t.Errorf("what is to be labelled by %s has no label", id)
			}
		}
	}
	if pictures, tables := strings.Count(html, "<figure"), strings.Count(html, "<details>"); pictures == 0 || pictures != tables {
		t.Errorf("%d pictures have %d tables of their numbers", pictures, tables)
	}
}

func TestSVGsAreWellFormedAndDescribed(t *testing.T) {
	t.Parallel()
	charts := Charts(synthetic())
	for i := range charts {
		for name, drawn := range map[string]string{"wide": charts[i].svg(wide, ""), "narrow": charts[i].svg(narrow, ""), "alone": charts[i].SVG()} {
			var in struct {
				ViewBox string `xml:"viewBox,attr"`
				Title   string `xml:"title"`
				Desc    string `xml:"desc"`
			}
			if err := xml.Unmarshal([]byte(drawn), &in); err != nil {
				t.Fatalf("%s, %s: %v", charts[i].ID, name, err)
			}
			if in.Title != charts[i].Title || in.Desc != charts[i].Describe() || len(in.Desc) < 20 {
				t.Errorf("%s, %s: title %q, description %q", charts[i].ID, name, in.Title, in.Desc)
			}
			inside(t, charts[i].ID+", "+name, in.ViewBox, drawn)
			if strings.Contains(drawn, "NaN") || strings.Contains(drawn, "Inf") {
				t.Errorf("%s, %s has positions that are no numbers", charts[i].ID, name)
			}
		}
	}
}

// inside checks that nothing lies outside the picture: text by the width it is taken to have.
func inside(t *testing.T, name, viewBox, drawn string) {
	t.Helper()
	size := strings.Fields(viewBox)
	width, _ := strconv.ParseFloat(size[2], 64)
	height, _ := strconv.ParseFloat(size[3], 64)
	number := func(s string) float64 {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return v
	}
	for _, m := range regexp.MustCompile(`<text class="\w" x="([^"]+)" y="([^"]+)" font-size="([^"]+)"(?: text-anchor="(\w+)")?[^>]*>([^<]*)<`).FindAllStringSubmatch(drawn, -1) {
		x, y, w := number(m[1]), number(m[2]), widthOf(m[5], number(m[3]))
		switch m[4] {
		case "end":
			x -= w
		case "middle":
			x -= w / 2
		}
		if x < -1 || x+w > width+1 || y < 0 || y > height {
			t.Errorf("%s: %q at %s,%s lies outside of %v × %v", name, m[5], m[1], m[2], width, height)
		}
	}
	paths := strings.Join(regexp.MustCompile(` d="[^"]*"`).FindAllString(drawn, -1), "")
	for _, m := range regexp.MustCompile(`[ML ]([\d.-]+),([\d.-]+)`).FindAllStringSubmatch(paths, -1) {
		if x, y := number(m[1]), number(m[2]); x < 0 || x > width || y < 0 || y > height {
			t.Errorf("%s: a line goes to %v,%v, outside of %v × %v", name, x, y, width, height)
		}
	}
}

func TestPNGs(t *testing.T) {
	t.Parallel()
	charts := Charts(synthetic()[1:3])
	for i := range charts {
		if charts[i].ID != "latency-p99" && charts[i].ID != "throughput" { // lines with references, and bars
			continue
		}
		var b bytes.Buffer
		if err := charts[i].PNG(&b); err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(&b)
		if err != nil {
			t.Fatal(err)
		}
		colours := map[string]bool{}
		for y := 0; y < img.Bounds().Dy(); y += 7 {
			for x := 0; x < img.Bounds().Dx(); x += 3 {
				r, g, b, _ := img.At(x, y).RGBA()
				colours[fmt.Sprint(r>>12, g>>12, b>>12)] = true
			}
		}
		if img.Bounds().Dx() != 1440 || len(colours) < 5 {
			t.Errorf("%s is %d pixels wide and has %d colours", charts[i].ID, img.Bounds().Dx(), len(colours))
		}
	}
}

func contrast(a, b string) float64 {
	luminance := func(hex string) float64 {
		var l float64
		for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
			v, _ := strconv.ParseUint(hex[1+2*i:3+2*i], 16, 8)
			c := float64(v) / 255
			if c <= 0.04045 {
				c /= 12.92
			} else {
				c = math.Pow((c+0.055)/1.055, 2.4)
			}
			l += weight * c
		}
		return l
	}
	x, y := luminance(a), luminance(b)
	return (math.Max(x, y) + 0.05) / (math.Min(x, y) + 0.05)
}

// WCAG 2.2: 3 to 1 for graphics (1.4.11), 4.5 to 1 for text (1.4.3).
func TestContrastIsEnough(t *testing.T) {
	t.Parallel()
	for _, l := range slices.Concat(measuredLooks, referenceLooks) {
		if light, dark := contrast(l.light, lightShade.ground), contrast(l.dark, darkShade.ground); light < 3 || dark < 3 {
			t.Errorf("%s has %.1f to 1 on white, %s %.1f to 1 on dark", l.light, light, l.dark, dark)
		}
	}
	for _, s := range []shade{lightShade, darkShade} {
		for _, text := range []string{s.text, s.muted} {
			if c := contrast(text, s.ground); c < 4.5 {
				t.Errorf("text %s on %s has %.1f to 1", text, s.ground, c)
			}
		}
	}
}

func TestNoTwoLinesLookAlikeWithoutColour(t *testing.T) {
	t.Parallel()
	for _, looks := range [][]look{measuredLooks, referenceLooks} {
		seen := map[string]bool{}
		for _, l := range looks {
			is := fmt.Sprint(l.dash)
			if seen[is] {
				t.Errorf("two lines have the dashes %s", is)
			}
			seen[is] = true
		}
	}
}

func TestEveryLineOfAPictureIsToldApart(t *testing.T) {
	t.Parallel()
	charts := Charts(synthetic())
	for i := range charts {
		names, looks := map[string]bool{}, map[string]bool{}
		for _, s := range charts[i].Series {
			worn := fmt.Sprintf("%+v", lookOf(s.ink, s.Reference))
			if names[s.Name] || looks[worn] {
				t.Errorf("%s has two lines that are called %s or look like it", charts[i].ID, s.Name)
			}
			names[s.Name], looks[worn] = true, true
		}
	}
}

func TestTheTableBesideAPictureHasItsNumbers(t *testing.T) {
	t.Parallel()
	c := Chart{X: Axis{Label: "load"}, Y: Axis{Label: "ms"}, Series: []Series{
		{Name: "a", Points: []Point{{X: 1, Y: 2}, {X: 3, Y: 4, Low: 3.5, High: 5}}}, {Name: "b", Points: []Point{{X: 3, Y: 1234}}},
	}}
	got := c.Numbers()
	if fmt.Sprint(got.Head) != "[load a b]" || fmt.Sprintf("%q", got.Rows) != `[["1" "2" ""] ["3" "4 (3.5 to 5)" "1,234"]]` {
		t.Errorf("%q %q", got.Head, got.Rows)
	}
}

// Where some interactions have run into their time-out, the others are the fast ones.
func TestARampsLineEndsBeforeItsFirstTimeOut(t *testing.T) {
	t.Parallel()
	at := func(load float64, latency time.Duration) result.Sample {
		return result.Sample{Load: load, Latency: latency, Timeout: latency == 0}
	}
	run := newRun("ramp", nil, result.Subject{Name: "a", Kind: "handler", Rounds: []result.Round{{
		TimedOut: 3, Samples: []result.Sample{at(0, time.Millisecond), at(100, 2*time.Millisecond), at(200, 3*time.Millisecond), at(200, 0), at(300, 0), at(300, 0)},
	}}})
	g := gather([]Input{{"x", run}})
	for _, c := range g.latencyByLoad() {
		var ours []Point
		for _, s := range c.Series {
			if s.Name == "a" {
				ours = s.Points
			}
		}
		if len(ours) != 2 || ours[1].X != 100 || ours[1].Y != 2 || !strings.Contains(c.Note, "line ends before the load") {
			t.Errorf("%s: %v, %q", c.ID, ours, c.Note)
		}
	}
	for i, want := range []string{"1  1", "1  2", "2 1 3", "2 2 "} {
		r := rampRows(g.subjects[0])[i]
		if got := r["commands"] + " " + r["timed out"] + " " + r["p99 ms"]; got != want {
			t.Errorf("%s: %q, want %q", r["case"], got, want)
		}
	}
}

// Processes are sampled one after the other, within a millisecond.
func TestSamplesOfAllProcessesStandInOneRow(t *testing.T) {
	t.Parallel()
	var used []result.Usage
	for i := range 9 {
		at := time.Duration(i)*250*time.Millisecond + time.Duration(i%3)*time.Millisecond
		used = append(used, result.Usage{At: at, Process: "a", CPU: at / 2, RSS: 1 << 20}, result.Usage{At: at + 400*time.Microsecond, Process: "b", CPU: at / 3, RSS: 2 << 20})
	}
	run := newRun("drain", nil, result.Subject{Name: "a", Kind: "handler", Rounds: []result.Round{{Rate: 1, Usage: used}}})
	for _, c := range gather([]Input{{"x", run}}).usageOverTime() {
		rows := c.Numbers().Rows
		if len(rows) < 8 || len(rows) > 9 {
			t.Errorf("%s has %d rows", c.ID, len(rows))
		}
		for _, row := range rows {
			if len(row) != 3 || row[1] == "" || row[2] == "" {
				t.Errorf("%s: %q", c.ID, row)
			}
		}
	}
}

func TestTicks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values []float64
		log    bool
		want   string
	}{
		{[]float64{0, 580}, false, "[0 100 200 300 400 500 600]"},
		{[]float64{3, 9.7}, false, "[0 2 4 6 8 10]"},
		{[]float64{0.2}, false, "[0 0.05 0.1 0.15000000000000002 0.2]"},
		{[]float64{4, 3100}, true, "[3 10 30 100 300 1000 3000 10000]"},
		{[]float64{0, 5, 80}, true, "[5 10 20 50 100]"},
		{[]float64{7}, true, "[5 10]"},
		{nil, false, "[0 2 4 6 8 10]"},
	} {
		s := newScale(c.values, Axis{Log: c.log}, 6, 0, 100)
		if got := fmt.Sprint(s.ticks); got != c.want {
			t.Errorf("of %v (logarithmic: %v) they are %s, not %s", c.values, c.log, got, c.want)
		}
		for _, v := range c.values {
			if at := s.at(v); at < 0 || at > 100 {
				t.Errorf("%v of %v lies at %v", v, c.values, at)
			}
		}
	}
}

func TestThePublishedResultsAreTheSourcesOwn(t *testing.T) {
	t.Parallel()
	all := PublishedResults()
	if len(all) != 4 {
		t.Fatalf("there are %d", len(all))
	}
	for _, c := range []struct {
		name                     string
		of                       int
		mean, p99, highest, most float64
	}{{"Clojure, 2019", 0, 264.5, 317, 580, 148}, {"Rust rdkafka sync, 2019", 3, 281.8, 381, 420, 5.4}} {
		p := all[c.of]
		last := p.Steps[len(p.Steps)-1]
		at := p.Steps[10] // +100/s
		if p.Name != c.name || at.Load != 100 || at.Mean != c.mean || at.P99 != c.p99 || last.Load != c.highest || math.Abs(last.Memory-c.most) > 1 {
			t.Errorf("%s: %+v to %+v", p.Name, at, last)
		}
	}
}

func TestSubjectsOfOneNameAreToldApart(t *testing.T) {
	t.Parallel()
	a, b := drainRun(newRand()), drainRun(newRand())
	g := gather([]Input{{"before", a}, {"after", b}})
	if got := g.subjects[0].name; got != "openbank, exactly-once (before)" {
		t.Errorf("the first is called %s", got)
	}
	bars := Charts([]Input{{"before", a}, {"after", b}})[0].Bars
	if len(bars) != 8 || bars[0].ink == bars[4].ink {
		t.Errorf("%+v", bars)
	}
}

func TestARunThatFailedSaysSo(t *testing.T) {
	t.Parallel()
	failed, stopped := drainRun(newRand()), drainRun(newRand())
	failed.Failure, failed.Faults = "openbank was wrong 2 times", []string{"another balance"}
	stopped.Interrupted = true
	html := made(t, []Input{{"a", failed}, {"b", stopped}})
	for _, says := range []string{"drain, a failed: openbank was wrong 2 times another balance", "drain, b was interrupted"} {
		if !strings.Contains(html, says) {
			t.Errorf("it does not say %q", says)
		}
	}
}

// What a run lacks is left out, and never drawn as nothing or as a wrong number.
func TestRunsThatHoldLittle(t *testing.T) {
	t.Parallel()
	few := result.NewLatency()
	if err := few.RecordValue(int64(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for name, run := range map[string]*result.Run{
		"nothing":              {Scenario: "drain"},
		"a subject of nothing": {Scenario: "latency", Subjects: []result.Subject{{Name: "a"}}},
		"an empty histogram":   {Scenario: "latency", Subjects: []result.Subject{{Name: "a", Rounds: []result.Round{{Load: 5, Latency: result.NewLatency()}}}}},
		"few answers":          {Scenario: "latency", Subjects: []result.Subject{{Name: "a", Rounds: []result.Round{{Load: 1, Latency: few}}}}},
		"only time-outs":       {Scenario: "ramp", Subjects: []result.Subject{{Name: "a", Rounds: []result.Round{{TimedOut: 1, Samples: []result.Sample{{Timeout: true, Latency: time.Second}}}}}}},
		"an unknown scenario":  {Scenario: "another", Subjects: []result.Subject{{Name: "a", Rounds: []result.Round{{Rate: 7}}}}},
		"no rate":              {Scenario: "hot", Subjects: []result.Subject{{Name: "a", Rounds: []result.Round{{}, {Hot: 1}}}}},
		"one interaction":      {Scenario: "ramp", Subjects: []result.Subject{{Name: "a", Rounds: []result.Round{{Samples: []result.Sample{{Latency: time.Millisecond}}}}}}},
		"markup in names":      {Scenario: "drain", Subjects: []result.Subject{{Name: `<script>"&`, Kind: "handler", Rounds: []result.Round{{Rate: 3}}}}},
	} {
		html := made(t, []Input{{"x", run}})
		if strings.Contains(html, "NaN") || strings.Contains(html, "<script") || !strings.Contains(html, "</html>") {
			t.Errorf("%s:\n%s", name, html)
		}
	}
}

func TestAPageThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	_ = r.Close()
	if err := Page(w, "x", "v1", synthetic()[:1]); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%v", err)
	}
}
