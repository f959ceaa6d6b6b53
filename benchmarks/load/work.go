package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	binaryType   = "application/octet-stream"
	pause        = 5 * time.Millisecond
	prefixLength = 20
)

type load struct {
	target  target
	paths   []string
	size    int64
	content []byte   // shared by all clients; each upload has a prefix of its own
	names   []string // the digests of the uploads to come
	client  *http.Client
	bytes   atomic.Int64
	errors  atomic.Int64
	first   sync.Once
	message string
}

func newLoad(target target, paths []string, size int64, clients int) *load {
	transport := &http.Transport{
		MaxIdleConnsPerHost: clients, DisableCompression: true, TLSClientConfig: tlsSettings(),
		WriteBufferSize: 256 << 10, ReadBufferSize: 64 << 10,
	}
	target.base = strings.TrimSuffix(target.base, "/")
	return &load{target: target, paths: paths, size: size, client: &http.Client{Transport: transport}}
}

func (l *load) fail(format string, values ...any) {
	l.errors.Add(1)
	l.first.Do(func() { l.message = fmt.Sprintf(format, values...) })
}

func (l *load) worker(mode string) worker {
	switch mode {
	case "get", "head", "delete":
		return l.reader(strings.ToUpper(mode))
	case "probe":
		return l.prober()
	case "signed":
		return l.caller()
	case "put":
		return l.timed(l.putNumbered)
	case "patch":
		return l.timed(l.patchAndDrop)
	case "push":
		return l.timed(l.push)
	case "images":
		return l.filler()
	}
	panic("no mode " + mode)
}

func (l *load) timed(unit func(repository string, index int64)) worker {
	return func(index int64) time.Duration {
		began := time.Now()
		unit(l.paths[int(index)%len(l.paths)], index)
		return time.Since(began)
	}
}

func (l *load) reader(method string) worker {
	connection := &follower{server: l.target.connect()}
	requests := make([][]byte, len(l.paths))
	for index, path := range l.paths {
		requests[index] = l.target.request(method, path)
	}
	return func(index int64) time.Duration {
		began := time.Now()
		found, err := connection.ask(method, requests[int(index)%len(requests)])
		l.bytes.Add(found.bytes)
		if err != nil || found.status != 200 && found.status != 206 && found.status != 202 {
			l.fail("%s %s: status %d, %v", method, l.paths[int(index)%len(requests)], found.status, err)
		}
		return time.Since(began)
	}
}

// caller sends requests that were signed beforehand, as they are: the paths are files that hold one each.
func (l *load) caller() worker {
	connection := l.target.connect()
	requests := make([][]byte, len(l.paths))
	for index, path := range l.paths {
		content, err := os.ReadFile(path)
		if err != nil {
			l.fail("%v", err)
		}
		requests[index] = content
	}
	return func(index int64) time.Duration {
		began := time.Now()
		found, err := connection.ask("POST", requests[int(index)%len(requests)])
		l.bytes.Add(found.bytes)
		if err != nil || found.status != 200 {
			l.fail("%s: status %d, %v", l.paths[int(index)%len(requests)], found.status, err)
		}
		return time.Since(began)
	}
}

// prober reads with a pause before each request, as a client does that is not the cause of the load.
func (l *load) prober() worker {
	read := l.reader("GET")
	return func(index int64) time.Duration {
		time.Sleep(pause)
		return read(index)
	}
}

