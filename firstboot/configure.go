// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// Role is what an instance is launched as.
type Role string

// The two roles of the one image.
const (
	RoleVPN  Role = "vpn"
	RoleStep Role = "step"
)

// Config is what the launch decided, over the defaults of the image.
type Config struct {
	Role    Role
	Secret  SecretNames
	Network netip.Prefix   // tunnel addresses; zero for a step without
	Routes  []netip.Prefix // what the clients reach through the tunnel
	Port    uint16
	Proto   string // "udp" or "tcp"
	DNS     []netip.Addr
	NAT     string // "masquerade", "per-client" or "routed"
	SSH     string // "vpc" or "tunnel": may tunnel clients reach the gateway's sshd
	// Egress are networks of the VPC whose machines fetch their updates through
	// the gateway.
	Egress []netip.Prefix
	Health string // "none" or "tcp": does a port tell the VPC that the daemon runs
	// Addresses are networks of the VPC that stand, under nat: per-client, for the
	// part of the tunnel network in which people own addresses; Own is what of it EC2
	// has assigned to the interface, and Missing the rest.
	Addresses    []netip.Prefix
	Own, Missing []Piece
}

// SecretNames are the two secrets, by name or ARN.
type SecretNames struct {
	Server, Access string
}

// Defaults of the image; the article's values.
const (
	// defaultPort is IANA's for OpenVPN.
	defaultPort = 1194
	// lowestPort: the daemon has CAP_NET_ADMIN and nothing else, so that the
	// kernel gives it no port below.
	lowestPort = 1024

	natMasquerade = "masquerade"
	natRouted     = "routed"
	natPerClient  = "per-client"
	sshVPC        = "vpc"
	sshTunnel     = "tunnel"
	healthNone    = "none"
	healthTCP     = "tcp"

	// healthPort is that of vpnami-health.socket, for a load balancer: the
	// checks of one in front of UDP are made over TCP.
	healthPort = 1195
)

var errNoDocument = errors.New("the user-data has no document of vpnami")

const (
	documentAdvice = "launch the instance with user-data that begins with the lines \"#vpnami\" and \"role: vpn\" (or step), which can be changed while the instance is stopped, or with the tags \"vpnami:role\" and \"vpnami:secret\" and tags in its metadata enabled"
	problemAdvice  = "correct the user-data (it can be changed while the instance is stopped) or launch a new instance"
	tagAdvice      = "correct the instance's tags, which are read again by themselves, or launch it with user-data"
)

// configure reads what the launch decided: from the user-data, or, where that
// has no document, from the tags. Everything that is wrong with it is told at
// once.
func configure(instance Instance) (Config, error) {
	document, err := findDocument(instance.UserData)
	if err != nil {
		return Config{}, refusing(fmt.Errorf("reading the user-data: %w", err), documentAdvice)
	}
	from, advice := "user-data", problemAdvice
	if document == nil {
		document, from, advice = instance.Tags.document(), "tags", tagAdvice
	}
	if document == nil {
		return Config{}, waitingFor(fmt.Errorf("reading the user-data: %w", errNoDocument), documentAdvice)
	}
	d, err := parseDocument(document)
	if err != nil {
		return Config{}, refusing(fmt.Errorf("reading the %s: %w", from, err), documentAdvice)
	}
	c := d.config(instance)
	c.judge(d, instance)
	if err := errors.Join(d.problems...); err != nil {
		return Config{}, refusing(fmt.Errorf("reading the %s: %w", from, err), "%s", advice)
	}
	if c.NAT == natPerClient {
		c.Own, c.Missing = assigned(pieces(bundle.PlanAddresses(c.Network), c.Addresses), instance.Prefixes)
	}
	return c, nil
}

// document is what the tags say as a document, so that they are judged as one;
// nil, if they say nothing. A tag holds 256 characters, and so the rest has its
// defaults: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html
func (t LaunchTags) document() []byte {
	if t == (LaunchTags{}) {
		return nil
	}
	text := documentHead + "\n"
	for _, key := range []struct{ name, value string }{{"role", t.Role}, {"secret", t.Secret}} {
		if key.value != "" {
			// Go quotes as YAML does, but for what is no valid UTF-8.
			text += fmt.Sprintf("%s: %q\n", key.name, strings.ToValidUTF8(key.value, "?"))
		}
	}
	return []byte(text)
}

