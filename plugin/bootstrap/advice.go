// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"errors"
	"fmt"
	"regexp"

	"golang.org/x/sys/unix"
)

// littleRoom: with less than this left, whatever failed has most likely failed
// for want of room, whatever it says; dpkg alone writes pieces of some MiB.
const littleRoom = 64 << 20

var (
	noRoom = regexp.MustCompile(`(?i)no space left on device|enough free space`)
	// What apt says of an archive that does not answer, or not with what its
	// signature promises.
	noArchive = regexp.MustCompile(`(?:Failed|Unable) to fetch|Could not (?:resolve|connect|handshake)|Unable to connect|Temporary failure resolving|Connection (?:failed|refused|timed out)|Hash Sum mismatch|unexpected size|is not signed|is expired|not valid yet`)
)

// advised adds to an error what is to be done where its cause lies outside of the
// bake. said is what the program that failed printed last; free the room that is
// left for the bake, and output where that is.
func advised(err error, said string, free uint64, output string) error {
	text := err.Error() + "\n" + said
	switch {
	case errors.Is(err, unix.ENOSPC), free < littleRoom, noRoom.MatchString(text):
		return fmt.Errorf("%w; beside output_directory %q there are %d MiB left: make room (a bake takes up to %d MiB), or choose another folder", err, output, free>>20, neededRoom>>20)
	case noArchive.MatchString(text):
		return fmt.Errorf("%w; is the archive reachable from here, and whole? Try again later, or name another one by the options mirror and security_mirror", err)
	default:
		return err
	}
}

// freeRoom is the room that is left on the disk of dir.
func freeRoom(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("asking for the room in %q: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), nil //nolint:gosec // block sizes are positive
}
