// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package provisioner

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/vpnami/packer-plugin-vpnami/images/rootfs"
)

// programs are vpnami-firstboot for each architecture. A fresh clone has none of
// them, and must still compile: the folder's README.md is embedded instead.
//
//go:embed all:programs
var programs embed.FS

// programPath is where the program stands in the image.
const programPath = "/usr/sbin/vpnami-firstboot"

// withProgram adds the program of the guest's architecture to the files of the
// image.
func withProgram(tree []rootfs.Entry, programs fs.FS, arch string) ([]rootfs.Entry, error) {
	if arch != "amd64" && arch != "arm64" {
		return nil, fmt.Errorf("choosing the program for the guest: its architecture is %q; vpnami is built for amd64 and arm64", arch)
	}
	data, err := fs.ReadFile(programs, "programs/vpnami-firstboot_linux_"+arch)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("choosing the program for the guest: this plugin was built without vpnami-firstboot for %s; build it by \"make build\", or install a release", arch)
	}
	if err != nil {
		return nil, fmt.Errorf("choosing the program for the guest: %w", err)
	}
	return sorted(append(slices.Clip(tree), rootfs.Entry{
		Path: programPath, Mode: 0o755, Owner: "root", Group: "root", Data: data,
		Why: "becomes at every boot what the instance was launched as",
	})), nil
}

// sorted puts a folder before what is in it.
func sorted(tree []rootfs.Entry) []rootfs.Entry {
	slices.SortFunc(tree, func(a, b rootfs.Entry) int { return strings.Compare(a.Path, b.Path) })
	return tree
}
