// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFar: the answer's TTL is the hop limit.
func TestFar(t *testing.T) {
	for limit, want := range map[int]bool{1: false, 2: true, 64: true} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				w.WriteHeader(http.StatusOK)
			}
		}))
		server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			raw, err := c.(*net.TCPConn).SyscallConn()
			if err != nil {
				t.Error(err)
				return ctx
			}
			if err := raw.Control(func(fd uintptr) {
				if err := syscall.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, limit); err != nil {
					t.Error(err)
				}
			}); err != nil {
				t.Error(err)
			}
			return ctx
		}
		server.Start()
		ctx, cancel := context.WithTimeout(t.Context(), looseWithin)
		if got := far(server.URL)(ctx); got != want {
			t.Errorf("limit %d: got %v", limit, got)
		}
		cancel()
		server.CloseClientConnections()
		server.Close()
	}
}

func TestBootFar(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.far = true
	r := g.boot()
	g.want(r, Ready, "")
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "hop limit above 1") || !strings.Contains(r.Warnings[0], "--http-put-response-hop-limit 1") {
		t.Errorf("got %q", r.Warnings)
	}
}
