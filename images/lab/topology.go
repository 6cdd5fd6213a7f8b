// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// MTUs: a VPC carries jumbo frames, the internet does not.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/network_mtu.html
const (
	vpcMTU      = 9001
	internetMTU = 1500
)

// instanceDevice is what Linux calls the first interface of a Nitro instance.
const instanceDevice = "ens5"

// topology is the part of the lab's network that does not change.
type topology struct {
	inet, vpc, aws namespace
	hosts          map[string]namespace
}

func newTopology(o Options) topology {
	t := topology{
		inet:  openNamespace(namespaceName(o.Name, "inet")),
		vpc:   openNamespace(namespaceName(o.Name, "vpc")),
		aws:   openNamespace(namespaceName(o.Name, "aws")),
		hosts: map[string]namespace{},
	}
	for _, h := range o.Hosts {
		t.hosts[h.Name] = openNamespace(namespaceName(o.Name, h.Name))
	}
	return t
}

func (t topology) build(o Options) error {
	for _, ns := range []namespace{t.inet, t.vpc, t.aws} {
		if err := ns.create(); err != nil {
			return err
		}
		if err := ns.do(makeRouter); err != nil {
			return fmt.Errorf("making %q a router: %w", ns.name, err)
		}
	}
	if err := t.buildInternet(o); err != nil {
		return fmt.Errorf("building the internet: %w", err)
	}
	if err := t.buildServices(); err != nil {
		return fmt.Errorf("building the services' network: %w", err)
	}
	if err := t.buildFabric(); err != nil {
		return fmt.Errorf("building the VPC's fabric: %w", err)
	}
	return nil
}

func makeRouter() error {
	return setSysctls(map[string]string{
		"net/ipv4/ip_forward": "1",
		// A router with one leg per instance: what comes and goes is decided
		// by rules and nftables, not by guesses.
		"net/ipv4/conf/all/send_redirects":     "0",
		"net/ipv4/conf/default/send_redirects": "0",
		"net/ipv6/conf/all/disable_ipv6":       "1",
		"net/ipv6/conf/default/disable_ipv6":   "1",
	})
}

func (t topology) buildInternet(o Options) error {
	err := inside(t.inet, func(h *netlink.Handle) error {
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "hosts", MTU: internetMTU}}
		if err := h.LinkAdd(bridge); err != nil {
			return fmt.Errorf("adding bridge: %w", err)
		}
		return setUp(h, "hosts", internetRouter)
	})
	if err != nil {
		return err
	}
	for _, spec := range o.Hosts {
		ns := t.hosts[spec.Name]
		if err := ns.create(); err != nil {
			return err
		}
		if err := connect(t.inet, "h-"+spec.Name, ns, "eth0", internetMTU, nil); err != nil {
			return err
		}
		err := inside(t.inet, func(h *netlink.Handle) error {
			bridge, err := h.LinkByName("hosts")
			if err != nil {
				return err
			}
			link, err := h.LinkByName("h-" + spec.Name)
			if err != nil {
				return err
			}
			return errors.Join(h.LinkSetMaster(link, bridge), h.LinkSetUp(link))
		})
		if err != nil {
			return fmt.Errorf("plugging in host %q: %w", spec.Name, err)
		}
		router := netip.MustParsePrefix(internetRouter)
		err = inside(ns, func(h *netlink.Handle) error {
			if err := setUp(h, "eth0", netip.PrefixFrom(spec.Address, router.Bits()).String()); err != nil {
				return err
			}
			return routeVia(h, "eth0", "0.0.0.0/0", router.Addr().String())
		})
		if err != nil {
			return fmt.Errorf("addressing host %q: %w", spec.Name, err)
		}
	}
	return t.link(t.inet, "vpc", t.vpc, "igw", linkInetVPC, publicNetwork, "")
}

func (t topology) buildServices() error {
	if err := t.link(t.inet, "aws", t.aws, "inet", linkInetAWS, serviceNetwork, "0.0.0.0/0"); err != nil {
		return err
	}
	if err := t.link(t.vpc, "aws", t.aws, "vpc", linkVPCAWS, "", vpcNetwork); err != nil {
		return err
	}
	return inside(t.aws, func(h *netlink.Handle) error {
		return setUp(h, "lo", endpointAddress+"/32", metadataAddress+"/32")
	})
}

func (t topology) buildFabric() error {
	return inside(t.vpc, func(h *netlink.Handle) error {
		if err := setUp(h, "lo", vpcRouter+"/32", vpcResolver+"/32"); err != nil {
			return err
		}
		for _, r := range []string{serviceNetwork, metadataAddress + "/32"} {
			if err := routeVia(h, "aws", r, nth(linkVPCAWS, 2)); err != nil {
				return err
			}
		}
		return nil
	})
}

// link joins two routers; each gets a route by way of the other.
func (t topology) link(a namespace, aName string, b namespace, bName, network, aRoute, bRoute string) error {
	if err := connect(a, aName, b, bName, internetMTU, nil); err != nil {
		return err
	}
	one, two := nth(network, 1), nth(network, 2)
	for _, end := range []struct {
		ns                       namespace
		device, own, peer, route string
	}{{a, aName, one, two, aRoute}, {b, bName, two, one, bRoute}} {
		err := inside(end.ns, func(h *netlink.Handle) error {
			if err := setUp(h, end.device, end.own+"/30"); err != nil || end.route == "" {
				return err
			}
			return routeVia(h, end.device, end.route, end.peer)
		})
		if err != nil {
			return fmt.Errorf("linking %q and %q: %w", a.name, b.name, err)
		}
	}
	return nil
}

