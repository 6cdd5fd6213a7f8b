// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// plan is who has which address of the tunnel network.
//
// The lower half is for people with an address of their own, the upper half is
// the pool; OpenVPN does not keep the two apart by itself, and a pool address
// that somebody also owns goes to two people at once.
type plan struct {
	network   netip.Prefix
	gateway   netip.Addr // the first
	poolFirst netip.Addr // the first of the upper half
	poolLast  netip.Addr
	probe     netip.Addr // the last
}

func planAddresses(network netip.Prefix) plan {
	base := network.Addr().As4()
	first := binary.BigEndian.Uint32(base[:])
	size := uint32(1) << (32 - network.Bits())
	at := func(offset uint32) netip.Addr {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], first+offset)
		return netip.AddrFrom4(b)
	}
	return plan{
		network:   network,
		gateway:   at(1),
		poolFirst: at(size / 2),
		poolLast:  at(size - 3), // below the probe and the broadcast address
		probe:     at(size - 2),
	}
}

func (p plan) mask() string {
	return net.IP(net.CIDRMask(p.network.Bits(), 32)).String()
}

// clients is how many can be on at once: all but the network's, the
// broadcast, and the gateway's address.
func (p plan) clients() int { return 1<<(32-p.network.Bits()) - 3 }

// judge refuses addresses of the roster that are not free to be owned.
func (p plan) judge(roster []bundle.Person) error {
	owner := map[netip.Addr]string{}
	for _, person := range roster {
		address := person.Address
		if !address.IsValid() {
			continue
		}
		if address.Compare(p.gateway) <= 0 || address.Compare(p.poolFirst) >= 0 {
			return fmt.Errorf("giving %q the address %s: allowed are %s to %s, the part of the tunnel network %s that is not dynamic",
				person.Name, address, p.gateway.Next(), p.poolFirst.Prev(), p.network)
		}
		if other, taken := owner[address]; taken {
			return fmt.Errorf("giving %q the address %s: %q has it already", person.Name, address, other)
		}
		owner[address] = person.Name
	}
	return nil
}
