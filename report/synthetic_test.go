package report

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"openbank/result"
)

// synthetic are runs of all scenarios, as the benchmark would leave them: shapes and sizes are those of real runs, the figures are made up.
// They are made once, for all tests to read.
var synthetic = sync.OnceValue(func() []Input {
	r := newRand()
	return []Input{
		{"2026-11-25-latency", latencyRun(r)}, {"2026-11-25-ramp", rampRun(r)}, {"2026-11-25-drain", drainRun(r)},
		{"2026-11-25-grow", growRun(r)}, {"2026-11-25-hot", hotRun(r)}, {"2026-11-25-handlers", handlersRun(r)}, {"2026-11-25-soak", soakRun(r)},
	}
})

func newRun(scenario string, configuration map[string]string, subjects ...result.Subject) *result.Run {
	at := time.Date(2026, 11, 25, 18, 0, 0, 0, time.UTC)
	return &result.Run{
		Format: result.Format, Tool: "v0.6.0", Scenario: scenario, Started: at, Ended: at.Add(12*time.Minute + 31*time.Second),
		Command:       []string{"run", scenario, "--handler", "command-handler --delivery exactly-once", "--rounds", "5"},
		Machine:       result.Machine{CPU: "AMD EPYC 7B13", Cores: 2, Memory: 24 << 30, System: "Debian GNU/Linux 12, Linux 6.1.0"},
		Versions:      map[string]string{"kafka": "Apache Kafka 4.3.1, one broker, mutual TLS", "registry": "Apicurio 3.1", "postgres": "15.18"},
		Postgres:      map[string]string{"fsync": "on", "synchronous_commit": "on", "shared_buffers": "256MB", "max_wal_size": "4GB", "full_page_writes": "on"},
		Configuration: configuration, Subjects: subjects,
	}
}

func handler(delivery string) result.Subject {
	return result.Subject{Name: "openbank", Kind: "handler", Delivery: delivery, Version: "v0.6.0", Command: "command-handler --delivery " + delivery,
		Notes: []string{"retry.backoff.ms 5 on the transactional producer <default>"}}
}

func fill(r *rand.Rand, l *result.Latency, n int, median time.Duration) {
	for range n {
		v := float64(median) * math.Exp(0.35*r.NormFloat64())
		if r.IntN(200) == 0 {
			v *= 1 + 4*r.Float64()
		}
		_ = l.RecordValue(int64(v))
	}
}

// use makes samples of a process that uses so many cores, with memory that grows to a limit.
func use(r *rand.Rand, process string, seconds int, cores float64, rss int64) []result.Usage {
	var all []result.Usage
	cpu := time.Duration(0)
	for i := range seconds*2 + 1 {
		now := float64(rss) * (1 - 0.4*math.Exp(-float64(i)/6)) * (1 + 0.02*r.Float64())
		all = append(all, result.Usage{At: time.Duration(i) * time.Second / 2, Process: process, CPU: cpu, RSS: int64(now), PeakRSS: int64(now)})
		cpu += time.Duration(cores * (0.9 + 0.2*r.Float64()) * float64(time.Second/2))
	}
	return all
}

func newRand() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

func latencyRun(r *rand.Rand) *result.Run {
	var subjects []result.Subject
	for _, of := range []struct {
		result.Subject
		median time.Duration
	}{
		{handler("exactly-once"), 7 * time.Millisecond}, {handler("at-least-once"), 4 * time.Millisecond},
		{result.Subject{Name: "floor", Kind: "floor", Delivery: "exactly-once"}, 5 * time.Millisecond},
	} {
		s := of.Subject
		for range 3 {
			for _, load := range []float64{100, 500, 1000, 5000} {
				l := result.NewLatency()
				fill(r, l, int(load)*2, of.median+time.Duration(load)*time.Microsecond)
				s.Rounds = append(s.Rounds, result.Round{Load: load, Duration: 10 * time.Second, Commands: int64(load) * 10, Answered: int64(load) * 10, Rate: load, Latency: l,
					Usage: append(use(r, result.Own, 10, load*30e-6, 20<<20), use(r, "postgres", 10, load*40e-6, 90<<20)...)})
			}
		}
		subjects = append(subjects, s)
	}
	return newRun("latency", map[string]string{"rates": "100,500,1000,5000", "duration": "10s"}, subjects...)
}

