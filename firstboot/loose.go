// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// metadataAddress is the same in every region:
	// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
	metadataAddress = "http://169.254.169.254"
	// looseWithin: the service has answered just now, in a millisecond or two.
	looseWithin = 100 * time.Millisecond
)

// loosely asks the metadata service, while the run goes on, whether the launch
// left it open to others than this machine's own programs. The function that it
// returns waits for the answers and warns.
func (b boot) loosely(ctx context.Context, r *Result, id string) func() {
	ask := func(question func(context.Context) bool) <-chan bool {
		answer := make(chan bool, 1)
		go func() {
			ctx, cancel := context.WithTimeout(ctx, looseWithin)
			defer cancel()
			answer <- question(ctx)
		}()
		return answer
	}
	tokenless, far := ask(b.tokenless), ask(b.far)
	remedy := fmt.Sprintf("say \"aws ec2 modify-instance-metadata-options --instance-id %s --http-tokens required --http-put-response-hop-limit 1\"", id)
	return func() {
		if <-tokenless {
			b.warn(r, "the metadata service answers without a token (IMDSv1): who can make this instance fetch an address has its role's credentials; "+remedy)
		}
		if <-far {
			b.warn(r, "the metadata service's tokens reach beyond this machine (hop limit above 1): only the packet filter keeps the role's credentials from the tunnel's clients; "+remedy)
		}
	}
}

// tokenless asks the metadata service as IMDSv1 would. Where the launch requires
// tokens it answers 401; no answer is no finding.
func tokenless(endpoint string, dial dialer) func(context.Context) bool {
	client := httpClient(dial, looseWithin)
	return func(ctx context.Context) bool {
		return answersOK(ctx, client, http.MethodGet, endpoint+"/latest/meta-data/instance-id")
	}
}

// far tells whether a token would survive one more hop, which is how a client of
// the tunnel would get it. An instance cannot ask for its own hop limit; but the
// limit is the answer's IP TTL, so a socket that takes no TTL below 2 hears
// nothing where the limit is 1 (ip(7), IP_MINTTL).
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-options.html
func far(endpoint string) func(context.Context) bool {
	dialer := &net.Dialer{Timeout: dialTimeout}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			connection, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			if err := onlyFar(connection); err != nil {
				_ = connection.Close()
				return nil, err
			}
			return connection, nil
		},
	}}
	return func(ctx context.Context) bool {
		return answersOK(ctx, client, http.MethodPut, endpoint+"/latest/api/token")
	}
}

// onlyFar lets a connection that stands take only what may go one hop further.
func onlyFar(connection net.Conn) error {
	socket, ok := connection.(*net.TCPConn)
	if !ok {
		return fmt.Errorf("limiting the hops of a %T: it is no TCP connection", connection)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return fmt.Errorf("limiting the hops: %w", err)
	}
	var set error
	if err := raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MINTTL, 2) }); err != nil {
		return fmt.Errorf("limiting the hops: %w", err)
	}
	if set != nil {
		return fmt.Errorf("limiting the hops: %w", set)
	}
	return nil
}

func answersOK(ctx context.Context, client doer, method, address string) bool {
	request, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return false
	}
	if method == http.MethodPut {
		request.Header.Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "1")
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// doer is what answersOK needs of the SDK's HTTP client and of Go's own.
type doer interface {
	Do(*http.Request) (*http.Response, error)
}
