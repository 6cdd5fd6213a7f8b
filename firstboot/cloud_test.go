// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// cloud is a stand-in for the metadata service, Secrets Manager and EC2, as
// far as the real clients here ask them. Faults are handlers that a test puts
// in front of one of the three.
type cloud struct {
	mu       sync.Mutex
	url      string // of all three; each has a name of its own unless it is set
	dial     dialer
	paths    map[string]func(context.Context) error // by service: the way to it is spoilt
	pauses   map[string]time.Duration               // by service or call
	sealing  func()                                 // called when EC2 is told to revoke
	metadata map[string]string
	secrets  map[string][]byte
	consent  map[string]bool
	rules    []Rule
	tags     map[string]string
	calls    []string
	faults   map[string]http.HandlerFunc // by "imds", "secretsmanager", "ec2", or an EC2 action
}

func newCloud(tb testing.TB) *cloud {
	tb.Helper()
	const card = "network/interfaces/macs/02:00:00:00:01:02/"
	c := &cloud{
		metadata: map[string]string{
			"meta-data/mac":                                "02:00:00:00:01:02",
			"meta-data/network/interfaces/macs/":           "02:00:00:00:01:02/",
			"meta-data/public-ipv4":                        "203.0.113.10",
			"meta-data/" + card + "vpc-ipv4-cidr-blocks":   "10.0.0.0/16",
			"meta-data/" + card + "subnet-ipv4-cidr-block": "10.0.0.0/16",
			"meta-data/" + card + "security-group-ids":     "sg-0aaa",
			"meta-data/iam/security-credentials/":          "gateway",
			"meta-data/iam/security-credentials/gateway":   "{\"Code\":\"Success\",\"AccessKeyId\":\"AKIA\",\"SecretAccessKey\":\"s\",\"Token\":\"t\",\"Expiration\":\"2099-01-01T00:00:00Z\"}",
			"dynamic/instance-identity/document":           "{\"instanceId\":\"i-0123456789abcdef0\",\"region\":\"ap-northeast-1\",\"privateIp\":\"10.0.1.2\"}",
		},
		secrets: map[string][]byte{},
		consent: map[string]bool{"sg-0aaa": true},
		rules: []Rule{
			{ID: "sgr-0udp", Group: "sg-0aaa", Protocol: "udp", From: 1194, To: 1194, Source: Source{Network: prefix("0.0.0.0/0")}},
			{ID: "sgr-0ssh", Group: "sg-0aaa", Protocol: "tcp", From: 22, To: 22, Source: Source{Network: prefix("0.0.0.0/0")}},
		},
		tags:   map[string]string{},
		faults: map[string]http.HandlerFunc{},
		paths:  map[string]func(context.Context) error{},
		pauses: map[string]time.Duration{},
	}
	wire := newWire()
	c.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		service, _, _ := strings.Cut(address, ".")
		c.mu.Lock()
		fault := c.paths[service]
		c.mu.Unlock()
		if fault != nil {
			if err := fault(ctx); err != nil {
				return nil, &net.OpError{Op: "dial", Net: network, Err: err}
			}
		}
		return wire.dial(ctx, network, address)
	}
	server := &http.Server{Handler: http.HandlerFunc(c.answer), ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() { _ = server.Serve(wire); close(served) }()
	tb.Cleanup(func() { _ = server.Close(); <-served })
	return c
}

// at is where a service is.
func (c *cloud) at(service string) string {
	if c.url != "" {
		return c.url
	}
	return "http://" + service + ".test"
}

// clients are the real clients, on the way to this cloud.
func (c *cloud) clients() (*imds.Client, services) {
	metadata := newMetadata(c.at("imds"), c.dial)
	made := newServices(metadata, "ap-northeast-1", c.at("secretsmanager"), c.dial)
	other := newServices(metadata, "ap-northeast-1", c.at("ec2"), c.dial)
	made.ingress, made.tags = other.ingress, other.tags
	return metadata, made
}

// block spoils the way to a service; nil mends it.
func (c *cloud) block(service string, fault func(context.Context) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paths[service] = fault
}

