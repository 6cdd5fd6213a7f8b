// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab

package verify

import (
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

// withRoute runs f while the host sends packets for address the given way, as
// a client can whatever the gateway pushes.
func withRoute(t *testing.T, h *lab.Host, address netip.Addr, how, what string, f func()) {
	t.Helper()
	route := []string{"route", "replace", address.String() + "/32", how, what}
	if _, err := h.Run(within(t, 10*time.Second), "ip", route...); err != nil {
		t.Fatal(err)
	}
	f()
	route[1] = "del"
	if _, err := h.Run(within(t, 10*time.Second), "ip", route...); err != nil {
		t.Fatal(err)
	}
}

// withInternetRoute runs f while the internet's router sends a private network
// to where the VPC's public addresses are, as no provider does.
func withInternetRoute(t *testing.T, network string, f func()) {
	t.Helper()
	ctx, router := within(t, 20*time.Second), "vpnami-"+labName+"-inet"
	ip := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(ctx, "ip", append([]string{"-n", router}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("ip %s in %s: %v: %s", args, router, err, out)
		}
		return string(out)
	}
	way := strings.Fields(ip("route", "show", "203.0.113.0/24"))
	if len(way) < 2 {
		t.Fatalf("the internet has no way to the VPC's public addresses: %q", way)
	}
	ip(append([]string{"route", "add", network}, way[1:]...)...)
	f()
	ip("route", "del", network)
}

// ruleChange is the arguments of one call of iptables.
type ruleChange []string

// withoutRule runs f while a safeguard of the packet filter is taken away, and
// puts the persisted rules back.
func withoutRule(t *testing.T, i *lab.Instance, changes []ruleChange, f func()) {
	t.Helper()
	for _, c := range changes {
		inside(t, i, append([]string{"iptables"}, c...)...)
	}
	f()
	inside(t, i, "systemctl", "reload", "netfilter-persistent.service")
	// What was let through meanwhile is in the connection table; probes use a
	// new source port each, so nothing of it can help a later one.
}

// listen accepts connections on a port of the host until the test ends.
func listen(t *testing.T, h *lab.Host, port int) {
	t.Helper()
	var l *net.TCPListener
	err := h.Do(func() error {
		var err error
		l, err = net.ListenTCP("tcp4", &net.TCPAddr{Port: port})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
}
