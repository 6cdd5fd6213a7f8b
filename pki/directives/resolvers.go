// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package directives

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// misresolved finds a "dns" that OpenVPN does not take. That a server has an address is
// for [conflicts].
func misresolved(l Line) (Finding, bool) {
	if l.Name != "dns" || takesDNS(l.Args) {
		return Finding{}, false
	}
	return Finding{On26: Fatal, On27: Fatal, Why: "OpenVPN does not take it so", Instead: "dns server N address ADDRESS..., and for that N resolve-domains, dnssec, transport or sni; or dns search-domains DOMAIN..."}, true
}

func takesDNS(args []string) bool {
	if len(args) > 1 && args[0] == "search-domains" {
		return true
	}
	if len(args) < 4 || args[0] != "server" {
		return false
	}
	n, is := entire(args[1])
	if !is || n < -128 || n > 127 {
		return false
	}
	one := func(words string) bool { return len(args) == 4 && slices.Contains(strings.Fields(words), args[3]) }
	switch args[2] {
	case "address":
		return len(args) <= 3+mostResolvers && !slices.ContainsFunc(args[3:], func(text string) bool { return !isResolver(text) })
	case "resolve-domains":
		return true
	case "dnssec":
		return one("no optional yes")
	case "transport":
		return one("DoH DoT plain")
	case "sni":
		return len(args) == 4
	}
	return false
}

// mostResolvers is how many addresses a server has at most, in 2.6 and 2.7.
const mostResolvers = 8

// isResolver is an address, with a port or without.
func isResolver(text string) bool {
	if a, err := netip.ParseAddr(text); err == nil {
		return a.Zone() == ""
	}
	a, err := netip.ParseAddrPort(text)
	return err == nil && a.Port() > 0 && a.Addr().Zone() == ""
}

// dnsExamples are lines that OpenVPN takes, each with the address that it needs, and such
// as it does not.
func dnsExamples() (taken, refused []string) {
	taken = []string{
		"dns search-domains a.example.com b.example.com", "dns server -128 address 10.0.0.2 fd00::1", "dns server 127 address 10.0.0.2:53 [fd00::1]:53",
		"dns server 1 dnssec optional", "dns server 01 dnssec no", "dns server 1 transport DoT", "dns server 1 sni dns.example.com", "dns server 1 resolve-domains a b",
	}
	addresses := make([]string, mostResolvers+1)
	for i := range addresses {
		addresses[i] = "10.0.0." + strconv.Itoa(i+1)
	}
	refused = []string{
		"dns server", "dns server 1 address", "dns word x", "dns server 128 address 10.0.0.2", "dns server word address 10.0.0.2", "dns server 1 address word", "dns server 1 address 10.0.0.2:word", "dns server 1 address 10.0.0.2:0", "dns server 1 address [fd00::1]", "dns server 1 address fd00::1%lo",
		"dns server 1 address " + strings.Join(addresses, " "), "dns server 1 dnssec word", "dns server 1 transport word", "dns server 1 exclude-domains a",
	}
	return taken, refused
}
