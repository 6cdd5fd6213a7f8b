// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// table is the lab's nftables table in the VPC's namespace.
const table = "vpnami"

// ruleset writes the VPC as nftables rules: source check, one-to-one address
// translation at the internet gateway, and security groups. nft loads it in
// one transaction: no packet sees half of it.
func ruleset(n network) string {
	var b strings.Builder
	public := publicAddresses(n)
	fmt.Fprintf(&b, "add table ip %s\ndelete table ip %s\ntable ip %s {\n", table, table, table)

	// Elements of the maps, named sets: nft refuses an empty anonymous set.
	writeSet(&b, "set public { type ipv4_addr;", slices.SortedFunc(maps.Values(public), netip.Addr.Compare))
	writeSet(&b, "set translated { type ipv4_addr;", slices.SortedFunc(maps.Keys(public), netip.Addr.Compare))
	writeMap(&b, "to_private", public, func(private, public netip.Addr) string { return public.String() + " : " + private.String() })
	writeMap(&b, "to_public", public, func(private, public netip.Addr) string { return private.String() + " : " + public.String() })

	b.WriteString("\tchain source_check {\n\t\ttype filter hook prerouting priority raw; policy accept;\n")
	b.WriteString("\t\tiifname \"igw\" ip daddr != @public counter drop\n")
	for _, p := range n.Ports {
		if p.SourceCheck {
			// 0.0.0.0 is a machine that asks for its address.
			fmt.Fprintf(&b, "\t\tiifname %q ip saddr != { 0.0.0.0, %s } counter drop\n", p.device(), joinNetworks(p.owned()))
		}
	}
	b.WriteString("\t}\n")

	b.WriteString("\tchain gateway_in {\n\t\ttype nat hook prerouting priority dstnat; policy accept;\n")
	b.WriteString("\t\tiifname \"igw\" dnat to ip daddr map @to_private\n\t}\n")
	b.WriteString("\tchain gateway_out {\n\t\ttype nat hook postrouting priority srcnat; policy accept;\n")
	b.WriteString("\t\toifname \"igw\" snat to ip saddr map @to_public\n\t}\n")

	b.WriteString("\tchain router {\n\t\ttype filter hook input priority filter; policy drop;\n")
	b.WriteString("\t\tiifname \"lo\" accept\n\t\tct state established,related accept\n")
	b.WriteString("\t\tiifname \"p-*\" udp sport 68 udp dport 67 accept\n")
	fmt.Fprintf(&b, "\t\tiifname \"p-*\" ip daddr %s meta l4proto { tcp, udp } th dport 53 accept\n\t}\n", vpcResolver)

	b.WriteString("\tchain fabric {\n\t\ttype filter hook forward priority filter; policy drop;\n")
	b.WriteString("\t\tct state established,related accept\n\t\tct state invalid drop\n")
	// The metadata service is outside of security groups, as in EC2.
	fmt.Fprintf(&b, "\t\tiifname \"p-*\" oifname \"aws\" ip daddr %s tcp dport 80 accept\n", metadataAddress)
	for _, p := range n.Ports {
		fmt.Fprintf(&b, "\t\tiifname %q jump out_%s\n", p.device(), chain(p.Name))
	}
	// Without a public address there is no way to the internet.
	b.WriteString("\t\toifname \"igw\" ip saddr != @translated counter drop\n")
	for _, p := range n.Ports {
		if p.SourceCheck {
			fmt.Fprintf(&b, "\t\toifname %q ip daddr != { %s } counter drop\n", p.device(), joinNetworks(p.owned()))
		}
		fmt.Fprintf(&b, "\t\toifname %q jump in_%s\n", p.device(), chain(p.Name))
	}
	b.WriteString("\t\tiifname \"p-*\" accept\n\t\tiifname \"igw\" oifname \"p-*\" accept\n\t}\n")

	for _, p := range n.Ports {
		writeGroups(&b, n, p, "in", "saddr", func(g group) []permission { return g.Ingress })
		writeGroups(&b, n, p, "out", "daddr", func(g group) []permission { return g.Egress })
	}
	b.WriteString("}\n")
	return b.String()
}

