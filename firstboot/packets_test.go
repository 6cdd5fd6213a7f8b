// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// network is a client, a gateway and a VPC in three namespaces; the tunnel is
// a cable whose gateway's end is called tun0.
type network struct {
	t     *testing.T
	names [4]string
}

const (
	client = iota
	gate
	vpc
	behind // a machine of the VPC whose way out is the gateway
)

func newNetwork(t *testing.T) network {
	t.Helper()
	need(t, "ip", "iptables-restore")
	n := network{t: t}
	for i, role := range []string{"client", "gate", "vpc", "behind"} {
		n.names[i] = fmt.Sprintf("vpnami-fb-%d-%s", os.Getpid(), role)
	}
	script := strings.NewReplacer("CLIENT", n.names[client], "GATE", n.names[gate], "VPC", n.names[vpc], "BEHIND", n.names[behind])
	t.Cleanup(func() {
		for _, name := range n.names {
			sh(t, "ip netns del "+name+" || true")
		}
	})
	sh(t, script.Replace(`
		for ns in CLIENT GATE VPC BEHIND; do ip netns add $ns; ip -n $ns link set lo up; done
		ip link add tun0 netns GATE type veth peer name tun0 netns CLIENT
		ip link add ens5 netns GATE type veth peer name ens5 netns VPC
		ip -n CLIENT address add 10.0.255.9/24 dev tun0
		ip -n CLIENT address add 10.0.255.20/24 dev tun0
		ip -n CLIENT address add 10.0.255.130/24 dev tun0
		ip -n CLIENT address add 10.0.255.254/24 dev tun0
		ip -n GATE address add 10.0.255.1/24 dev tun0
		ip -n GATE address add 10.0.1.2/16 dev ens5
		ip -n VPC address add 10.0.2.2/16 dev ens5
		ip -n VPC address add 169.254.169.254/32 dev lo
		ip -n VPC address add 172.16.5.5/32 dev lo
		ip -n VPC address add 203.0.113.80/32 dev lo
		ip link add ens6 netns GATE type veth peer name ens5 netns BEHIND
		ip -n BEHIND address add 10.0.3.3/24 dev ens5
		ip -n GATE address add 10.0.3.1/24 dev ens6
		for ns in CLIENT GATE; do ip -n $ns link set tun0 up; done
		for ns in GATE VPC BEHIND; do ip -n $ns link set ens5 up; done
		ip -n GATE link set ens6 up
		ip -n BEHIND route add default via 10.0.3.1
		ip -n CLIENT route add default via 10.0.255.1
		ip -n GATE route add default via 10.0.2.2
		ip -n VPC route add 10.0.255.0/24 via 10.0.1.2
		ip -n VPC route add 10.0.1.64/27 via 10.0.1.2
		ip netns exec GATE sysctl -qw net.ipv4.ip_forward=1
	`))
	return n
}

// in runs a function on a thread of its own, in a namespace.
func (n network) in(where int, do func() error) error {
	n.t.Helper()
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		file, err := os.Open(filepath.Join("/run/netns", n.names[where]))
		if err != nil {
			result <- err
			return
		}
		defer file.Close()
		if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- err
			return
		}
		result <- do()
	}()
	return <-result
}

// listen answers every connection with the address that it comes from.
func (n network) listen(where int, address string) {
	n.t.Helper()
	err := n.in(where, func() error {
		listener, err := net.Listen("tcp4", address)
		if err != nil {
			return err
		}
		n.t.Cleanup(func() { _ = listener.Close() })
		go func() {
			for {
				c, err := listener.Accept()
				if err != nil {
					return
				}
				host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
				_, _ = c.Write([]byte(host))
				_ = c.Close()
			}
		}()
		return nil
	})
	if err != nil {
		n.t.Fatal(err)
	}
}

