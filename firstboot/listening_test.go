// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAwaitListening: the probe's client is not started before somebody listens
// where its configuration says, and it is as soon as somebody does.
func TestAwaitListening(t *testing.T) {
	for _, proto := range []string{"udp", "tcp"} {
		t.Run(proto, func(t *testing.T) {
			listen := func(address string) (net.Addr, func() error) {
				if proto == "tcp" {
					l, err := net.Listen("tcp4", address)
					if err != nil {
						t.Fatal(err)
					}
					return l.Addr(), l.Close
				}
				l, err := net.ListenPacket("udp4", address)
				if err != nil {
					t.Fatal(err)
				}
				return l.LocalAddr(), l.Close
			}
			address, leave := listen("127.0.0.1:0")
			_, port, err := net.SplitHostPort(address.String())
			if err != nil {
				t.Fatal(err)
			}
			config := articleConfig(t, "proto: "+proto)
			a := newAuthority(t)
			text := strings.Replace(string(probeConf(config, a.server, placement{})), "remote 127.0.0.1 1194", "remote 127.0.0.1 "+port, 1)
			path := filepath.Join(t.TempDir(), "client.conf")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := awaitListening(t.Context(), path, time.Second); err != nil {
				t.Error(err)
			}
			if err := leave(); err != nil {
				t.Fatal(err)
			}
			err = awaitListening(t.Context(), path, 50*time.Millisecond)
			if err == nil || !strings.Contains(err.Error(), "nobody listens at") {
				t.Errorf("got %v", err)
			}
			came := make(chan error, 1)
			go func() { came <- awaitListening(t.Context(), path, 5*time.Second) }()
			select {
			case err := <-came:
				t.Fatalf("before anybody listens: %v", err)
			case <-time.After(50 * time.Millisecond):
			}
			_, leave = listen(fmt.Sprintf("127.0.0.1:%s", port))
			defer func() { _ = leave() }()
			if err := <-came; err != nil {
				t.Error(err)
			}
		})
	}
	for name, text := range map[string]string{"names none": "client\ndev null\n", "no such file": ""} {
		path := filepath.Join(t.TempDir(), "client.conf")
		if text != "" {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := awaitListening(t.Context(), path, time.Second); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
}