// config takes the keys one by one; the document keeps the problems.
func (d *document) config(instance Instance) Config {
	c := Config{Role: Role(d.word("role", "", string(RoleVPN), string(RoleStep)))}
	if c.Role == RoleStep {
		// A bastion whose gateway routes (nat: routed) sees the clients' own
		// addresses, so it must know the network; it has no use for the rest.
		c.Network = d.prefix("network", "")
		d.refuseRest("is for the role vpn only: allowed with the role step are \"role\" and \"network\"")
		return c
	}
	c.Secret = d.secret(instance.Region)
	c.Network = d.prefix("network", bundle.DefaultNetwork)
	c.Routes = d.prefixes("routes", instance.VPC)
	c.Port = d.port("port", defaultPort)
	c.Proto = d.word("proto", "udp", "udp", "tcp")
	c.DNS = d.addresses("dns")
	c.NAT = d.word("nat", natMasquerade, natMasquerade, natPerClient, natRouted)
	c.SSH = d.word("ssh", sshVPC, sshVPC, sshTunnel)
	c.Egress = d.prefixes("egress", nil)
	c.Health = d.word("health", healthNone, healthNone, healthTCP)
	c.Addresses = d.prefixes("addresses", nil)
	return c
}

// judge refuses what each key alone does not show: networks that overlap where
// they may not.
func (c Config) judge(d *document, instance Instance) {
	if c.Network.IsValid() {
		c.judgeNetwork(d, instance)
		c.judgeOwn(d, instance)
	}
	for i, route := range c.Routes {
		key := fmt.Sprintf("routes[%d]", i)
		if special, what := specialPurpose(route); special {
			d.problem(key, fmt.Sprintf("%q covers %s: allowed are networks that hosts are in", route, what))
		}
		if route.Bits() == 0 {
			d.problem(key, fmt.Sprintf("%q is every address: allowed are the networks behind the gateway (the tunnel is not for the rest of the internet)", route))
			continue
		}
		if slices.Contains(c.Routes[:i], route) {
			d.problem(key, fmt.Sprintf("%q is there twice", route))
		}
		if c.Network.IsValid() && c.Network.Overlaps(route) && route.Bits() >= c.Network.Bits() {
			d.problem(key, fmt.Sprintf("%q lies in the tunnel network %q: allowed are networks outside it", route, c.Network))
		}
		if instance.Public.IsValid() && route.Contains(instance.Public) {
			d.problem(key, fmt.Sprintf("%q has the gateway's own public address %s in it: the tunnel would be sent into itself", route, instance.Public))
		}
	}
	for i, network := range c.Egress {
		key := fmt.Sprintf("egress[%d]", i)
		if !partOf(network, instance.VPC) {
			d.problem(key, fmt.Sprintf("%q is not in the VPC: allowed are networks of its subnets, whose route tables lead to the gateway", network))
		}
		if c.Network.IsValid() && c.Network.Overlaps(network) {
			d.problem(key, fmt.Sprintf("%q overlaps the tunnel network %q, whose clients reach the \"routes\" and nothing else", network, c.Network))
		}
	}
	if c.Health == healthTCP && c.Proto == "tcp" && c.Port == healthPort {
		d.problem("health", fmt.Sprintf("%q answers at TCP %d, which is the daemon's own port: allowed is another \"port\"", healthTCP, healthPort))
	}
	for i, address := range c.DNS {
		key := fmt.Sprintf("dns[%d]", i)
		if special, what := specialPurpose(netip.PrefixFrom(address, 32)); special {
			d.problem(key, fmt.Sprintf("%q is of %s, which no client can ask: allowed is a DNS server's address, such as the VPC's %s", address, what, resolver(instance)))
		}
		if slices.Contains(c.DNS[:i], address) {
			d.problem(key, fmt.Sprintf("%q is there twice", address))
		}
		if c.Network.IsValid() && c.Network.Contains(address) {
			d.problem(key, fmt.Sprintf("%q lies in the tunnel network %q, where no DNS server is", address, c.Network))
		}
	}
}

