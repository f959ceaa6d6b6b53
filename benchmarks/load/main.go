// Load makes native load for the benchmarks and prints one JSON line.
//
// It speaks the registry protocol alone, so the same program drives OpenECR and its peer.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// What one run measured.
type result struct {
	Requests  int     `json:"requests"`
	Errors    int64   `json:"errors"`
	PerSecond float64 `json:"per_second"`
	Bytes     int64   `json:"bytes"`
	Seconds   float64 `json:"seconds"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
}

// A worker does one unit of load at a time, the index-th of the run, and returns how long it took.
type worker func(index int64) time.Duration

type run struct {
	clients int
	count   int64
	seconds float64
	next    atomic.Int64
	stopped atomic.Bool
	started time.Time
}

func (r *run) goesOn(index int64) bool {
	if r.stopped.Load() {
		return false
	}
	if r.count > 0 {
		return index < r.count
	}
	return time.Since(r.started).Seconds() < r.seconds
}

// measure runs all workers side by side and returns how long each unit took.
func (r *run) measure(hire func() worker) []time.Duration {
	var group sync.WaitGroup
	taken := make([][]time.Duration, r.clients)
	var workers []worker
	for range r.clients {
		workers = append(workers, hire())
	}
	r.started = time.Now()
	for number := range workers {
		group.Add(1)
		go func() {
			defer group.Done()
			for {
				index := r.next.Add(1) - 1
				if !r.goesOn(index) {
					return
				}
				taken[number] = append(taken[number], workers[number](index))
			}
		}()
	}
	group.Wait()
	var all []time.Duration
	for _, some := range taken {
		all = append(all, some...)
	}
	return all
}

func percentile(durations []time.Duration, share float64) float64 {
	if len(durations) == 0 {
		return 0
	}
	sort.Slice(durations, func(a, b int) bool { return durations[a] < durations[b] })
	index := min(int(float64(len(durations))*share), len(durations)-1)
	return float64(durations[index].Microseconds()) / 1000
}

func main() {
	target := target{}
	flag.StringVar(&target.base, "base", "", "http://host:port or https://host:port")
	flag.StringVar(&target.authorization, "auth", "", "the Authorization header")
	flag.StringVar(&target.accept, "accept", "", "the Accept header")
	flag.StringVar(&target.byteRange, "range", "", "the Range header")
	mode := flag.String("mode", "get", "get, head, delete, probe, signed, put, patch, push or images")
	paths := flag.String("paths", "", "comma-separated paths (get, head, delete), files (signed) or repositories (the others)")
	clients := flag.Int("clients", 1, "concurrent clients")
	seconds := flag.Float64("seconds", 5, "how long")
	count := flag.Int64("count", 0, "stop after so many units (0: by time)")
	size := flag.Int64("size", 1<<20, "bytes of a blob or layer")
	flag.Parse()

	load := newLoad(target, strings.Split(*paths, ","), *size, *clients)
	run := &run{clients: *clients, count: *count, seconds: *seconds}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	go func() {
		<-signals
		run.stopped.Store(true)
	}()
	load.prepare(*mode, *count)
	taken := run.measure(func() worker { return load.worker(*mode) })
	elapsed := time.Since(run.started).Seconds()
	_ = json.NewEncoder(os.Stdout).Encode(result{
		Requests: len(taken), Errors: load.errors.Load(), Seconds: elapsed,
		PerSecond: float64(len(taken)) / elapsed, Bytes: load.bytes.Load(),
		P50: percentile(taken, 0.5), P99: percentile(taken, 0.99),
	})
	if load.message != "" {
		fmt.Fprintln(os.Stderr, load.message)
	}
}
