// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package provisioner

import (
	"context"
	"fmt"
	"strings"

	"github.com/vpnami/packer-plugin-vpnami/images/rootfs"
)

const (
	// offloadPath is a part of OpenVPN's configuration: server.conf includes it.
	offloadPath = "/usr/lib/vpnami/offload.conf"
	// offloadsFrom is the first OpenVPN that speaks with the kernel's own module,
	// ovpn (Linux 6.16), and that tells of every client that leaves: 2.6 loses
	// disconnects (https://github.com/OpenVPN/openvpn/issues/883).
	offloadsFrom = "2.7"
)

// offload decides whether the kernel of the image carries the data between
// clients and the VPC, which is some three times as fast, or OpenVPN itself.
func offload(ctx context.Context, g *guest, openvpn string) ([]rootfs.Entry, error) {
	kernels, err := g.ask(ctx, "find /lib/modules/ -name 'ovpn.ko*'")
	if err != nil {
		return nil, fmt.Errorf("looking for the kernel's module ovpn: %w", err)
	}
	tree, told := offloadFiles(openvpn, strings.TrimSpace(kernels) != "")
	g.note(told)
	return tree, nil
}

// offloadFiles are what is laid down for that decision, and the decision in words.
func offloadFiles(openvpn string, module bool) (tree []rootfs.Entry, told string) {
	file := func(path, data, why string) rootfs.Entry {
		return rootfs.Entry{Path: path, Mode: 0o644, Owner: "root", Group: "root", Data: []byte(data), Why: why}
	}
	const why = "OpenVPN's part of the decision who carries the data"
	switch {
	case !atLeast(openvpn, offloadsFrom):
		told = "OpenVPN " + openvpn + " carries the data itself: data channel offload comes with " + offloadsFrom
	case !module:
		told = "OpenVPN " + openvpn + " carries the data itself: the kernel of the image has no module ovpn"
	default:
		told = "The kernel carries the data, for OpenVPN " + openvpn + "."
		return []rootfs.Entry{
			file(offloadPath, "# "+told+"\n", why),
			file("/usr/lib/modules-load.d/vpnami-ovpn.conf", "ovpn\n", "the daemon may not load modules"),
		}, told
	}
	return []rootfs.Entry{file(offloadPath, "# "+told+".\ndisable-dco\n", why)}, told
}
