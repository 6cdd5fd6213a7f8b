// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// offloadDoubt tells why the daemon carries the data itself on an image that was
// made to have the kernel do it, or nothing. OpenVPN falls back without a word
// that anybody reads, to a third of the speed.
func offloadDoubt(where layout, wrapping bundle.Wrapping) string {
	decided, err := os.ReadFile(where.offload())
	if err != nil {
		return fmt.Sprintf("whether the kernel is to carry the data is not known: %v", err)
	}
	if slices.Contains(strings.Split(string(decided), "\n"), "disable-dco") {
		return ""
	}
	if _, err := os.Stat(where.tunFlags()); err != nil {
		return "" // the kernel's own device
	}
	if wrapping == bundle.NoWrapping {
		return "data channel offload is off while the window for old profiles is open, because these may ask for compression: throughput is a third; \"vpnami-pki migration close\" ends that"
	}
	return "data channel offload is off, and throughput is a third: \"journalctl -u " + openvpnUnit + " -g DCO\" says why; does this kernel have the module ovpn (\"modinfo ovpn\")?"
}