func rampRun(r *rand.Rand) *result.Run {
	s := handler("exactly-once")
	for range 4 {
		round := result.Round{Duration: 20 * time.Minute}
		at := time.Duration(0)
		for load := 0.0; load <= 1200; load += 50 {
			for range 60 {
				at += time.Second
				v := (22 + 9*r.Float64()) * (1 + math.Pow(load/1150, 12))
				round.Samples = append(round.Samples, result.Sample{At: at, Load: load, Latency: time.Duration(v * float64(time.Millisecond))})
			}
		}
		for range 5 {
			at += 5 * time.Second
			round.Samples = append(round.Samples, result.Sample{At: at, Load: 1250, Latency: 5 * time.Second, Timeout: true})
			round.TimedOut++
		}
		round.Commands, round.Answered = int64(len(round.Samples)), int64(len(round.Samples))-5
		round.Usage = use(r, result.Own, int(at.Seconds())/2, 0.02, 19<<20)
		s.Rounds = append(s.Rounds, round)
	}
	return newRun("ramp", map[string]string{"step": "50", "per-step": "60"}, s)
}

func drained(r *rand.Rand, rate float64, n int64, cores float64) result.Round {
	rate *= 1 + 0.05*r.NormFloat64()
	seconds := int(float64(n)/rate) + 1
	round := result.Round{Duration: time.Duration(float64(n) / rate * float64(time.Second)), Commands: n, Answered: n, Rate: rate}
	for i := range seconds {
		round.Seconds = append(round.Seconds, result.Second{Second: i, Answered: int64(rate * (0.85 + 0.3*r.Float64()))})
	}
	if cores > 0 {
		round.Usage = append(append(append(use(r, result.Own, seconds, cores, 28<<20), use(r, "kafka", seconds, 0.35, 780<<20)...), use(r, "postgres", seconds, 0.7, 240<<20)...), use(r, "benchmark", seconds, 0.12, 60<<20)...)
	}
	return round
}

func drainRun(r *rand.Rand) *result.Run {
	eo, alo := handler("exactly-once"), handler("at-least-once")
	tpcb := result.Subject{Name: "TPC-B (pgbench)", Kind: "store"}
	floor := result.Subject{Name: "floor", Kind: "floor", Delivery: "exactly-once"}
	for range 5 {
		eo.Rounds = append(eo.Rounds, drained(r, 31500, 500_000, 0.8))
		alo.Rounds = append(alo.Rounds, drained(r, 33200, 500_000, 0.78))
		floor.Rounds = append(floor.Rounds, drained(r, 61000, 500_000, 0.4))
		tpcb.Rounds = append(tpcb.Rounds, drained(r, 6400, 60_000, 0))
		tpcb.Rounds[len(tpcb.Rounds)-1].Seconds = nil
	}
	return newRun("drain", map[string]string{"commands": "500000"}, eo, alo, floor, tpcb)
}

func growRun(r *rand.Rand) *result.Run {
	s := handler("exactly-once")
	for _, handled := range []int64{0, 1_000_000, 10_000_000} {
		for range 3 {
			round := drained(r, 34000/(1+0.025*float64(handled)/1e6), 500_000, 0.8)
			round.Handled = handled
			s.Rounds = append(s.Rounds, round)
		}
	}
	return newRun("grow", map[string]string{"commands": "500000"}, s)
}

func hotRun(r *rand.Rand) *result.Run {
	s := handler("exactly-once")
	for _, hot := range []float64{0, 0.5, 1} {
		for range 3 {
			round := drained(r, 32000*(1-0.12*hot), 500_000, 0.8)
			round.Hot = hot
			s.Rounds = append(s.Rounds, round)
		}
	}
	return newRun("hot", map[string]string{"commands": "500000"}, s)
}

func handlersRun(r *rand.Rand) *result.Run {
	s := handler("exactly-once")
	for _, n := range []int{1, 2, 4} {
		for range 3 {
			round := drained(r, 31000*math.Pow(float64(n), 0.15), 500_000, 0.8)
			round.Handlers = n
			s.Rounds = append(s.Rounds, round)
		}
	}
	return newRun("drain", map[string]string{"handlers": "1,2,4"}, s)
}

func soakRun(r *rand.Rand) *result.Run {
	s := handler("exactly-once")
	round := result.Round{Load: 1000, Duration: 10 * time.Minute, Commands: 600_000, Answered: 600_000, Rate: 1000, Latency: result.NewLatency()}
	fill(r, round.Latency, 10_000, 8*time.Millisecond)
	for i := range 600 {
		p50 := time.Duration((7 + 2*r.Float64()) * 1e6)
		round.Seconds = append(round.Seconds, result.Second{Second: i, Answered: 1000, P50: p50, P99: p50 * 3, Max: p50 * time.Duration(4+r.IntN(9))})
	}
	round.Usage = append(use(r, result.Own, 600, 0.04, 23<<20), use(r, "postgres", 600, 0.09, 260<<20)...)
	s.Rounds = []result.Round{round}
	return newRun("soak", map[string]string{"rate": "1000", "duration": "10m"}, s)
}
