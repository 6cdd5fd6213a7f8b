// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import "path/filepath"

// The names that the image and the units know. They are part of the image's
// contract: openvpn's unit and /etc/openvpn/server/vpn.conf name them too.
const (
	stateFolder   = "/var/lib/vpnami"
	currentFolder = stateFolder + "/current"
	admitHook     = "/usr/lib/vpnami/admit"
	offloadFile   = "/usr/lib/vpnami/offload.conf"

	filterUnit  = "netfilter-persistent.service"
	openvpnUnit = "openvpn-server@vpn.service"
	probeUnit   = "vpnami-probe.service"

	// daemonAccount is both the user and the group of the OpenVPN daemon.
	daemonAccount = "vpnami-openvpn"
)

// layout is where everything lies, under a root that is "/" on an instance and
// a folder of its own in a test.
type layout struct{ root string }

func (l layout) at(path string) string { return filepath.Join(l.root, path) }

func (l layout) state() string { return l.at(stateFolder) }

// generations holds one folder for each complete set of files that was laid
// down, named by a rising number.
func (l layout) generations() string { return l.at(stateFolder + "/generations") }

// current is a link to the generation in force.
func (l layout) current() string { return l.at(currentFolder) }

// proven is a link to the last generation through which a client has connected.
func (l layout) proven() string { return l.at(stateFolder + "/proven") }

// pending holds the id of the boot in which files were laid down that a unit, the
// packet filter's or the daemon's, has not taken up yet.
func (l layout) pending(unit string) string { return l.at(stateFolder + "/pending-" + unit) }

// failed holds the digest of what was tried in this boot and did not work.
func (l layout) failed() string { return l.at(stateFolder + "/failed") }

func (l layout) result() string { return l.at(stateFolder + "/result.json") }
func (l layout) sync() string   { return l.at(stateFolder + "/sync.json") }
func (l layout) rules() string  { return l.at("/etc/iptables") }

// sessions is the status file of the daemon's unit (--status), which the
// daemon writes once a minute.
func (l layout) sessions() string { return l.at("/run/openvpn-server/status-vpn.log") }

// imageManifest is what the bake left of what the image is made of.
func (l layout) imageManifest() string { return l.at("/usr/share/vpnami/manifest.json") }

// offload is read by the daemon as a part of its configuration.
func (l layout) offload() string { return l.at(offloadFile) }

// tunFlags is there if the tunnel's device is one that the daemon feeds itself,
// and not if it is the kernel's ovpn.
func (l layout) tunFlags() string { return l.at("/sys/class/net/tun0/tun_flags") }

// forwarding is whether what comes in by an interface is forwarded; of "all", it
// is net.ipv4.ip_forward.
func (l layout) forwarding(device string) string {
	return l.at("/proc/sys/net/ipv4/conf/" + device + "/forwarding")
}

func (l layout) passwd() string      { return l.at("/etc/passwd") }
func (l layout) console() string     { return l.at("/dev/console") }
func (l layout) bootID() string      { return l.at("/proc/sys/kernel/random/boot_id") }
func (l layout) assetTag() string    { return l.at("/sys/class/dmi/id/board_asset_tag") }
func (l layout) productUUID() string { return l.at("/sys/class/dmi/id/product_uuid") }
