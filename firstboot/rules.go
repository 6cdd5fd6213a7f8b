// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// The packet filter, in the form that iptables-restore reads. Every file is
// whole: restoring it replaces what the kernel had in one step.
//
// The only interface with a name is tun0, which is ours to name; the network
// card's name differs from one instance type to the next.

// ruleFile gathers the lines of one file.
type ruleFile struct{ strings.Builder }

func (f *ruleFile) line(format string, args ...any) { _, _ = fmt.Fprintf(f, format+"\n", args...) }

func (f *ruleFile) filterTable() {
	f.line("*filter")
	f.line(":INPUT DROP [0:0]")
	f.line(":FORWARD DROP [0:0]")
	f.line(":OUTPUT ACCEPT [0:0]")
	f.line("-A INPUT -i lo -j ACCEPT")
}

// logDrops: enough to see what is going on, too little to fill the journal.
func (f *ruleFile) logDrops(chain string) {
	f.line("-A %s -m limit --limit 6/min --limit-burst 12 -j LOG --log-prefix \"vpnami-drop-%s: \"", chain, strings.ToLower(chain))
}

// common admits what every instance needs, whatever it is.
func (f *ruleFile) common() {
	f.line("-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
	f.line("-A INPUT -m conntrack --ctstate INVALID -j DROP")
	f.line("# Without these, path MTU discovery breaks.")
	for _, kind := range []string{"destination-unreachable", "time-exceeded", "parameter-problem", "echo-request"} {
		f.line("-A INPUT -p icmp -m icmp --icmp-type %s -j ACCEPT", kind)
	}
	f.line("# Answers of the DHCP server that come before the lease is known.")
	f.line("-A INPUT ! -i tun0 -p udp -m udp --sport 67 --dport 68 -j ACCEPT")
}

// vpnRules are those of a gateway.
func vpnRules(c Config, p bundle.AddressPlan, vpc []netip.Prefix) []byte {
	f := &ruleFile{}
	f.line("# Written by vpnami-firstboot: the packet filter of a gateway.")
	f.line("*raw")
	f.line(":PREROUTING ACCEPT [0:0]")
	f.line(":OUTPUT ACCEPT [0:0]")
	f.line("-A PREROUTING -i lo -j ACCEPT")
	f.line("# The instance's role must not be had through the tunnel, whatever hop limit")
	f.line("# and IMDS version the launch chose.")
	f.line("-A PREROUTING -i tun0 -d 169.254.0.0/16 -j DROP")
	f.line("# The tunnel's addresses come through the tunnel, and nothing else does.")
	f.line("-A PREROUTING -i tun0 ! -s %s -j DROP", p.Network)
	f.line("-A PREROUTING ! -i tun0 -s %s -j DROP", p.Network)
	f.line("COMMIT")

	f.filterTable()
	f.line("# The probe proves the handshake and goes nowhere.")
	f.line("-A INPUT -i tun0 -s %s -j DROP", p.Probe)
	f.common()
	f.line("# Who reaches the daemon and sshd from outside, the security group decides.")
	f.line("-A INPUT ! -i tun0 -p %s -m %s --dport %d -j ACCEPT", c.Proto, c.Proto, c.Port)
	if c.SSH == sshTunnel {
		f.line("-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT")
	} else {
		f.line("-A INPUT ! -i tun0 -p tcp -m tcp --dport 22 -j ACCEPT")
	}
	if c.Health == healthTCP {
		for _, block := range vpc {
			f.line("-A INPUT ! -i tun0 -s %s -p tcp -m tcp --dport %d -j ACCEPT", block, healthPort)
		}
	}
	f.logDrops("INPUT")
	f.line("-A FORWARD -m conntrack --ctstate INVALID -j DROP")
	f.line("-A FORWARD -s %s -j DROP", p.Probe)
	f.line("-A FORWARD -d %s -j DROP", p.Probe)
	f.line("# Clients do not reach each other.")
	f.line("-A FORWARD -i tun0 -o tun0 -j DROP")
	for _, route := range c.Routes {
		f.line("-A FORWARD -i tun0 -s %s -d %s -j ACCEPT", p.Network, route)
	}
	f.line("-A FORWARD -o tun0 -d %s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", p.Network)
	f.egress(c.Egress)
	f.logDrops("FORWARD")
	f.line("COMMIT")

	f.line("*nat")
	for _, chain := range []string{"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"} {
		f.line(":%s ACCEPT [0:0]", chain)
	}
	if c.NAT == natPerClient {
		f.own(c, p, vpc)
	}
	if c.NAT != natRouted {
		f.line("-A POSTROUTING -s %s ! -o tun0 -j MASQUERADE", p.Network)
	}
	for _, network := range c.Egress {
		f.line("-A POSTROUTING -s %s ! -o tun0 -j MASQUERADE", network)
	}
	f.line("COMMIT")
	return []byte(f.String())
}

// own has people leave with their own addresses of the VPC. Nothing comes in by
// these: a packet for one that belongs to no connection has nobody to go to, and
// FORWARD lets it go nowhere.
func (f *ruleFile) own(c Config, p bundle.AddressPlan, vpc []netip.Prefix) {
	for _, route := range c.Routes {
		if !bundle.IsPrivate(route) && !partOf(route, vpc) {
			f.line("# An internet gateway knows the gateway's own address alone.")
			f.line("-A POSTROUTING -s %s -d %s ! -o tun0 -j MASQUERADE", p.Network, route)
		}
	}
	f.line("# Who has a fixed address here has one of the VPC's; the rest the gateway's.")
	for _, piece := range c.Own {
		f.line("-A POSTROUTING -s %s ! -o tun0 -j NETMAP --to %s", piece.Tunnel, piece.VPC)
	}
}

// egress lets machines of the VPC fetch their updates through the gateway, and
// lends them its address for nothing else: not for what is private, where the
// gateway may be let in and they are not.
func (f *ruleFile) egress(networks []netip.Prefix) {
	if len(networks) == 0 {
		return
	}
	f.line("# Updates, from the internet alone.")
	for _, network := range networks {
		for _, inside := range append(bundle.PrivateNetworks(), "169.254.0.0/16") {
			f.line("-A FORWARD ! -i tun0 ! -o tun0 -s %s -d %s -j DROP", network, inside)
		}
		for _, port := range []int{80, 443} {
			f.line("-A FORWARD ! -i tun0 ! -o tun0 -s %s -p tcp -m tcp --dport %d -j ACCEPT", network, port)
		}
		f.line("-A FORWARD ! -i tun0 ! -o tun0 -d %s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", network)
	}
}

// stepRules are those of the bastion: SSH from the VPC, and from the tunnel
// network where the gateway routes instead of translating.
func stepRules(vpc []netip.Prefix, tunnel netip.Prefix) []byte {
	f := &ruleFile{}
	f.line("# Written by vpnami-firstboot: the packet filter of a bastion.")
	f.baseRaw()
	f.filterTable()
	f.common()
	from := vpc
	if tunnel.IsValid() {
		from = append(from[:len(from):len(from)], tunnel)
	}
	for _, network := range from {
		f.line("-A INPUT -s %s -p tcp -m tcp --dport 22 -j ACCEPT", network)
	}
	f.logDrops("INPUT")
	f.line("COMMIT")
	f.emptyNAT()
	return []byte(f.String())
}

// baseRules are those of the image, for an instance that does not know yet
// what it was launched as. They are laid down when it finds out that it is not
// the instance that its state was made for.
func baseRules() []byte {
	f := &ruleFile{}
	f.line("# Written by vpnami-firstboot: as the image has it.")
	f.baseRaw()
	f.filterTable()
	f.common()
	f.line("-A INPUT ! -i tun0 -p tcp -m tcp --dport 22 -j ACCEPT")
	f.logDrops("INPUT")
	f.logDrops("FORWARD")
	f.line("COMMIT")
	f.emptyNAT()
	return []byte(f.String())
}

func (f *ruleFile) baseRaw() {
	f.line("*raw")
	f.line(":PREROUTING ACCEPT [0:0]")
	f.line(":OUTPUT ACCEPT [0:0]")
	f.line("-A PREROUTING -i tun0 -d 169.254.0.0/16 -j DROP")
	f.line("COMMIT")
}

// emptyNAT empties the table: restoring leaves alone the tables that a file
// does not name, and an instance may change its role.
func (f *ruleFile) emptyNAT() {
	f.line("*nat")
	for _, chain := range []string{"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"} {
		f.line(":%s ACCEPT [0:0]", chain)
	}
	f.line("COMMIT")
}

// closedRules6: the tunnel carries IPv4, and nothing is offered over IPv6.
func closedRules6() []byte {
	f := &ruleFile{}
	f.line("# Written by vpnami-firstboot: no port is open over IPv6, nothing is forwarded.")
	f.line("*raw")
	f.line(":PREROUTING ACCEPT [0:0]")
	f.line(":OUTPUT ACCEPT [0:0]")
	f.line("# fd00:ec2::254 is the metadata service; the whole block is AWS's.")
	f.line("-A PREROUTING -i tun0 -d fd00:ec2::/32 -j DROP")
	f.line("-A PREROUTING -i tun0 -d fe80::/10 -j DROP")
	f.line("COMMIT")
	f.filterTable()
	f.line("-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
	f.line("-A INPUT -m conntrack --ctstate INVALID -j DROP")
	f.line("# RFC 4890, section 4.4: errors, and neighbour discovery from the link itself.")
	for _, kind := range []string{"destination-unreachable", "packet-too-big", "time-exceeded", "parameter-problem"} {
		f.line("-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type %s -j ACCEPT", kind)
	}
	for _, kind := range []string{"router-advertisement", "neighbour-solicitation", "neighbour-advertisement"} {
		f.line("-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type %s -m hl --hl-eq 255 -j ACCEPT", kind)
	}
	f.line("-A INPUT ! -i tun0 -s fe80::/10 -p udp -m udp --sport 547 --dport 546 -j ACCEPT")
	f.logDrops("INPUT")
	f.logDrops("FORWARD")
	f.line("COMMIT")
	return []byte(f.String())
}