// writeGroups writes the rules that a port's groups add up to: what one of
// them admits returns to the fabric, the rest is dropped.
func writeGroups(b *strings.Builder, n network, p port, direction, peer string, pick func(group) []permission) {
	fmt.Fprintf(b, "\tchain %s_%s {\n", direction, chain(p.Name))
	for _, id := range slices.Sorted(slices.Values(p.Groups)) {
		for _, perm := range pick(n.Groups[id]) {
			for _, match := range matches(n, perm, peer) {
				fmt.Fprintf(b, "\t\t%scounter return comment %q\n", match, id)
			}
		}
	}
	b.WriteString("\t\tcounter drop\n\t}\n")
}

// matches writes a permission as nft matches, one for each kind of peer.
func matches(n network, perm permission, peer string) []string {
	service, ok := serviceMatch(perm)
	if !ok {
		return nil
	}
	var lines []string
	for _, cidr := range perm.CIDRs {
		if cidr.Bits() == 0 {
			lines = append(lines, service)
			continue
		}
		lines = append(lines, fmt.Sprintf("ip %s %s %s", peer, cidr.Masked(), service))
	}
	for _, id := range perm.Groups {
		if members := n.members(id); len(members) > 0 {
			lines = append(lines, fmt.Sprintf("ip %s { %s } %s", peer, joinNetworks(members), service))
		}
	}
	return lines
}

// serviceMatch writes protocol and ports. ICMPv6 has no meaning in a table
// for IPv4.
func serviceMatch(perm permission) (string, bool) {
	switch perm.Protocol {
	case "-1":
		return "", true
	case "tcp", "6", "udp", "17":
		name := map[string]string{"6": "tcp", "17": "udp"}[perm.Protocol]
		if name == "" {
			name = perm.Protocol
		}
		switch {
		case perm.From <= 0 && (perm.To < 0 || perm.To == 65535):
			return "meta l4proto " + name + " ", true
		case perm.From == perm.To:
			return fmt.Sprintf("%s dport %d ", name, perm.From), true
		}
		return fmt.Sprintf("%s dport %d-%d ", name, perm.From, perm.To), true
	case "icmp", "1":
		switch {
		case perm.From < 0:
			return "meta l4proto icmp ", true
		case perm.To < 0:
			return fmt.Sprintf("icmp type %d ", perm.From), true
		}
		return fmt.Sprintf("icmp type %d icmp code %d ", perm.From, perm.To), true
	case "icmpv6", "58":
		return "", false
	}
	return "meta l4proto " + perm.Protocol + " ", true
}

func publicAddresses(n network) map[netip.Addr]netip.Addr {
	all := map[netip.Addr]netip.Addr{}
	for _, p := range n.Ports {
		maps.Copy(all, p.Public)
	}
	return all
}

func writeSet(b *strings.Builder, head string, addresses []netip.Addr) {
	b.WriteString("\t" + head)
	if len(addresses) > 0 {
		fmt.Fprintf(b, " elements = { %s };", join(addresses))
	}
	b.WriteString(" }\n")
}

func writeMap(b *strings.Builder, name string, public map[netip.Addr]netip.Addr, element func(private, public netip.Addr) string) {
	fmt.Fprintf(b, "\tmap %s { type ipv4_addr : ipv4_addr;", name)
	var elements []string
	for _, private := range slices.SortedFunc(maps.Keys(public), netip.Addr.Compare) {
		elements = append(elements, element(private, public[private]))
	}
	if len(elements) > 0 {
		fmt.Fprintf(b, " elements = { %s };", strings.Join(elements, ", "))
	}
	b.WriteString(" }\n")
}

func join(addresses []netip.Addr) string {
	var words []string
	for _, a := range addresses {
		words = append(words, a.String())
	}
	return strings.Join(words, ", ")
}

// joinNetworks writes a network of one address as the address.
func joinNetworks(networks []netip.Prefix) string {
	var words []string
	for _, n := range networks {
		if n.IsSingleIP() {
			words = append(words, n.Addr().String())
		} else {
			words = append(words, n.String())
		}
	}
	return strings.Join(words, ", ")
}

// chain is a station's name as nft's grammar takes it.
func chain(name string) string { return strings.ReplaceAll(name, "-", "_") }