// listen lets programs of their own, which this one's memory does not reach, ask
// the cloud over the loopback.
func (c *cloud) listen(tb testing.TB) string {
	tb.Helper()
	server := httptest.NewServer(http.HandlerFunc(c.answer))
	tb.Cleanup(server.Close)
	tb.Cleanup(server.CloseClientConnections)
	return server.URL
}

// wire is a network in memory. Unlike a socket, it can be waited for on the
// clock of a test ([testing/synctest]).
type wire struct {
	connections chan net.Conn
	closed      chan struct{}
	close       func()
}

func newWire() *wire {
	closed := make(chan struct{})
	return &wire{make(chan net.Conn), closed, sync.OnceFunc(func() { close(closed) })}
}

func (w *wire) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case w.connections <- far:
		return newBuffered(near), nil
	case <-w.closed:
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: network, Err: ctx.Err()}
	}
}

// buffered is a connection whose writes return before they are read, as a
// socket's do: the SDK closes a request's body when the answer comes, and the
// connection with it where that has not been written by then.
type buffered struct {
	net.Conn
	out    chan []byte
	closed chan struct{}
	hangUp func()
}

func newBuffered(c net.Conn) *buffered {
	closed := make(chan struct{})
	b := &buffered{Conn: c, out: make(chan []byte, 64), closed: closed, hangUp: sync.OnceFunc(func() { close(closed) })}
	go func() {
		for {
			select {
			case data := <-b.out:
				if _, err := c.Write(data); err != nil {
					return
				}
			case <-b.closed:
				return
			}
		}
	}()
	return b
}

func (b *buffered) Write(data []byte) (int, error) {
	select {
	case b.out <- slices.Clone(data):
		return len(data), nil
	case <-b.closed:
		return 0, io.ErrClosedPipe
	}
}

func (b *buffered) Close() error {
	b.hangUp()
	return b.Conn.Close()
}

