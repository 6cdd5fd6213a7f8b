// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import "golang.org/x/sys/unix"

// isMountPoint tells whether a file system, or a part of one, is mounted at path.
// A kernel before 5.8 does not tell.
func isMountPoint(path string) bool {
	var found unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, 0, &found)
	return err == nil && found.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}
