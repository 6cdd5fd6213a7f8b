// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package directives

import (
	"math/bits"
	"strconv"
	"strings"
)

// addressesOf are arguments that are addresses of IPv4, as numbers. Those that are none
// are told of elsewhere.
func addressesOf(args []string) ([]uint32, bool) {
	var numbers []uint32
	for _, text := range args {
		n, is := number4(text)
		if !is {
			return nil, false
		}
		numbers = append(numbers, n)
	}
	return numbers, true
}

// number4 is an address of IPv4 as inet_aton(3) reads it: of fewer parts than four, the
// last stands for the rest.
func number4(text string) (uint32, bool) {
	parts := strings.Split(text, ".")
	if len(parts) > 4 {
		return 0, false
	}
	var address uint64
	for i, part := range parts {
		size := 8
		if i == len(parts)-1 {
			size = 8 * (4 - i)
		}
		n, err := strconv.ParseUint(part, 10, size)
		if err != nil {
			return 0, false
		}
		address = address<<size | n
	}
	return uint32(address), true // of 32 bits, by the sizes above
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
