// Load makes native load for the benchmarks and prints one JSON line.
//
// It speaks the registry protocol alone, so the same program drives OpenECR and its peer.
package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type result struct {
	Requests   int64   `json:"requests"`
	Errors     int64   `json:"errors"`
	Seconds    float64 `json:"seconds"`
	PerSecond  float64 `json:"per_second"`
	BytesTotal int64   `json:"bytes"`
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
}

type load struct {
	base    string
	auth    string
	accept  string
	client  *http.Client
	bytes   atomic.Int64
	errors  atomic.Int64
	first   sync.Once
	message string
}

func (l *load) fail(format string, values ...any) {
	l.errors.Add(1)
	l.first.Do(func() { l.message = fmt.Sprintf(format, values...) })
}

func (l *load) request(method, target string, body io.Reader, size int64, kind string) (*http.Response, error) {
	request, err := http.NewRequest(method, target, body)
	if err != nil {
		return nil, err
	}
	request.ContentLength = size
	if l.auth != "" {
		request.Header.Set("Authorization", l.auth)
	}
	if l.accept != "" {
		request.Header.Set("Accept", l.accept)
	}
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	return l.client.Do(request)
}

// call sends one request, reads the whole answer and checks its status.
func (l *load) call(method, target string, body []byte, kind string, status int) (*http.Response, bool) {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	response, err := l.request(method, target, reader, int64(len(body)), kind)
	if err != nil {
		l.fail("%s %s: %v", method, target, err)
		return nil, false
	}
	defer response.Body.Close()
	count, err := io.Copy(io.Discard, response.Body)
	l.bytes.Add(count)
	if err != nil || response.StatusCode != status {
		l.fail("%s %s: status %d, %v", method, target, response.StatusCode, err)
		return response, false
	}
	return response, true
}

func (l *load) get(path string) {
	l.call("GET", l.base+path, nil, "", 200)
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// put uploads one blob: POST opens the session, one PUT carries the bytes.
func (l *load) put(repository string, content []byte, name string) bool {
	response, ok := l.call("POST", l.base+"/v2/"+repository+"/blobs/uploads/", []byte{}, "", 202)
	if !ok {
		return false
	}
	base, _ := url.Parse(l.base)
	location, err := base.Parse(response.Header.Get("Location"))
	if err != nil {
		l.fail("location: %v", err)
		return false
	}
	query := location.Query()
	query.Set("digest", name)
	location.RawQuery = query.Encode()
	_, ok = l.call("PUT", location.String(), content, "application/octet-stream", 201)
	if ok {
		l.bytes.Add(int64(len(content)))
	}
	return ok
}

// push uploads a small image as a client would: layer, config, manifest by tag.
func (l *load) push(repository string, layerBytes int) {
	layer := make([]byte, layerBytes)
	_, _ = rand.Read(layer)
	config := []byte(fmt.Sprintf(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["%s"]}}`, digest(layer)))
	if !l.put(repository, layer, digest(layer)) || !l.put(repository, config, digest(config)) {
		return
	}
	kind := "application/vnd.oci.image.manifest.v1+json"
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%d},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"%s","size":%d}]}`,
		kind, digest(config), len(config), digest(layer), len(layer))
	l.call("PUT", l.base+"/v2/"+repository+"/manifests/"+digest(layer)[7:19], []byte(manifest), kind, 201)
}

func main() {
	base := flag.String("base", "", "http://host:port")
	auth := flag.String("auth", "", "the Authorization header")
	accept := flag.String("accept", "", "the Accept header")
	mode := flag.String("mode", "get", "get, put or push")
	paths := flag.String("paths", "", "comma-separated paths (get) or repositories (put, push)")
	clients := flag.Int("clients", 1, "concurrent clients")
	seconds := flag.Float64("seconds", 5, "how long")
	count := flag.Int64("count", 0, "stop after so many requests (0: by time)")
	size := flag.Int("size", 1<<20, "bytes of a blob or layer")
	flag.Parse()

	transport := &http.Transport{MaxIdleConnsPerHost: *clients, DisableCompression: true, WriteBufferSize: 256 << 10, ReadBufferSize: 256 << 10}
	l := &load{base: strings.TrimSuffix(*base, "/"), auth: *auth, accept: *accept, client: &http.Client{Transport: transport}}
	targets := strings.Split(*paths, ",")
	var next, done atomic.Int64
	var mutex sync.Mutex
	var latencies []float64
	deadline := time.Now().Add(time.Duration(*seconds * float64(time.Second)))
	start := time.Now()
	var group sync.WaitGroup
	for worker := 0; worker < *clients; worker++ {
		group.Add(1)
		go func() {
			defer group.Done()
			var mine []float64
			var content []byte
			if *mode == "put" {
				content = make([]byte, *size)
				_, _ = rand.Read(content)
			}
			for {
				index := next.Add(1) - 1
				if *count > 0 && index >= *count || *count == 0 && !time.Now().Before(deadline) {
					break
				}
				target := targets[int(index)%len(targets)]
				var name string
				if *mode == "put" { // a new blob each time; hashed by the client before the clock starts
					copy(content, []byte(fmt.Sprintf("%020d", time.Now().UnixNano())))
					name = digest(content)
				}
				began := time.Now()
				switch *mode {
				case "get":
					l.get(target)
				case "put":
					l.put(target, content, name)
				case "push":
					l.push(target, *size)
				}
				mine = append(mine, float64(time.Since(began).Microseconds())/1000)
				done.Add(1)
			}
			mutex.Lock()
			latencies = append(latencies, mine...)
			mutex.Unlock()
		}()
	}
	group.Wait()
	elapsed := time.Since(start).Seconds()
	sort.Float64s(latencies)
	at := func(share float64) float64 {
		if len(latencies) == 0 {
			return 0
		}
		return latencies[min(int(float64(len(latencies))*share), len(latencies)-1)]
	}
	var busy float64
	for _, value := range latencies {
		busy += value / 1000
	}
	if *mode == "put" && busy > 0 { // the client's own hashing is not the server's time
		elapsed = busy / float64(*clients)
	}
	_ = json.NewEncoder(os.Stdout).Encode(result{
		Requests: done.Load(), Errors: l.errors.Load(), Seconds: elapsed, PerSecond: float64(done.Load()) / elapsed,
		BytesTotal: l.bytes.Load(), P50: at(0.5), P99: at(0.99),
	})
	if l.message != "" {
		fmt.Fprintln(os.Stderr, l.message)
	}
}
