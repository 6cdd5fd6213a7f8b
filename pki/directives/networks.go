// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package directives

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// addressesOf are arguments that are addresses of IPv4, as numbers. Those that are none
// are told of elsewhere.
func addressesOf(args []string) ([]uint32, bool) {
	var numbers []uint32
	for _, text := range args {
		a, err := netip.ParseAddr(text)
		if err != nil || !a.Is4() {
			return nil, false
		}
		b := a.As4()
		numbers = append(numbers, binary.BigEndian.Uint32(b[:]))
	}
	return numbers, true
}

// lengthOf is how many bits a netmask has, and false if they are not its first ones.
func lengthOf(mask uint32) (int, bool) {
	n := bits.LeadingZeros32(^mask)
	return n, mask<<n == 0
}

// servesNetwork tells whether "server" takes a network and its netmask: of 65536
// addresses at most, and of 8 at least.
func servesNetwork(args []string) bool {
	if len(args) < 2 {
		return true
	}
	a, are := addressesOf(args[:2])
	if !are {
		return true
	}
	n, is := lengthOf(a[1])
	return is && n >= 16 && n <= 29 && a[0]&^a[1] == 0
}

// servesBridge tells whether "server-bridge" takes its own address, a netmask, and the
// first and the last address of clients.
func servesBridge(args []string) bool {
	a, are := addressesOf(args)
	if !are || len(a) != 4 {
		return true
	}
	_, is := lengthOf(a[1])
	return is && a[0]&a[1] == a[2]&a[1] && a[0]&a[1] == a[3]&a[1] && isPool(args[2:])
}

// isPool tells whether a pool may go from the first address to the last.
func isPool(args []string) bool {
	if len(args) < 2 {
		return true
	}
	a, are := addressesOf(args[:2])
	return !are || a[0] <= a[1] && a[1]-a[0] < 1<<16
}