func (w *wire) Accept() (net.Conn, error) {
	select {
	case connection := <-w.connections:
		return connection, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

func (w *wire) Close() error   { w.close(); return nil }
func (w *wire) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

func (c *cloud) launch(document string) { c.metadata["user-data"] = document }

// assign gives the interface these prefixes and no others.
func (c *cloud) assign(prefixes ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	const path = "meta-data/network/interfaces/macs/02:00:00:00:01:02/ipv4-prefix"
	delete(c.metadata, path)
	if len(prefixes) > 0 {
		c.metadata[path] = strings.Join(prefixes, "\n")
	}
}

func (c *cloud) publish(s bundle.Sealed) {
	c.secrets[bundle.ServerID("vpn/office")] = s.Server
	c.secrets[bundle.AccessID("vpn/office")] = s.Head
	for i, shard := range s.Shards {
		c.secrets[bundle.ShardID("vpn/office", i)] = shard
	}
}

func (c *cloud) spoil(service string, fault http.HandlerFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if fault == nil {
		delete(c.faults, service)
		return
	}
	c.faults[service] = fault
}

func (c *cloud) asked(call string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, made := range c.calls {
		if strings.HasPrefix(made, call) {
			n++
		}
	}
	return n
}

// status is a fault that answers with nothing but a status.
func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// hang is a fault that does not answer until the client gives up.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func (c *cloud) answer(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var service, call string
	form, _ := url.ParseQuery(string(body))
	switch target := r.Header.Get("X-Amz-Target"); {
	case strings.HasPrefix(r.URL.Path, "/latest/"):
		service, call = "imds", strings.TrimPrefix(r.URL.Path, "/latest/")
	case target != "":
		service, call = "secretsmanager", target
	default:
		service, call = "ec2", form.Get("Action")
	}
	c.mu.Lock()
	c.calls = append(c.calls, service+" "+call)
	fault := c.faults[service]
	if f, ok := c.faults[call]; ok {
		fault = f
	}
	pause := max(c.pauses[service], c.pauses[call])
	c.mu.Unlock()
	time.Sleep(pause)
	if fault != nil {
		// The body has been read.
		r.Header.Set("X-Test-Body", string(body))
		fault(w, r)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch service {
	case "imds":
		c.answerMetadata(w, r, call)
	case "secretsmanager":
		c.answerSecret(w, body)
	default:
		c.answerEC2(w, form)
	}
}

func (c *cloud) answerMetadata(w http.ResponseWriter, r *http.Request, path string) {
	if path == "api/token" {
		if r.Method != http.MethodPut {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
		_, _ = io.WriteString(w, "token")
		return
	}
	if r.Header.Get("X-Aws-Ec2-Metadata-Token") != "token" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	text, ok := c.metadata[path]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = io.WriteString(w, text)
}

func (c *cloud) answerSecret(w http.ResponseWriter, body []byte) {
	var in struct{ SecretId, VersionStage string }
	_ = json.Unmarshal(body, &in)
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	value, ok := c.secrets[in.SecretId]
	if !ok || in.VersionStage != "AWSCURRENT" {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, "{\"__type\":\"ResourceNotFoundException\",\"Message\":\"Secrets Manager can't find the specified secret.\"}")
		return
	}
	out := map[string]any{"Name": in.SecretId}
	if strings.HasPrefix(string(value), "{") {
		out["SecretString"] = string(value)
	} else {
		out["SecretBinary"] = value
	}
	_ = json.NewEncoder(w).Encode(out)
}

func (c *cloud) answerEC2(w http.ResponseWriter, form url.Values) {
	action := form.Get("Action")
	var b strings.Builder
	switch action {
	case "DescribeSecurityGroups":
		b.WriteString("<securityGroupInfo>")
		for _, id := range slices.Sorted(maps.Keys(c.consent)) {
			fmt.Fprintf(&b, "<item><groupId>%s</groupId><tagSet>", id)
			if c.consent[id] {
				fmt.Fprintf(&b, "<item><key>%s</key><value>%s</value></item>", consentKey, consentValue)
			}
			b.WriteString("</tagSet></item>")
		}
		b.WriteString("</securityGroupInfo>")
	case "DescribeSecurityGroupRules":
		b.WriteString("<securityGroupRuleSet>")
		for _, r := range c.rules {
			protocol := strings.Replace(r.Protocol, "all", "-1", 1)
			fmt.Fprintf(&b, "<item><securityGroupRuleId>%s</securityGroupRuleId><groupId>%s</groupId><isEgress>false</isEgress><ipProtocol>%s</ipProtocol>", r.ID, r.Group, protocol)
			fmt.Fprintf(&b, "<fromPort>%d</fromPort><toPort>%d</toPort>", r.From, r.To)
			switch {
			case r.Source.Group != "":
				fmt.Fprintf(&b, "<referencedGroupInfo><groupId>%s</groupId></referencedGroupInfo>", r.Source.Group)
			case r.Source.PrefixList != "":
				fmt.Fprintf(&b, "<prefixListId>%s</prefixListId>", r.Source.PrefixList)
			case r.Source.Network.Addr().Is4():
				fmt.Fprintf(&b, "<cidrIpv4>%s</cidrIpv4>", r.Source.Network)
			default:
				fmt.Fprintf(&b, "<cidrIpv6>%s</cidrIpv6>", r.Source.Network)
			}
			b.WriteString("</item>")
		}
		b.WriteString("</securityGroupRuleSet>")
	case "RevokeSecurityGroupIngress":
		if c.sealing != nil {
			c.sealing()
		}
		for key, values := range form {
			if strings.HasPrefix(key, "SecurityGroupRuleId") {
				c.rules = slices.DeleteFunc(c.rules, func(r Rule) bool { return r.ID == values[0] && r.Group == form.Get("GroupId") })
			}
		}
		b.WriteString("<return>true</return>")
	case "CreateTags":
		for n := 1; form.Has(fmt.Sprintf("Tag.%d.Key", n)); n++ {
			c.tags[form.Get(fmt.Sprintf("Tag.%d.Key", n))] = form.Get(fmt.Sprintf("Tag.%d.Value", n))
		}
		b.WriteString("<return>true</return>")
	}
	_, _ = fmt.Fprintf(w, "<%sResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">%s</%sResponse>", action, b.String(), action)
}

// denied is EC2's answer when the role lacks a right.
func denied(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusForbidden)
	_, _ = io.WriteString(w, "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>You are not authorized to perform this operation.</Message></Error></Errors></Response>")
}
