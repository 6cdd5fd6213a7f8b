// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab

package verify

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

// The internet's router as its hosts see it.
var gatewayOfHosts = netip.MustParseAddr("198.51.100.1")

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
