package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"openbank/benchmark"
)

type latencyCommand struct {
	common   `embed:""`
	Rates    several[float64] `name:"rate" default:"100,500,1000" placeholder:"N" help:"Commands a second; several with commas between, one after the other."`
	WarmUp   duration         `default:"5s" help:"How long is sent before it counts."`
	Duration duration         `default:"30s" help:"How long is measured at each rate."`
}

// Run measures and prints.
func (c *latencyCommand) Run(s *session) error {
	if err := positive("--rate", "100,500", c.Rates); err != nil {
		return err
	}
	return c.measure(s, "latency", map[string]string{"rate": list(c.Rates), "warm-up": c.WarmUp.String(), "duration": c.Duration.String()},
		benchmark.Latency{Rates: c.Rates, WarmUp: time.Duration(c.WarmUp), Duration: time.Duration(c.Duration)})
}

type soakCommand struct {
	common   `embed:""`
	Rate     float64  `default:"500" help:"Commands a second."`
	WarmUp   duration `default:"30s" help:"How long is sent before it counts."`
	Duration duration `default:"1h" help:"How long is measured."`
}

// Run measures and prints.
func (c *soakCommand) Run(s *session) error {
	if err := positive("--rate", "500", []float64{c.Rate}); err != nil {
		return err
	}
	// Or the samples of hours would be most of the file.
	c.SampleEvery = max(c.SampleEvery, c.Duration/soakSamples)
	return c.measure(s, "soak", map[string]string{"rate": fmt.Sprint(c.Rate), "warm-up": c.WarmUp.String(), "duration": c.Duration.String()},
		benchmark.Latency{Rates: []float64{c.Rate}, WarmUp: time.Duration(c.WarmUp), Duration: time.Duration(c.Duration)})
}

// soakSamples is the most of each process in a soak.
const soakSamples = 2000

type rampCommand struct {
	common       `embed:""`
	Interval     duration `default:"1s" help:"Time between two interactions."`
	CheckEvery   string   `default:"20ms" help:"How often is looked whether the event is there; 0 takes the moment that it is read."`
	Every        int      `default:"60" help:"After how many interactions the load goes up."`
	Step         float64  `default:"10" help:"By how many commands a second."`
	Timeout      duration `default:"5s" help:"How long an interaction may take."`
	Timeouts     int      `default:"5" help:"After how many that took longer it ends."`
	Interactions int      `default:"6000" help:"After how many at the latest."`
	Repeats      int      `default:"10" help:"How often all of it is done; each time for each handler."`
}

// Run measures and prints.
func (c *rampCommand) Run(s *session) error {
	check, err := time.ParseDuration(c.CheckEvery)
	if err != nil || check < 0 {
		return fmt.Errorf("--check-every: %q is no time such as 20ms, or 0", c.CheckEvery)
	}
	if c.Every < 1 || c.Timeouts < 1 || c.Interactions < 1 || c.Repeats < 1 || c.Step < 0 {
		return errors.New("--every, --timeouts, --interactions and --repeats must be at least 1, --step at least 0")
	}
	c.Rounds = c.Repeats
	return c.measure(s, "ramp", map[string]string{
		"interval": c.Interval.String(), "check-every": check.String(), "every": fmt.Sprint(c.Every), "step": fmt.Sprint(c.Step), "timeout": c.Timeout.String(),
		"timeouts": fmt.Sprint(c.Timeouts), "interactions": fmt.Sprint(c.Interactions), "repeats": fmt.Sprint(c.Repeats),
	}, benchmark.Ramp{
		Interval: time.Duration(c.Interval), CheckEvery: check, Every: c.Every, Step: c.Step, Timeout: time.Duration(c.Timeout),
		Timeouts: c.Timeouts, Interactions: c.Interactions,
	})
}

// backlog is the flags of what drains.
type backlog struct {
	Commands int    `default:"500000" help:"How many commands the backlog has."`
	WarmUp   int    `name:"warm-up-commands" default:"20000" help:"How many are answered before it counts."`
	Backlog  string `enum:"held,cold" default:"held" help:"held: the handler is at work already, and a transaction holds the backlog back until all of it is there; for handlers that read committed records. cold: the handler is started when it is there, and the time counts from its start."`
}

// check gives all that is wrong; theirs says that the handler is one that runs already.
func (b backlog) check(theirs bool) error {
	if b.Commands < 1 || b.WarmUp < 0 {
		return errors.New("--commands must be at least 1, --warm-up-commands at least 0")
	}
	if b.Backlog == "cold" && theirs {
		return errors.New("--backlog cold starts the handler when the backlog is there, and the one of this stack runs already: name one to start by --handler, or use --backlog held")
	}
	return nil
}

func (b backlog) settings(more map[string]string) map[string]string {
	more["commands"], more["warm-up-commands"], more["backlog"] = fmt.Sprint(b.Commands), fmt.Sprint(b.WarmUp), b.Backlog
	return more
}

func (b backlog) drain() benchmark.Drain {
	return benchmark.Drain{Commands: b.Commands, WarmUp: b.WarmUp, Cold: b.Backlog == "cold", Handlers: []int{1}, Hot: []float64{0}}
}

type drainCommand struct {
	common   `embed:""`
	backlog  `embed:""`
	Handlers several[int] `default:"1" placeholder:"N" help:"How many handlers share the work; several numbers, with commas between, take turns."`
}