// dial returns whom the other side saw, or "" when nothing came through.
func (n network) dial(where int, from, to string) string {
	n.t.Helper()
	seen := ""
	_ = n.in(where, func() error {
		d := net.Dialer{Timeout: 400 * time.Millisecond, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp4", to)
		if err != nil {
			return err
		}
		defer c.Close()
		b := make([]byte, 64)
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		k, err := c.Read(b)
		seen = string(b[:k])
		return err
	})
	return seen
}

func (n network) gateRules(rules []byte) {
	n.t.Helper()
	path := filepath.Join(n.t.TempDir(), "rules")
	if err := os.WriteFile(path, rules, 0o600); err != nil {
		n.t.Fatal(err)
	}
	sh(n.t, "ip netns exec "+n.names[gate]+" iptables-restore < "+path)
}

func (n network) iptables(arguments string) {
	n.t.Helper()
	sh(n.t, "ip netns exec "+n.names[gate]+" iptables "+arguments)
}

// TestPackets: what the rules let through, seen on packets. What they stop is
// shown to be stopped by the rule in question: without it, it comes through.
func TestPackets(t *testing.T) {
	n := newNetwork(t)
	for _, address := range []string{"10.0.2.2:7777", "169.254.169.254:80", "172.16.5.5:7777", "172.16.5.5:443", "203.0.113.80:443", "203.0.113.80:7777"} {
		n.listen(vpc, address)
	}
	n.listen(gate, "0.0.0.0:22")
	n.listen(gate, "0.0.0.0:1195")
	n.listen(client, "10.0.255.9:7777")
	p := bundle.PlanAddresses(prefix(bundle.DefaultNetwork))
	masquerade, tunnel, routed := articleConfig(t), articleConfig(t, "ssh: tunnel"), articleConfig(t)
	routed.NAT = natRouted

	check := func(what string, where int, from, to, want string) {
		t.Helper()
		if got := n.dial(where, from, to); got != want {
			t.Errorf("%s: %s to %s: the other side saw %q, want %q", what, from, to, got, want)
		}
	}
	n.gateRules(vpnRules(masquerade, p, articleInstance().VPC))
	check("a client reaches the VPC", client, "10.0.255.9", "10.0.2.2:7777", "10.0.1.2")
	check("the VPC reaches the gateway's sshd", vpc, "10.0.2.2", "10.0.1.2:22", "10.0.2.2")

	for _, c := range []struct {
		what     string
		where    int
		from, to string
		without  string // what opens it
		seen     string
	}{
		{"the metadata service", client, "10.0.255.9", "169.254.169.254:80",
			"-t raw -D PREROUTING -i tun0 -d 169.254.0.0/16 -j DROP; iptables -I FORWARD -i tun0 -d 169.254.169.254 -j ACCEPT", "10.0.1.2"},
		{"outside the routes", client, "10.0.255.9", "172.16.5.5:7777", "-I FORWARD -i tun0 -d 172.16.5.5 -j ACCEPT", "10.0.1.2"},
		{"the probe", client, "10.0.255.254", "10.0.2.2:7777", "-D FORWARD -s 10.0.255.254 -j DROP; iptables -D FORWARD -d 10.0.255.254 -j DROP", "10.0.1.2"},
		{"the gateway's sshd from the tunnel", client, "10.0.255.9", "10.0.1.2:22", "-I INPUT -p tcp --dport 22 -j ACCEPT", "10.0.255.9"},
		{"a client from the VPC", vpc, "10.0.2.2", "10.0.255.9:7777", "-I FORWARD -o tun0 -j ACCEPT; iptables -I FORWARD -i tun0 -j ACCEPT", "10.0.2.2"},
	} {
		n.gateRules(vpnRules(masquerade, p, articleInstance().VPC))
		check(c.what, c.where, c.from, c.to, "")
		n.iptables(strings.ReplaceAll(c.without, "; iptables", "; ip netns exec "+n.names[gate]+" iptables"))
		check(c.what+", its rule taken away", c.where, c.from, c.to, c.seen)
	}

	n.gateRules(vpnRules(tunnel, p, articleInstance().VPC))
	check("ssh: tunnel", client, "10.0.255.9", "10.0.1.2:22", "10.0.255.9")
	check("ssh: tunnel is not for the probe", client, "10.0.255.254", "10.0.1.2:22", "")
	n.gateRules(vpnRules(routed, p, articleInstance().VPC))
	check("nat: routed shows the client's address", client, "10.0.255.9", "10.0.2.2:7777", "10.0.255.9")

	n.gateRules(vpnRules(ownConfig(t), p, articleInstance().VPC))
	check("nat: per-client, who has an address of the VPC's", client, "10.0.255.9", "10.0.2.2:7777", "10.0.1.73")
	check("whose is not assigned", client, "10.0.255.20", "10.0.2.2:7777", "10.0.1.2")
	check("who has none", client, "10.0.255.130", "10.0.2.2:7777", "10.0.1.2")
	check("beyond the VPC, which has a public address for the gateway's alone", client, "10.0.255.9", "203.0.113.80:7777", "10.0.1.2")
	check("the metadata service, by an address of the VPC's", client, "10.0.255.9", "169.254.169.254:80", "")
	check("a person's address is not the gateway's", vpc, "10.0.2.2", "10.0.1.73:22", "")
	check("nothing comes in by it", vpc, "10.0.2.2", "10.0.1.73:7777", "")
	// Nor would it, if somebody translated the other way too.
	n.iptables("-t nat -A PREROUTING -d 10.0.1.64/28 -j NETMAP --to 10.0.255.0/28")
	check("nothing comes in by it, were it translated", vpc, "10.0.2.2", "10.0.1.73:7777", "")
	n.iptables("-I FORWARD -o tun0 -j ACCEPT")
	n.iptables("-I FORWARD -i tun0 -j ACCEPT")
	check("nothing comes in by it, its rule taken away", vpc, "10.0.2.2", "10.0.1.73:7777", "10.0.2.2")

	egress := articleConfig(t, "egress: [10.0.3.0/24]", "health: tcp")
	n.gateRules(vpnRules(egress, p, articleInstance().VPC))
	check("updates through the gateway", behind, "10.0.3.3", "203.0.113.80:443", "10.0.1.2")
	check("updates, and nothing else", behind, "10.0.3.3", "203.0.113.80:7777", "")
	check("nothing of the company's by the gateway's name", behind, "10.0.3.3", "172.16.5.5:443", "")
	check("nor its role", behind, "10.0.3.3", "169.254.169.254:80", "")
	check("the health port, from the VPC", vpc, "10.0.2.2", "10.0.1.2:1195", "10.0.2.2")
	check("the health port, from elsewhere", vpc, "172.16.5.5", "10.0.1.2:1195", "")
	check("the health port, from the tunnel", client, "10.0.255.9", "10.0.1.2:1195", "")
	n.gateRules(vpnRules(masquerade, p, articleInstance().VPC))
	check("updates, unless the launch says so", behind, "10.0.3.3", "203.0.113.80:443", "")
	check("the health port, unless the launch says so", vpc, "10.0.2.2", "10.0.1.2:1195", "")

	n.gateRules(stepRules(articleInstance().VPC, prefix("0.0.0.0/32")))
	check("a step's sshd from the VPC", vpc, "10.0.2.2", "10.0.1.2:22", "10.0.2.2")
	check("a step forwards nothing", client, "10.0.255.9", "10.0.2.2:7777", "")
	check("a step's sshd from elsewhere", vpc, "172.16.5.5", "10.0.1.2:22", "")
	n.gateRules(stepRules(articleInstance().VPC, prefix("172.16.5.0/24")))
	check("a step's sshd from a routed tunnel", vpc, "172.16.5.5", "10.0.1.2:22", "172.16.5.5")
	n.gateRules(baseRules())
	check("the image's rules: sshd", vpc, "10.0.2.2", "10.0.1.2:22", "10.0.2.2")
	check("the image's rules forward nothing", client, "10.0.255.9", "10.0.2.2:7777", "")
}
