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

// ask sends a request and returns the answer's status and the length of its body, which it reads whole.
func (c *connection) ask(method string, request []byte) (int, int64, error) {
	if c.wire == nil {
		if err := c.dial(); err != nil {
			return 0, 0, err
		}
	}
	status, count, err := c.exchange(method, request)
	if err != nil {
		c.wire.Close()
		c.wire = nil
	}
	return status, count, err
}

func (c *connection) exchange(method string, request []byte) (int, int64, error) {
	if _, err := c.wire.Write(request); err != nil {
		return 0, 0, err
	}
	response, err := http.ReadResponse(c.reader, &http.Request{Method: method})
	if err != nil {
		return 0, 0, err
	}
	var total int64
	for {
		count, err := response.Body.Read(c.buffer)
		total += int64(count)
		if err == io.EOF {
			return response.StatusCode, total, nil
		}
		if err != nil {
			return response.StatusCode, total, err
		}
	}
}