// Run measures and prints.
func (c *drainCommand) Run(s *session) error {
	if err := c.backlog.check(c.theirs(s)); err != nil {
		return err
	}
	if err := positive("--handlers", "1,2", c.Handlers); err != nil {
		return err
	}
	d := c.drain()
	d.Handlers = c.Handlers
	return c.measure(s, "drain", c.settings(map[string]string{"handlers": list(c.Handlers)}), d)
}

type hotCommand struct {
	common  `embed:""`
	backlog `embed:""`
	Shares  several[float64] `name:"share" default:"0,1" placeholder:"SHARE" help:"Shares of transfers that one and the same account takes part in, 0 to 1; several take turns."`
}

// Run measures and prints.
func (c *hotCommand) Run(s *session) error {
	if err := c.backlog.check(c.theirs(s)); err != nil {
		return err
	}
	for _, share := range c.Shares {
		if share < 0 || share > 1 {
			return fmt.Errorf("--share: %v is not from 0 to 1", share)
		}
	}
	d := c.drain()
	d.Hot = c.Shares
	return c.measure(s, "hot", c.settings(map[string]string{"share": list(c.Shares)}), d)
}

type growCommand struct {
	common  `embed:""`
	backlog `embed:""`
	Handled several[int64] `default:"0,1000000,10000000" placeholder:"N" help:"How many commands were handled before, rising. The rows are made by SQL, see docs/latency-benchmark.md."`
}

// Run measures and prints.
func (c *growCommand) Run(s *session) error {
	if c.given(s) {
		return errors.New("grow fills the bank's tables, and so works only in surroundings of its own: use --surroundings embedded or real")
	}
	if slices.ContainsFunc(c.Beside, func(beside string) bool { return strings.HasPrefix(beside, "echo-") }) {
		return errors.New("--beside: an echo handles no commands that grow could count: leave it to another scenario")
	}
	if err := c.backlog.check(false); err != nil {
		return err
	}
	for i, n := range c.Handled {
		if n < 0 || i > 0 && n <= c.Handled[i-1] {
			return errors.New("--handled must rise, from 0 or more")
		}
	}
	return c.measure(s, "grow", c.settings(map[string]string{"handled": list(c.Handled)}), benchmark.Grow{Drain: c.drain(), Handled: c.Handled})
}

type floorCommand struct {
	common   `embed:""`
	backlog  `embed:""`
	Rates    several[float64] `name:"rate" default:"100,500,1000" placeholder:"N" help:"Commands a second for the echo; several with commas between."`
	WarmUp   duration         `default:"5s" help:"How long is sent before it counts."`
	Duration duration         `default:"30s" help:"How long is measured at each rate."`
}

// Run measures and prints.
func (c *floorCommand) Run(s *session) error {
	if err := errors.Join(c.backlog.check(false), positive("--rate", "100,500", c.Rates)); err != nil {
		return err
	}
	if len(c.Handler) > 0 {
		return errors.New("floor measures no handler: have echoes and the database's yardsticks take turns with one by --beside in another scenario")
	}
	if len(c.Beside) == 0 {
		c.Beside = []string{"echo-exactly-once", "echo-at-least-once", benchmark.TPCB, benchmark.Writes, benchmark.Fsync}
	}
	c.noHandler = true
	return c.measure(s, "floor", c.settings(map[string]string{"rate": list(c.Rates), "warm-up": c.WarmUp.String(), "duration": c.Duration.String()}),
		benchmark.Floor{Latency: benchmark.Latency{Rates: c.Rates, WarmUp: time.Duration(c.WarmUp), Duration: time.Duration(c.Duration)}, Drain: c.drain()})
}

// String is how people write it.
func (d duration) String() string { return time.Duration(d).String() }

// several are numbers with commas between. Of kong's own lists an element that begins with a dash is taken for a flag.
type several[N int | int64 | float64] []N

// UnmarshalText adds the numbers of one flag.
func (s *several[N]) UnmarshalText(text []byte) error {
	for field := range strings.SplitSeq(string(text), ",") {
		var n N
		var err error
		what := "whole number"
		switch n := any(&n).(type) {
		case *int:
			*n, err = strconv.Atoi(field)
		case *int64:
			*n, err = strconv.ParseInt(field, 10, 64)
		case *float64:
			what = "number"
			if *n, err = strconv.ParseFloat(field, 64); math.IsNaN(*n) || math.IsInf(*n, 0) {
				err = strconv.ErrRange
			}
		}
		if err != nil {
			return fmt.Errorf("%q is no %s: write one, or several with commas between", field, what)
		}
		*s = append(*s, n)
	}
	return nil
}

// mostOf is beyond what any machine does.
const mostOf = 1_000_000_000

func positive[N int | float64](flag, example string, values []N) error {
	for _, v := range values {
		if v <= 0 || math.IsNaN(float64(v)) {
			return fmt.Errorf("%s: %v is not above 0: write what is, such as %s", flag, v, example)
		}
		if v > mostOf {
			return fmt.Errorf("%s: %v is above %d, the most: write less, such as %s", flag, v, mostOf, example)
		}
	}
	return nil
}

func list[T any](values []T) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(values), " ", ","), "[]")
}
