// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDaemonFails has the real OpenVPN say what the cells of the matrix make it
// say (portTaken, tunMissing), and finds in it the line that becomes the cause.
func TestDaemonFails(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		said string // the cell's log
		take bool   // somebody has the port
	}{
		"port taken":  {[]string{"--dev", "null"}, portTaken, true},
		"tun missing": {[]string{"--dev-node", "/dev/net/tun-that-is-not"}, tunMissing, false},
	} {
		t.Run(name, func(t *testing.T) {
			need(t, "openvpn", "ip")
			isolate(t)
			m := newMachine(t)
			files, err := render(articleConfig(t), newAuthority(t).bundle(t), m.placement, articleInstance())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.store.place(t.Context(), files, record{Instance: "i-1", Role: RoleVPN}); err != nil {
				t.Fatal(err)
			}
			if c.take {
				taken, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp4", ":1194")
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = taken.Close() }()
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			status := filepath.Join(t.TempDir(), "status")
			args := append([]string{"--suppress-timestamps", "--status", status, "--config", filepath.Join(m.layout.current(), "server.conf")}, c.args...)
			out, err := exec.CommandContext(ctx, "openvpn", args...).CombinedOutput()
			if err == nil || ctx.Err() != nil {
				t.Fatalf("it goes on: %v\n%s", err, out)
			}
			// The device's name is the test's own.
			log := strings.ReplaceAll(string(out), "/dev/net/tun-that-is-not", "/dev/net/tun")
			want, got := tellingLine(c.said), tellingLine(log)
			if got != want {
				t.Errorf("the cause is %q, and in the matrix %q; the log:\n%s", got, want, log)
			}
		})
	}
}
