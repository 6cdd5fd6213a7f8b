// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// nameNew gives a file another name, which must not be there; if it is, the error is
// [fs.ErrExist]. One call is quicker than two, and is known to file systems without
// hard links, such as that of a USB stick; NFS knows links alone
// (https://man7.org/linux/man-pages/man2/rename.2.html).
func nameNew(from, to string) error {
	err := error(unix.EINTR)
	for errors.Is(err, unix.EINTR) {
		err = unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	}
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		return nameByLink(from, to)
	case err != nil:
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}