func (c Config) judgeNetwork(d *document, instance Instance) {
	network := c.Network
	if special, what := specialPurpose(network); special {
		d.problem("network", fmt.Sprintf("%q covers %s: allowed are private networks, such as %q", network, what, bundle.DefaultNetwork))
		return
	}
	if instance.Public.IsValid() && network.Contains(instance.Public) {
		d.problem("network", fmt.Sprintf("%q has the instance's own public address %s in it", network, instance.Public))
		return
	}
	if network.Bits() >= 16 && !bundle.IsPrivate(network) {
		d.problem("network", fmt.Sprintf("%q is of the internet's addresses, whose owners the clients could not reach: allowed are parts of %s, such as %q", network, strings.Join(bundle.PrivateNetworks(), ", "), bundle.DefaultNetwork))
		return
	}
	// /16 is as much as OpenVPN's pool takes (65,536); a /29 has the gateway,
	// the probe and 4 addresses for people.
	if network.Bits() > 29 {
		d.problem("network", fmt.Sprintf("%q is too small (the gateway and its probe take two addresses): allowed are /16 to /29", network))
		return
	}
	if network.Bits() < 16 {
		d.problem("network", fmt.Sprintf("%q is too large: allowed are /16 to /29", network))
		return
	}
	for _, taken := range takenAddresses(instance) {
		if network.Contains(taken.address) {
			d.problem("network", fmt.Sprintf("%q has %s in it (%s): allowed are networks that are free in the VPC", network, taken.address, taken.what))
			return
		}
	}
	for _, block := range instance.VPC {
		switch {
		case !network.Overlaps(block):
		case c.NAT == natRouted:
			d.problem("network", fmt.Sprintf("%q lies in the VPC's block %q, which a VPC cannot route to the gateway: allowed with nat: routed are networks outside the VPC (or choose nat: masquerade)", network, block))
			return
		case network.Bits() <= block.Bits():
			d.problem("network", fmt.Sprintf("%q covers the VPC's block %q: allowed is a part of it, or a network outside", network, block))
			return
		}
	}
}

type takenAddress struct {
	address netip.Addr
	what    string
}

// takenAddresses are those in use near every instance: AWS keeps the first
// four of each subnet, and the resolver is at +2 of each VPC block
// (https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html).
func takenAddresses(instance Instance) []takenAddress {
	base := instance.Subnet.Addr()
	router := base.Next()
	taken := []takenAddress{
		{instance.Address, "the instance's own address"},
		{base, "the subnet's network address"},
		{router, "the subnet's router"},
		{router.Next(), "the subnet's DNS address"},
		{router.Next().Next(), "kept by AWS in each subnet"},
	}
	for _, block := range instance.VPC {
		taken = append(taken, takenAddress{block.Addr().Next().Next(), "the VPC's DNS resolver"})
	}
	return taken
}

func resolver(instance Instance) netip.Addr {
	if len(instance.VPC) == 0 {
		return netip.Addr{}
	}
	return instance.VPC[0].Addr().Next().Next()
}

// specialPurpose tells of networks that no host of a VPC has an address in:
// https://www.iana.org/assignments/iana-ipv4-special-registry
func specialPurpose(network netip.Prefix) (bool, string) {
	for _, special := range []struct{ network, what string }{
		{"127.0.0.0/8", "the loopback addresses"},
		{"169.254.0.0/16", "the link-local addresses (the instance metadata service)"},
		{"224.0.0.0/4", "the multicast addresses"},
		{"240.0.0.0/4", "the reserved addresses"},
		{"0.0.0.0/8", "the addresses of \"this network\""},
	} {
		if network.Bits() > 0 && network.Overlaps(netip.MustParsePrefix(special.network)) {
			return true, special.what
		}
	}
	return false, ""
}

func quoted(words []string) string {
	out := make([]string, 0, len(words))
	for _, word := range words {
		out = append(out, fmt.Sprintf("%q", word))
	}
	return strings.Join(out, ", ")
}
