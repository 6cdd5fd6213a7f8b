// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// distribution is what differs between the distributions that a local image can
// be made of. Everything else of this package is the same for all.
type distribution struct {
	// name is the ID of /etc/os-release.
	name string
	// releases are the code names, the oldest first.
	releases []string
	// release is the default. It need not be the newest.
	release    string
	components string
	// securityApart: <release>-security lies in an archive of its own.
	securityApart bool
	// keyring verifies the archive. It has the same path on the host and in the
	// image, so that sources.list is valid on both.
	keyring, keyringPackage string
	// backported are the releases whose backports have OpenVPN 2.7 and a kernel
	// with the module ovpn.
	backported []string
	// kernel is the kernel for clouds: NVMe, ENA and virtio, little else.
	kernel map[string]string
	// packages make the rest of what that distribution's cloud image has.
	packages []string
}

// basePackages are the same everywhere.
func basePackages() []string {
	return []string{
		"ca-certificates",   // TLS to AWS
		"cloud-guest-utils", // growpart: the root grows on its first boot
		"cloud-init",        // the launch key, host keys, the owner's user-data
		"dbus",              // firstboot speaks to systemd over it
		"e2fsprogs",         // fsck at boot, and growing the root
		"initramfs-tools",
		"iproute2",
		"kmod",
		"libpam-systemd", // sessions, for sudo and ssh
		"netbase",
		"openssh-server",
		"procps",
		"sudo",
		"systemd",
		"systemd-boot",     // the kernel's hooks: updates of it and of the loader reach the boot partition
		"systemd-boot-efi", // the boot loader
		"systemd-resolved",
		"systemd-sysv",
		"udev",
		"zstd", // compresses the initrd: quicker to load than gzip
	}
}

// distributions is the table.
func distributions() map[string]distribution {
	return map[string]distribution{
		"debian": {
			name:           "debian",
			releases:       []string{"bookworm", "trixie"},
			release:        "trixie",
			components:     "main",
			securityApart:  true,
			keyring:        "/usr/share/keyrings/debian-archive-keyring.gpg",
			keyringPackage: "debian-archive-keyring",
			backported:     []string{"trixie"},
			kernel:         map[string]string{"amd64": "linux-image-cloud-amd64", "arm64": "linux-image-cloud-arm64"},
			packages:       []string{"apparmor", "debian-archive-keyring"},
		},
		"ubuntu": {
			name:           "ubuntu",
			releases:       []string{"noble", "resolute"},
			release:        "noble",
			components:     "main universe",
			keyring:        "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
			keyringPackage: "ubuntu-keyring",
			kernel:         map[string]string{"amd64": "linux-image-aws", "arm64": "linux-image-aws"},
			packages:       []string{"apparmor", "ubuntu-keyring"},
		},
	}
}

// include is the list of packages of an image, sorted.
func (d distribution) include(arch string, extra []string) []string {
	all := slices.Concat(basePackages(), d.packages, []string{d.kernel[arch]}, extra)
	slices.Sort(all)
	return slices.Compact(all)
}

// firmware is what UEFI needs of an architecture.
type firmware struct {
	// loader is where systemd-boot-efi has the program, below the root.
	loader string
	// fallback is the name that UEFI starts from a disk that it does not know.
	fallback string
	// rootType is sgdisk's code of the root partition's type, by which
	// systemd-gpt-auto-generator knows it (Discoverable Partitions Specification).
	rootType string
}

func firmwares() map[string]firmware {
	return map[string]firmware{
		"amd64": {loader: "usr/lib/systemd/boot/efi/systemd-bootx64.efi", fallback: "BOOTX64.EFI", rootType: "8304"},
		"arm64": {loader: "usr/lib/systemd/boot/efi/systemd-bootaa64.efi", fallback: "BOOTAA64.EFI", rootType: "8305"},
	}
}

// oneOf says what is allowed, in the words of an error message.
func oneOf[V any](m map[string]V) string {
	names := slices.Sorted(maps.Keys(m))
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(quoted, ", ")
}