// nth gives an address of a link network.
func nth(network string, n int) string {
	addr := netip.MustParsePrefix(network).Addr()
	for range n {
		addr = addr.Next()
	}
	return addr.String()
}

// plugIn makes the instance's namespace anew, with its interface, and the
// port in the VPC. Anew at each boot: what a machine had configured must not
// outlive its reboot.
func (t topology) plugIn(instance namespace, name, mac string) error {
	if err := t.unplug(instance, name); err != nil {
		return err
	}
	if err := instance.create(); err != nil {
		return err
	}
	hardware, err := net.ParseMAC(mac)
	if err != nil {
		return fmt.Errorf("plugging in instance %q: %w", name, err)
	}
	if err := connect(t.vpc, "p-"+name, instance, instanceDevice, vpcMTU, hardware); err != nil {
		return err
	}
	// A machine finds its cable plugged in. Were it the machine that sets the
	// interface up, the kernel would take up to a second to open the port
	// (link watch), and its first DHCP request would be lost.
	err = inside(instance, func(h *netlink.Handle) error { return setUp(h, instanceDevice) })
	if err != nil {
		return fmt.Errorf("plugging in instance %q: %w", name, err)
	}
	return t.openPort(name)
}

// openPort makes a device of the VPC a port of the fabric.
func (t topology) openPort(name string) error {
	err := inside(t.vpc, func(h *netlink.Handle) error { return setUp(h, "p-"+name, vpcRouter+"/32") })
	if err != nil {
		return fmt.Errorf("opening port of instance %q: %w", name, err)
	}
	return t.vpc.do(func() error {
		// The port answers ARP for every address that there is a route to,
		// as the VPC does, and without the kernel's random delay.
		return setSysctls(map[string]string{
			"net/ipv4/conf/p-" + name + "/proxy_arp":    "1",
			"net/ipv4/neigh/p-" + name + "/proxy_delay": "0",
		})
	})
}

// plugTap makes the port a tap device, which a whole machine is attached to.
func (t topology) plugTap(instance namespace, name string) error {
	if err := t.unplug(instance, name); err != nil {
		return err
	}
	err := t.vpc.do(func() error {
		return netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "p-" + name, MTU: vpcMTU},
			Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_ONE_QUEUE, NonPersist: false})
	})
	if err != nil {
		return fmt.Errorf("plugging in machine %q: adding tap device: %w", name, err)
	}
	return t.openPort(name)
}

func (t topology) unplug(instance namespace, name string) error {
	err := inside(t.vpc, func(h *netlink.Handle) error {
		link, err := h.LinkByName("p-" + name)
		var gone netlink.LinkNotFoundError
		if errors.As(err, &gone) {
			return nil
		}
		if err != nil {
			return err
		}
		return h.LinkDel(link)
	})
	if err != nil {
		return fmt.Errorf("unplugging instance %q: %w", name, err)
	}
	return instance.delete()
}

// inside runs f with a netlink handle in the namespace.
func inside(ns namespace, f func(h *netlink.Handle) error) error {
	h, err := ns.handle()
	if err != nil {
		return err
	}
	defer h.Close()
	return f(h)
}

// connect makes a veth pair whose ends are born in two namespaces; no end is
// ever in the host's own.
func connect(a namespace, aName string, b namespace, bName string, mtu int, mac net.HardwareAddr) error {
	peer, err := b.fd()
	if err != nil {
		return fmt.Errorf("connecting %q and %q: %w", a.name, b.name, err)
	}
	defer peer.Close()
	veth := &netlink.Veth{
		LinkAttrs:        netlink.LinkAttrs{Name: aName, MTU: mtu},
		PeerName:         bName,
		PeerNamespace:    netlink.NsFd(int(peer.Fd())),
		PeerHardwareAddr: mac,
	}
	if err := inside(a, func(h *netlink.Handle) error { return h.LinkAdd(veth) }); err != nil {
		return fmt.Errorf("connecting %q in %q and %q in %q: %w", aName, a.name, bName, b.name, err)
	}
	// A peer takes the kernel's default MTU.
	return inside(b, func(h *netlink.Handle) error {
		link, err := h.LinkByName(bName)
		if err != nil {
			return err
		}
		return h.LinkSetMTU(link, mtu)
	})
}

func setUp(h *netlink.Handle, device string, addresses ...string) error {
	link, err := h.LinkByName(device)
	if err != nil {
		return fmt.Errorf("finding device %q: %w", device, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("setting device %q up: %w", device, err)
	}
	for _, a := range addresses {
		address, err := netlink.ParseAddr(a)
		if err != nil {
			return err
		}
		if strings.HasPrefix(a, "169.254.") {
			address.Scope = unix.RT_SCOPE_UNIVERSE
		}
		if err := h.AddrAdd(link, address); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("adding address %q to %q: %w", a, device, err)
		}
	}
	return nil
}

func routeVia(h *netlink.Handle, device, destination, gateway string) error {
	link, err := h.LinkByName(device)
	if err != nil {
		return fmt.Errorf("finding device %q: %w", device, err)
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(netip.MustParsePrefix(destination)), Gw: net.ParseIP(gateway)}
	if err := h.RouteReplace(route); err != nil {
		return fmt.Errorf("adding route to %q via %q: %w", destination, gateway, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: net.IP(p.Addr().AsSlice()), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
