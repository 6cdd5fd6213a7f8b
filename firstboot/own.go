// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// Under nat: per-client, who has a fixed address in the tunnel has one of the VPC's
// as well, by which the logs there tell people apart. Which one is arithmetic: the
// networks that the launch names are laid, in their order, beside the part of the
// tunnel network in which people own addresses. It moves neither with who comes and
// goes nor with what AWS has assigned so far: an address in a log of last year is
// still that person's.

// Piece is a part of the tunnel network and the part of the VPC that stands for it:
// of one size, address by address.
type Piece struct {
	Tunnel netip.Prefix `json:"tunnel"`
	VPC    netip.Prefix `json:"vpc"`
}

// pieceBits is the size in which AWS assigns an interface more than one address:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-prefix-eni.html
const pieceBits = 28

// pieces lays networks of the VPC beside the part of the tunnel network that people
// own addresses in; what is left over of either has no piece.
func pieces(p bundle.AddressPlan, networks []netip.Prefix) []Piece {
	// In a tunnel network of less than /27 people own less than a piece.
	bits := max(pieceBits, p.Network.Bits()+1)
	tunnel := netip.PrefixFrom(p.Network.Addr(), bits)
	var all []Piece
	for _, network := range networks {
		vpc := netip.PrefixFrom(network.Addr(), pieceBits)
		for network.Contains(vpc.Addr()) && tunnel.Addr().Less(p.PoolFirst) {
			all = append(all, Piece{tunnel, netip.PrefixFrom(vpc.Addr(), bits)})
			vpc, tunnel = beyond(vpc), beyond(tunnel)
		}
	}
	return all
}

// beyond is the next network of the same size.
func beyond(network netip.Prefix) netip.Prefix {
	b := network.Addr().As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+1<<(32-network.Bits()))
	return netip.PrefixFrom(netip.AddrFrom4(b), network.Bits())
}

// assigned parts pieces into those whose addresses are the interface's, and the rest:
// what leaves with an address that is not, EC2 drops.
func assigned(all []Piece, prefixes []netip.Prefix) (own, missing []Piece) {
	for _, piece := range all {
		if partOf(piece.VPC, prefixes) {
			own = append(own, piece)
		} else {
			missing = append(missing, piece)
		}
	}
	return own, missing
}

// judgeOwn refuses addresses that cannot be people's.
func (c Config) judgeOwn(d *document, instance Instance) {
	if c.NAT != natPerClient {
		if len(c.Addresses) > 0 {
			d.problem("addresses", fmt.Sprintf("is for \"nat: %s\" only", natPerClient))
		}
		return
	}
	if len(c.Addresses) == 0 {
		d.problem("addresses", fmt.Sprintf("is missing: required with \"nat: %s\" are networks of the instance's subnet %s whose /%d parts the launch assigns to its interface, such as [\"10.0.1.64/27\"]", natPerClient, instance.Subnet, pieceBits))
		return
	}
	// Who broadcasts in the subnet is AWS's to say, too.
	taken := append(takenAddresses(instance), takenAddress{last(instance.Subnet), "kept by AWS in each subnet"})
	room := 1 << (31 - c.Network.Bits()) // for people, in the lower half
	for i, network := range c.Addresses {
		key := fmt.Sprintf("addresses[%d]", i)
		if network.Bits() > pieceBits || network.Bits() < 16 {
			d.problem(key, fmt.Sprintf("%q is not of a size that AWS assigns: allowed are /16 to /%d", network, pieceBits))
			continue
		}
		if !partOf(network, []netip.Prefix{instance.Subnet}) {
			d.problem(key, fmt.Sprintf("%q is not in the instance's subnet %q: allowed are parts of it, since an interface has no others", network, instance.Subnet))
		}
		if network.Overlaps(c.Network) {
			d.problem(key, fmt.Sprintf("%q overlaps the tunnel network %q: allowed are other addresses of the subnet", network, c.Network))
		}
		for _, other := range c.Addresses[:i] {
			if network.Overlaps(other) {
				d.problem(key, fmt.Sprintf("%q overlaps %q: allowed is each address once", network, other))
			}
		}
		for _, other := range taken {
			if network.Contains(other.address) {
				d.problem(key, fmt.Sprintf("%q has %s in it (%s): allowed are networks that are free in the subnet", network, other.address, other.what))
				break
			}
		}
		if room <= 0 {
			d.problem(key, fmt.Sprintf("%q is more than people can own of the tunnel network %q, the lower half: leave it out, or choose a larger \"network\"", network, c.Network))
		}
		room -= 1 << (32 - network.Bits())
	}
}

