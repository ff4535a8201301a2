package report

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
)

// Published are the results that the handlers of the demo were published with, as the source gives them: the mean, median and 99th
// percentile of up to 600 interactions a load step, ten runs together.
type Published struct {
	Name  string
	Steps []PublishedStep
}

// PublishedStep is one load; latencies in ms, CPU in cores, memory in MiB.
type PublishedStep struct {
	Load           float64
	Samples        int
	Mean, P50, P99 float64
	CPU, Memory    float64
}

// PublishedConditions say where the figures come from and what they were measured on.
const PublishedConditions = "Published with the open-bank demo (github.com/openweb-nl/open-bank-mark) in 2019: 9 CPUs, three brokers with TLS, 10 runs together. " +
	"One interaction a second, by a browser through all of the stack, from the click until the new balance showed; the load beside it counts heartbeats a second, " +
	"each of which made a command. About 300 ms of it are what producers were set to wait for company (linger.ms=100 on each hop). Another machine and a longer way than what was measured here: a direction, not a race."

//go:embed published-latency.csv
var publishedCSV string

var publishedNames = map[string]string{
	"clojure": "Clojure, 2019", "rust-native": "Rust native, 2019", "rust-rdkafka-async": "Rust rdkafka async, 2019", "rust-rdkafka-sync": "Rust rdkafka sync, 2019",
}

// publishedCPUs is how many the source's percentages are of.
const publishedCPUs = 9

// PublishedResults are those of the Clojure handler and the three of Rust.
func PublishedResults() []Published {
	records, err := csv.NewReader(strings.NewReader(publishedCSV)).ReadAll()
	if err != nil {
		panic(fmt.Sprintf("reading the published results, which are part of the program: %v", err))
	}
	var all []Published
	for _, r := range records[1:] {
		name := publishedNames[r[0]]
		if len(all) == 0 || all[len(all)-1].Name != name {
			all = append(all, Published{Name: name})
		}
		of := &all[len(all)-1]
		number := func(column int) float64 {
			v, err := strconv.ParseFloat(r[column], 64)
			if err != nil {
				panic(fmt.Sprintf("reading the published results, which are part of the program: %v", err))
			}
			return v
		}
		of.Steps = append(of.Steps, PublishedStep{
			Load: number(1), Samples: int(number(2)), Mean: number(3), P50: number(4), P99: number(5),
			CPU: number(7) / 100 * publishedCPUs, Memory: number(8),
		})
	}
	return all
}

// references are lines of the published results.
func references(of func(PublishedStep) float64) []Series {
	var lines []Series
	for _, p := range PublishedResults() {
		s := Series{Name: p.Name, Reference: true}
		for _, step := range p.Steps {
			s.Points = append(s.Points, Point{X: step.Load, Y: of(step)})
		}
		lines = append(lines, s)
	}
	return lines
}
