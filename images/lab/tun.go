// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// tunNode is where OpenVPN asks for a tunnel device: on the hosts of the lab's
// internet it is this machine's own, and a container gets a copy (see
// [containers.command]).
const tunNode = "/dev/net/tun"

// checkTun tells what to do when there is no TUN driver, which otherwise shows
// only minutes later, as a gateway that never gets ready.
func checkTun(path string) error {
	const advice = "run `modprobe tun`; in a container, pass the device (`--device " + tunNode + "`)"
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return fmt.Errorf("looking for the TUN driver at %q (%s): %w", path, advice, err)
	}
	// 10:200, https://docs.kernel.org/admin-guide/devices.html
	if stat.Mode&unix.S_IFMT != unix.S_IFCHR || stat.Rdev != unix.Mkdev(10, 200) {
		return fmt.Errorf("looking for the TUN driver at %q: it is not character device 10:200 (%s)", path, advice)
	}
	// Opening it loads the driver, and makes no device yet.
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening the TUN driver at %q (%s): %w", path, advice, err)
	}
	return unix.Close(fd)
}
