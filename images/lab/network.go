// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// network is what EC2 says, as far as packets are concerned. The ruleset and
// the routes are pure functions of it.
type network struct {
	CIDRs  []netip.Prefix        // of the VPC
	Ports  []port                // by name
	Groups map[string]group      // by group id
	Tables map[string][]vpcRoute // route table of each subnet, by subnet id, without the local routes
}

// port is where an instance's interface plugs into the VPC.
type port struct {
	Name        string // the instance's station
	Interface   string // eni-...
	Instance    string // i-...
	Subnet      string
	Addresses   []netip.Addr              // private, the primary one first
	Prefixes    []netip.Prefix            // private, assigned as networks
	Public      map[netip.Addr]netip.Addr // private to public
	Groups      []string
	SourceCheck bool
}

func (p port) device() string { return "p-" + p.Name }

// owned are all addresses of the interface.
func (p port) owned() []netip.Prefix {
	var all []netip.Prefix
	for _, a := range p.Addresses {
		all = append(all, netip.PrefixFrom(a, a.BitLen()))
	}
	return append(all, p.Prefixes...)
}

type group struct {
	Ingress, Egress []permission
}

// permission is one rule of a security group.
type permission struct {
	Protocol string // "-1", "tcp", "udp", "icmp", or a number
	From, To int32  // ports, or ICMP type and code; -1: all
	CIDRs    []netip.Prefix
	Groups   []string // referenced groups
}

// vpcRoute is a route that is not local.
type vpcRoute struct {
	Destination netip.Prefix
	Target      string // igw-..., eni-..., i-...; anything else is a black hole
}

// portTo finds the port that a route's target names.
func (n network) portTo(target string) (port, bool) {
	for _, p := range n.Ports {
		if target == p.Interface || target == p.Instance {
			return p, true
		}
	}
	return port{}, false
}

// members are the private addresses of the interfaces in a group, which is
// what a rule that references the group means.
func (n network) members(group string) []netip.Prefix {
	var all []netip.Prefix
	for _, p := range n.Ports {
		if slices.Contains(p.Groups, group) {
			all = append(all, p.owned()...)
		}
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return all
}

// The kernel's routing in the VPC's namespace.

// hop is where a kernel route leads.
type hop string

const (
	hopBlackhole hop = "blackhole"
	hopInternet  hop = "igw"
	hopService   hop = "aws"
)

// kernelRoute is a route in the VPC's namespace: to a device, or nowhere.
type kernelRoute struct {
	Table       int
	Destination netip.Prefix
	Hop         hop        // one of the constants, or the port's device
	Gateway     netip.Addr // the instance that forwards; zero: the port's own address is the destination
}

// kernelRule sends what comes from a port to its subnet's table.
type kernelRule struct {
	Device string
	Table  int
}

// mainTable is for what comes from the internet gateway, from the services
// and from the VPC's router itself: it knows the addresses of the VPC.
const (
	mainTable   = 254
	firstSubnet = 1000
)

// kernelRouting translates the VPC's route tables. An address that nobody
// owns is a black hole: a VPC delivers to interfaces, not to subnets.
func kernelRouting(n network) ([]kernelRoute, []kernelRule) {
	subnets := map[string]int{}
	tables := map[int][]vpcRoute{mainTable: nil}
	var rules []kernelRule
	for _, p := range n.Ports {
		table, known := subnets[p.Subnet]
		if !known {
			table = firstSubnet + len(subnets)
			subnets[p.Subnet] = table
			tables[table] = n.Tables[p.Subnet]
		}
		rules = append(rules, kernelRule{Device: p.device(), Table: table})
	}
	var routes []kernelRoute
	for table, own := range tables {
		for _, cidr := range n.CIDRs {
			routes = append(routes, kernelRoute{Table: table, Destination: cidr, Hop: hopBlackhole})
		}
		routes = append(routes, kernelRoute{Table: table, Destination: netip.MustParsePrefix(serviceNetwork), Hop: hopService},
			kernelRoute{Table: table, Destination: netip.MustParsePrefix(metadataAddress + "/32"), Hop: hopService})
		for _, p := range n.Ports {
			for _, a := range p.Addresses {
				routes = append(routes, kernelRoute{Table: table, Destination: netip.PrefixFrom(a, 32), Hop: hop(p.device())})
			}
			// A VPC asks nobody whose address it is: what is assigned to an interface
			// goes there, whether or not the machine has configured it.
			for _, prefix := range p.Prefixes {
				routes = append(routes, kernelRoute{Table: table, Destination: prefix, Hop: hop(p.device()), Gateway: p.Addresses[0]})
			}
		}
		for _, r := range own {
			routes = append(routes, n.routeTo(table, r))
		}
	}
	slices.SortFunc(routes, func(a, b kernelRoute) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), a.Destination.Addr().Compare(b.Destination.Addr()),
			cmp.Compare(a.Destination.Bits(), b.Destination.Bits()))
	})
	return routes, rules
}

func (n network) routeTo(table int, r vpcRoute) kernelRoute {
	route := kernelRoute{Table: table, Destination: r.Destination, Hop: hopBlackhole}
	if strings.HasPrefix(r.Target, "igw-") {
		route.Hop = hopInternet
	} else if p, ok := n.portTo(r.Target); ok && len(p.Addresses) > 0 {
		route.Hop, route.Gateway = hop(p.device()), p.Addresses[0]
	}
	return route
}
