// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bundle

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// DefaultNetwork is the tunnel network of a launch that names none.
const DefaultNetwork = "10.0.255.0/24"

// PrivateNetworks are what a tunnel network is a part of: those of RFC 1918, and
// RFC 6598's for carriers, which many choose for tunnels because offices do not
// have it. Every other address has an owner, whom the clients could not reach.
func PrivateNetworks() []string {
	return []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"}
}

// IsPrivate tells whether a network is a part of one of [PrivateNetworks].
func IsPrivate(network netip.Prefix) bool {
	return slices.ContainsFunc(PrivateNetworks(), func(block string) bool {
		outer := netip.MustParsePrefix(block)
		return outer.Bits() <= network.Bits() && outer.Contains(network.Addr())
	})
}

// AddressPlan is who has which address of the tunnel network. The gateway
// serves by it, and the operator's desk gives addresses by it.
//
// The lower half is for people with an address of their own, the upper half is
// the pool; OpenVPN does not keep the two apart by itself, and a pool address
// that somebody also owns goes to two people at once.
type AddressPlan struct {
	Network   netip.Prefix
	Gateway   netip.Addr // the first
	PoolFirst netip.Addr // the first of the upper half
	PoolLast  netip.Addr
	Probe     netip.Addr // the last
}

// PlanAddresses lays out an IPv4 network of /29 or more.
func PlanAddresses(network netip.Prefix) AddressPlan {
	base := network.Addr().As4()
	first := binary.BigEndian.Uint32(base[:])
	size := uint32(1) << (32 - network.Bits())
	at := func(offset uint32) netip.Addr {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], first+offset)
		return netip.AddrFrom4(b)
	}
	return AddressPlan{
		Network:   network,
		Gateway:   at(1),
		PoolFirst: at(size / 2),
		PoolLast:  at(size - 3), // below the probe and the broadcast address
		Probe:     at(size - 2),
	}
}

// Mask is the network's, as OpenVPN writes it.
func (p AddressPlan) Mask() string { return net.IP(net.CIDRMask(p.Network.Bits(), 32)).String() }

// Clients is how many can be on at once: all but the network's, the
// broadcast, and the gateway's address.
func (p AddressPlan) Clients() int { return 1<<(32-p.Network.Bits()) - 3 }

// CheckOwn refuses an address that nobody can own.
func (p AddressPlan) CheckOwn(address netip.Addr) error {
	if address.Compare(p.Gateway) <= 0 || address.Compare(p.PoolFirst) >= 0 {
		return fmt.Errorf("allowed are %s to %s, the part of the tunnel network %s that is not dynamic", p.Gateway.Next(), p.PoolFirst.Prev(), p.Network)
	}
	return nil
}

// Judge refuses addresses of the roster that are not free to be owned.
func (p AddressPlan) Judge(roster []Person) error {
	owner := map[netip.Addr]string{}
	for _, person := range roster {
		address := person.Address
		if !address.IsValid() {
			continue
		}
		if err := p.CheckOwn(address); err != nil {
			return fmt.Errorf("giving %q the address %s: %w", person.Name, address, err)
		}
		if other, taken := owner[address]; taken {
			return fmt.Errorf("giving %q the address %s: %q has it already", person.Name, address, other)
		}
		owner[address] = person.Name
	}
	return nil
}

// Free is the lowest address that can be owned and is not taken.
func (p AddressPlan) Free(taken map[netip.Addr]bool) (netip.Addr, error) {
	for a := p.Gateway.Next(); a.Less(p.PoolFirst); a = a.Next() {
		if !taken[a] {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("all addresses from %s to %s of the tunnel network %s are taken: \"vpnami-pki roster set NAME --ip none\" frees that of who left", p.Gateway.Next(), p.PoolFirst.Prev(), p.Network)
}
