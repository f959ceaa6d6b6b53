package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Where to send requests, and what stands in every one.
type target struct {
	base, authorization, accept, byteRange string
}

func tlsSettings() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}} // our own server's certificate
}

// A connection that asks one thing after the other. It spends so little that the server is what is measured.
type connection struct {
	target target
	wire   net.Conn
	reader *bufio.Reader
	buffer []byte
}

func (t target) connect() *connection {
	return &connection{target: t, buffer: make([]byte, 256<<10)}
}

func (t target) request(method, path string) []byte {
	address, _ := url.Parse(t.base)
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: load\r\n", method, path, address.Host)
	for name, value := range map[string]string{
		"Authorization": t.authorization, "Accept": t.accept, "Range": t.byteRange,
	} {
		if value != "" {
			fmt.Fprintf(&text, "%s: %s\r\n", name, value)
		}
	}
	return []byte(text.String() + "\r\n")
}

func (c *connection) dial() error {
	address, err := url.Parse(c.target.base)
	if err != nil {
		return err
	}
	c.wire, err = net.Dial("tcp", address.Host)
	if err == nil && address.Scheme == "https" {
		c.wire = tls.Client(c.wire, tlsSettings())
	}
	c.reader = bufio.NewReaderSize(c.wire, 64<<10)
	return err
}

// An answer: its status, the length of its body, and where it leads, if it leads anywhere.
type answer struct {
	status   int
	bytes    int64
	location string
}

// ask sends a request and reads the whole answer.
func (c *connection) ask(method string, request []byte) (answer, error) {
	if c.wire == nil {
		if err := c.dial(); err != nil {
			return answer{}, err
		}
	}
	found, err := c.exchange(method, request)
	if err != nil {
		c.wire.Close()
		c.wire = nil
	}
	return found, err
}

func (c *connection) exchange(method string, request []byte) (answer, error) {
	if _, err := c.wire.Write(request); err != nil {
		return answer{}, err
	}
	response, err := http.ReadResponse(c.reader, &http.Request{Method: method})
	if err != nil {
		return answer{}, err
	}
	found := answer{status: response.StatusCode, location: response.Header.Get("Location")}
	for {
		count, err := response.Body.Read(c.buffer)
		found.bytes += int64(count)
		if err == io.EOF {
			if response.Close { // the server ends the connection, and says so
				c.wire.Close()
				c.wire = nil
			}
			return found, nil
		}
		if err != nil {
			return found, err
		}
	}
}

// A follower asks a server, and then the store that the server sends it to, on a connection to each that it keeps.
type follower struct {
	server *connection
	store  *connection
}

// ask sends a request and returns the last answer, with the bytes of all.
func (f *follower) ask(method string, request []byte) (answer, error) {
	found, err := f.server.ask(method, request)
	if err != nil || found.status != http.StatusTemporaryRedirect {
		return found, err
	}
	address, err := url.Parse(found.location)
	if err != nil {
		return found, err
	}
	base := address.Scheme + "://" + address.Host
	if f.store == nil || f.store.target.base != base {
		f.store = target{base: base, byteRange: f.server.target.byteRange}.connect() // the URL is all that it asks for
	}
	last, err := f.store.ask(method, f.store.target.request(method, address.RequestURI()))
	last.bytes += found.bytes
	return last, err
}
