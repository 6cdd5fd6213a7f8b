// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriting has the content of a file be on its way to the disk while others
// are written: the sync that follows, and alone promises anything, waits less.
// Where the file system knows no such thing, nothing is lost.
func startWriting(file *os.File) {
	_ = unix.SyncFileRange(int(file.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
}
