// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// enforce brings the network into force in the VPC's namespace. Ports whose
// machine is not plugged in are left out of the routes.
func (t topology) enforce(ctx context.Context, n network) error {
	nft := t.vpc.command(ctx, "nft", "-f", "-")
	nft.Stdin = strings.NewReader(ruleset(n))
	var stderr bytes.Buffer
	nft.Stderr = &stderr
	if err := nft.Run(); err != nil {
		return fmt.Errorf("loading the VPC's rules: %w: %s", err, lastLines(stderr.Bytes(), 8))
	}
	routes, rules := kernelRouting(n)
	if err := inside(t.vpc, func(h *netlink.Handle) error { return applyRouting(h, routes, rules) }); err != nil {
		return fmt.Errorf("routing in the VPC: %w", err)
	}
	return t.publish(n)
}

// publish tells the internet about public addresses outside of the lab's own
// network, which EC2 may give as well.
func (t topology) publish(n network) error {
	own := netip.MustParsePrefix(publicNetwork)
	return inside(t.inet, func(h *netlink.Handle) error {
		for _, public := range publicAddresses(n) {
			if own.Contains(public) {
				continue
			}
			if err := routeVia(h, "vpc", public.String()+"/32", nth(linkInetVPC, 2)); err != nil {
				return fmt.Errorf("publishing %s: %w", public, err)
			}
		}
		return nil
	})
}

// routeProtocol marks the routes and rules that are brought into force from
// EC2, so that those which EC2 no longer has are found. Any number that
// rtnetlink(7) leaves to administrators will do.
const routeProtocol = 200

func applyRouting(h *netlink.Handle, routes []kernelRoute, rules []kernelRule) error {
	devices := map[string]int{}
	links, err := h.LinkList()
	if err != nil {
		return fmt.Errorf("listing devices: %w", err)
	}
	for _, l := range links {
		devices[l.Attrs().Name] = l.Attrs().Index
	}
	wanted := map[string]bool{}
	for _, r := range routes {
		route, ok := kernelForm(r, devices)
		if !ok {
			continue
		}
		wanted[routeKey(route.Table, route.Dst)] = true
		if err := h.RouteReplace(&route); err != nil {
			return fmt.Errorf("setting route to %s by %q: %w", r.Destination, r.Hop, err)
		}
	}
	old, err := h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Protocol: routeProtocol, Table: unix.RT_TABLE_UNSPEC},
		netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("listing routes: %w", err)
	}
	for _, r := range old {
		if wanted[routeKey(r.Table, r.Dst)] {
			continue
		}
		if err := h.RouteDel(&r); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("removing route to %s: %w", r.Dst, err)
		}
	}
	return applyRules(h, rules)
}

func routeKey(table int, dst *net.IPNet) string {
	if dst == nil {
		return fmt.Sprintf("%d 0.0.0.0/0", table)
	}
	return fmt.Sprintf("%d %s", table, dst)
}

func kernelForm(r kernelRoute, devices map[string]int) (netlink.Route, bool) {
	route := netlink.Route{Table: r.Table, Dst: ipNet(r.Destination), Protocol: routeProtocol}
	switch r.Hop {
	case hopBlackhole:
		route.Type = unix.RTN_BLACKHOLE
		return route, true
	case hopInternet:
		route.LinkIndex, route.Gw = devices["igw"], net.ParseIP(nth(linkInetVPC, 1))
	case hopService:
		route.LinkIndex, route.Gw = devices["aws"], net.ParseIP(nth(linkVPCAWS, 2))
	default:
		route.LinkIndex, route.Scope = devices[string(r.Hop)], netlink.SCOPE_LINK
		if r.Gateway.IsValid() {
			route.Gw, route.Scope, route.Flags = r.Gateway.AsSlice(), netlink.SCOPE_UNIVERSE, int(netlink.FLAG_ONLINK)
		}
		// The router speaks to its ports as the router, whatever else it is.
		route.Src = net.ParseIP(vpcRouter)
	}
	return route, route.LinkIndex != 0
}

func applyRules(h *netlink.Handle, rules []kernelRule) error {
	wanted := map[kernelRule]bool{}
	for _, r := range rules {
		wanted[r] = true
	}
	old, err := h.RuleList(netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("listing rules: %w", err)
	}
	for _, r := range old {
		if r.Protocol != routeProtocol {
			continue
		}
		have := kernelRule{Device: r.IifName, Table: r.Table}
		if wanted[have] {
			delete(wanted, have)
			continue
		}
		if err := h.RuleDel(&r); err != nil {
			return fmt.Errorf("removing rule of %q: %w", r.IifName, err)
		}
	}
	for r := range wanted {
		rule := netlink.NewRule()
		rule.IifName, rule.Table, rule.Priority, rule.Protocol = r.Device, r.Table, 1000, routeProtocol
		if err := h.RuleAdd(rule); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("adding rule of %q: %w", r.Device, err)
		}
	}
	return nil
}
