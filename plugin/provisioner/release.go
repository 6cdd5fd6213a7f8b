// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package provisioner

import (
	"fmt"
	"slices"
	"strings"
)

// release is one of the systems that an image can be made of: the one table of
// what differs between them on the guest.
type release struct {
	// ID and VersionID are of /etc/os-release.
	ID, VersionID string
	Name          string
	// OpenVPN is the least version that the release brings; vpnami's
	// configuration is tested with that and newer ones.
	OpenVPN string
	// Packages are installed, Removed are taken away.
	Packages, Removed []string
}

// common are the packages that all releases have under the same names.
func commonPackages() []string {
	return []string{
		"apparmor",            // confines the gateway
		"auditd",              // records who becomes root, by the account that she came with
		"ca-certificates",     // TLS to AWS
		"chrony",              // certificates and logs need the right time
		"iptables",            // the packet filter, nft-backed
		"iptables-persistent", // loads it before the network is up
		"libpam-pwquality",    // a password, where an owner gives one, is a good one
		"openssh-server",      // the bastion
		"openvpn",             // the gateway
		"unattended-upgrades", // security updates
	}
}

func releases() []release {
	return []release{
		{
			ID: "ubuntu", VersionID: "24.04", Name: "Ubuntu 24.04 LTS", OpenVPN: "2.6",
			Packages: commonPackages(),
			// A second manager of the same rules; ufw's own would be loaded after
			// those of netfilter-persistent as soon as somebody enables it.
			// Landscape's Twisted has private keys for its tests, which check-image finds.
			Removed: []string{"landscape-common", "python3-twisted", "ufw"},
		},
		{
			ID: "ubuntu", VersionID: "26.04", Name: "Ubuntu 26.04 LTS", OpenVPN: "2.7",
			Packages: commonPackages(),
			Removed:  []string{"landscape-common", "python3-twisted", "ufw"},
		},
		{
			ID: "debian", VersionID: "12", Name: "Debian 12", OpenVPN: "2.6",
			Packages: commonPackages(),
		},
		{
			ID: "debian", VersionID: "13", Name: "Debian 13", OpenVPN: "2.6",
			Packages: commonPackages(),
		},
	}
}

// releaseOf finds the guest's release by its os-release.
func releaseOf(osRelease map[string]string) (release, error) {
	id, version := osRelease["ID"], osRelease["VERSION_ID"]
	all := releases()
	i := slices.IndexFunc(all, func(r release) bool { return r.ID == id && r.VersionID == version })
	if i < 0 {
		names := make([]string, len(all))
		for i, r := range all {
			names[i] = r.Name
		}
		return release{}, fmt.Errorf("looking at the guest: it is %q (ID %q, VERSION_ID %q); vpnami is made of %s",
			osRelease["PRETTY_NAME"], id, version, strings.Join(names, ", "))
	}
	return all[i], nil
}