// last is a network's broadcast address.
func last(network netip.Prefix) netip.Addr {
	return beyond(network).Addr().Prev()
}

// OwnEnd is whom the VPC tells apart, and by which addresses.
type OwnEnd struct {
	Pieces []Piece `json:"pieces"` // in force
	// Missing are named by the launch and not assigned by EC2: as good as none.
	Missing []Piece `json:"missing,omitempty"`
	People  int     `json:"people"`         // who have a VPC address of their own
	Lost    int     `json:"lost,omitempty"` // who would have one, if nothing were missing
	Others  int     `json:"others"`         // the rest of the roster
}

// ownEnd is nil where everybody is translated in one way.
func ownEnd(c Config, roster []bundle.Person) *OwnEnd {
	if c.NAT != natPerClient {
		return nil
	}
	end := &OwnEnd{Pieces: append([]Piece{}, c.Own...), Missing: c.Missing}
	for _, person := range roster {
		switch {
		case hasTunnel(c.Own, person.Address):
			end.People++
		case hasTunnel(c.Missing, person.Address):
			end.Lost++
		default:
			end.Others++
		}
	}
	return end
}

func hasTunnel(list []Piece, address netip.Addr) bool {
	for _, piece := range list {
		if piece.Tunnel.Contains(address) {
			return true
		}
	}
	return false
}

// doubt tells of people whom no log of the VPC tells apart, though nothing is missing.
func (o *OwnEnd) doubt() string {
	if o == nil || o.Others == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d people have no VPC address of their own, and the logs there show the gateway's for them: give each a fixed one (\"vpnami-pki roster set NAME --ip auto\", and publish), and the launch \"addresses\" for as many", o.Others, o.all())
}

func (o *OwnEnd) all() int { return o.People + o.Lost + o.Others }

// maxNamed keeps a cause to a line: a launch may name some fifty prefixes.
const maxNamed = 4

// lack tells what the launch names and EC2 has not assigned; nil, if there is nothing.
func (o *OwnEnd) lack() error {
	if o == nil || len(o.Missing) == 0 {
		return nil
	}
	var named []string
	for _, piece := range o.Missing[:min(len(o.Missing), maxNamed)] {
		named = append(named, netip.PrefixFrom(piece.VPC.Addr(), pieceBits).String())
	}
	more := ""
	if n := len(o.Missing) - len(named); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return waitingFor(fmt.Errorf("looking for people's addresses on the instance's interface: EC2 has not assigned it %s%s, and the VPC sees the gateway's own of %d of %d people", strings.Join(named, ", "), more, o.Lost, o.all()),
		"assign them: \"aws ec2 assign-private-ip-addresses --network-interface-id eni-... --ipv4-prefixes %s\" (where EC2 refuses, somebody else has one of them); it is noticed within a minute, and no session feels it", strings.Join(named, " "))
}

// told refuses to begin where no log of the VPC would tell anybody apart. Once people
// are let in, they are not shut out for it.
func (b boot) told(disk store, in intent) error {
	if in.config.NAT != natPerClient || len(in.config.Own) > 0 {
		return nil
	}
	if good, ok := disk.read(b.layout.proven()); ok && good.Role == RoleVPN {
		return nil
	}
	return ownEnd(in.config, in.bundle.Access.Roster).lack()
}

// settled tells of a run that has put into force all that it was given, whatever EC2
// has not assigned: there is nothing to try again before that changes, which a sync
// sees.
func (r Result) settled() bool {
	lack := r.Own.lack()
	return r.State == Ready || r.State == Degraded && lack != nil && r.Cause == oneLine(lack)
}

// exitCode is that of a run that ended so.
func (r Result) exitCode() int {
	if r.settled() {
		return exitReady
	}
	return r.State.exitCode()
}
