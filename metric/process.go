package metric

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"
)

// Process are the families that tell of the process; those of /proc are missing where there is none.
var Process = []Family{
	{"process_start_time_seconds", gauge, nil, "When the process started, in seconds since 1970.", nil},
	{"process_cpu_seconds_total", counter, nil, "CPU time of all threads, the Kafka client's included.", nil},
	{"process_resident_memory_bytes", gauge, nil, "Memory of the process: Go's heap, the Kafka client's buffers, code.", nil},
	{"process_virtual_memory_bytes", gauge, nil, "Address space of the process.", nil},
	{"process_threads", gauge, nil, "Threads of the operating system.", nil},
	{"process_open_fds", gauge, nil, "Open files and sockets.", nil},
	{"go_info", gauge, []string{"version"}, "Always 1; the label is the version of Go.", nil},
	{"go_goroutines", gauge, nil, "Goroutines.", nil},
	{"go_gomaxprocs_threads", gauge, nil, "Threads that may run Go code at once.", nil},
	{"go_memory_heap_bytes", gauge, nil, "Memory in objects on Go's heap, those included that the collector has not freed yet.", nil},
	{"go_memory_total_bytes", gauge, nil, "Memory that the Go runtime has from the operating system.", nil},
	{"go_memory_limit_bytes", gauge, nil, "What the Go runtime keeps its memory to: GOMEMLIMIT.", nil},
	{"go_gc_cycles_total", counter, nil, "Garbage collections.", nil},
	{"go_gc_cpu_seconds_total", counter, nil, "CPU time of garbage collections.", nil},
	{"go_allocated_bytes_total", counter, nil, "Bytes that were allocated on Go's heap.", nil},
}

var began = time.Now()

const (
	ticks       = 100 // a second, of the times in /proc; Linux has them so for user programs on every architecture
	statThreads = 17  // fields of /proc/self/stat after the command's name
	statUser    = 11
	statSystem  = 12
	statVirtual = 20
	statPages   = 21
)

// writeProcess writes the metrics of Process.
func writeProcess(w io.Writer) {
	values := map[string]float64{}
	for name, path := range map[string]string{
		"go_goroutines":            "/sched/goroutines:goroutines",
		"go_gomaxprocs_threads":    "/sched/gomaxprocs:threads",
		"go_memory_heap_bytes":     "/memory/classes/heap/objects:bytes",
		"go_memory_total_bytes":    "/memory/classes/total:bytes",
		"go_memory_limit_bytes":    "/gc/gomemlimit:bytes",
		"go_gc_cycles_total":       "/gc/cycles/total:gc-cycles",
		"go_gc_cpu_seconds_total":  "/cpu/classes/gc/total:cpu-seconds",
		"go_allocated_bytes_total": "/gc/heap/allocs:bytes",
	} {
		sample := []metrics.Sample{{Name: path}}
		metrics.Read(sample)
		switch sample[0].Value.Kind() {
		case metrics.KindUint64:
			values[name] = float64(sample[0].Value.Uint64())
		case metrics.KindFloat64:
			values[name] = sample[0].Value.Float64()
		case metrics.KindBad, metrics.KindFloat64Histogram: // another version of Go
		}
	}
	values["go_info"] = 1
	values["process_start_time_seconds"] = float64(began.UnixMilli()) / 1000
	if stat, err := os.ReadFile("/proc/self/stat"); err == nil {
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		field := func(i int) float64 {
			if i >= len(fields) {
				return math.NaN()
			}
			v, _ := strconv.ParseFloat(fields[i], 64) // the kernel writes numbers
			return v
		}
		values["process_cpu_seconds_total"] = (field(statUser) + field(statSystem)) / ticks
		values["process_threads"] = field(statThreads)
		values["process_virtual_memory_bytes"] = field(statVirtual)
		values["process_resident_memory_bytes"] = field(statPages) * float64(os.Getpagesize())
	}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		values["process_open_fds"] = float64(len(open))
	}
	for _, f := range Process {
		v, there := values[f.Name]
		if !there {
			continue
		}
		labels := ""
		if len(f.Labels) > 0 {
			labels = fmt.Sprintf("{%s=%q}", f.Labels[0], runtime.Version())
		}
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n%s%s %s\n", f.Name, f.Help, f.Name, f.Kind, f.Name, labels, strconv.FormatFloat(v, 'f', -1, 64))
	}
}