// call sends one request, reads the whole answer and checks its status.
func (l *load) call(method, address string, body io.Reader, size int64, kind string, status int) *http.Response {
	request, err := http.NewRequest(method, address, body)
	if err != nil {
		l.fail("%v", err)
		return nil
	}
	request.ContentLength = size
	request.Header.Set("Content-Type", kind)
	if l.target.authorization != "" {
		request.Header.Set("Authorization", l.target.authorization)
	}
	response, err := l.client.Do(request)
	if err != nil {
		l.fail("%s %s: %v", method, address, err)
		return nil
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != status {
		l.fail("%s %s: status %d, %v %.200s", method, address, response.StatusCode, err, text)
		return nil
	}
	return response
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// open starts an upload session and returns its URL.
func (l *load) open(repository string) *url.URL {
	address := l.target.base + "/v2/" + repository + "/blobs/uploads/"
	response := l.call("POST", address, nil, 0, binaryType, 202)
	if response == nil {
		return nil
	}
	location, err := response.Location()
	if err != nil {
		l.fail("location: %v", err)
		return nil
	}
	return location
}

// put uploads one blob: POST opens the session, one PUT carries the bytes.
func (l *load) put(repository string, content io.Reader, size int64, name string) {
	location := l.open(repository)
	if location == nil {
		return
	}
	query := location.Query()
	query.Set("digest", name)
	location.RawQuery = query.Encode()
	if l.call("PUT", location.String(), content, size, binaryType, 201) != nil {
		l.bytes.Add(size)
	}
}

func prefix(index int64) []byte { return fmt.Appendf(nil, "%0*d", prefixLength, index) }

// prepare makes what uploads will carry, and hashes it, before any clock runs: it is the client's time.
func (l *load) prepare(mode string, count int64) {
	if mode != "put" && mode != "patch" {
		return
	}
	l.content = make([]byte, l.size)
	_, _ = rand.Read(l.content)
	if mode == "put" {
		for index := range count {
			sum := sha256.New()
			_, _ = io.Copy(sum, l.numbered(index))
			l.names = append(l.names, "sha256:"+hex.EncodeToString(sum.Sum(nil)))
		}
	}
}

// numbered returns content that no other upload of this run has.
func (l *load) numbered(index int64) io.Reader {
	return io.MultiReader(bytes.NewReader(prefix(index)), bytes.NewReader(l.content[prefixLength:]))
}

func (l *load) putNumbered(repository string, index int64) {
	l.put(repository, l.numbered(index), l.size, l.names[index])
}

// patchAndDrop uploads all bytes and gives the session up, so that a long run does not fill the disk.
func (l *load) patchAndDrop(repository string, index int64) {
	content := l.numbered(index)
	location := l.open(repository)
	if location == nil {
		return
	}
	response := l.call("PATCH", location.String(), content, l.size, binaryType, 202)
	if response == nil {
		return
	}
	l.bytes.Add(l.size)
	if location, err := response.Location(); err == nil {
		l.call("DELETE", location.String(), nil, 0, binaryType, 204)
	}
}

func manifest(config, layer []byte, note string) []byte {
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"%s",`+
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%d},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"%s","size":%d}],`+
		`"annotations":{"note":"%s"}}`,
		manifestType, digest(config), len(config), digest(layer), len(layer), note)
}

func (l *load) putManifest(repository, tag string, content []byte) {
	address := l.target.base + "/v2/" + repository + "/manifests/" + tag
	l.call("PUT", address, bytes.NewReader(content), int64(len(content)), manifestType, 201)
}

func (l *load) putBlob(repository string, content []byte) {
	l.put(repository, bytes.NewReader(content), int64(len(content)), digest(content))
}

// push uploads a small image as a client would: layer, config, manifest by tag.
func (l *load) push(repository string, _ int64) {
	layer := make([]byte, l.size)
	_, _ = rand.Read(layer)
	config := fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","note":"%s"}`, digest(layer))
	l.putBlob(repository, layer)
	l.putBlob(repository, config)
	l.putManifest(repository, digest(layer)[7:19], manifest(config, layer, ""))
}

var pushBase sync.Once

// filler gives a repository many small images, each under a tag of its own.
func (l *load) filler() worker {
	config, layer := []byte("{}"), []byte("layer")
	repository := l.paths[0]
	pushBase.Do(func() {
		l.putBlob(repository, config)
		l.putBlob(repository, layer)
	})
	return func(index int64) time.Duration {
		began := time.Now()
		tag := fmt.Sprintf("tag-%06d", index)
		l.putManifest(repository, tag, manifest(config, layer, tag))
		return time.Since(began)
	}
}
