// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Command packer-plugin-vpnami is the bake: Packer starts it on the machine that
// makes the image, an engineer's or CI's.
//
// It has two components: provisioner "vpnami" turns a Debian-family guest into
// the image, and source "vpnami-bootstrap" makes such a guest from the
// distribution's packages, as a local disk image, without any cloud.
package main

import (
	"fmt"
	"os"

	"github.com/hashicorp/packer-plugin-sdk/plugin"
	sdkversion "github.com/hashicorp/packer-plugin-sdk/version"

	"github.com/vpnami/packer-plugin-vpnami/plugin/bootstrap"
	"github.com/vpnami/packer-plugin-vpnami/plugin/provisioner"
)

// Set by the linker (-X main.version=...).
//
//nolint:gochecknoglobals // the linker can set nothing else
var (
	// version is X.Y.Z.
	version = "0.1.0"
	// prerelease is "dev" in what is built from a checkout, for which Packer
	// accepts no other word, and empty in a release.
	prerelease = "dev"
	// commit is the source that this was built from.
	commit = "unknown"
)

func main() {
	set := plugin.NewSet()
	set.SetVersion(sdkversion.NewPluginVersion(version, prerelease, ""))
	// Packer puts the plugin's name before a component's: vpnami-bootstrap.
	set.RegisterBuilder("bootstrap", &bootstrap.Builder{})
	set.RegisterProvisioner(plugin.DEFAULT_NAME, &provisioner.Provisioner{Build: provisioner.Build{
		Version: version,
		Commit:  commit,
	}})
	if err := set.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "packer-plugin-vpnami:", err)
		os.Exit(1)
	}
}
