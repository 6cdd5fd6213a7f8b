// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"errors"
	"os"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sys/windows"
)

// syncFolder has nothing to do: NTFS keeps a journal of names, in their order,
// and Windows denies it to flush a folder, to everybody
// (https://github.com/golang/go/issues/75541). What a file holds is flushed by
// the file's own sync.
func syncFolder(string) error { return nil }

// renameWait is how long a name is waited for: a reader has a file for
// milliseconds, and what looks for viruses in each new one for less than a
// second.
const renameWait = 2 * time.Second

// rename gives a file or a folder its name, in the place of a file that has it.
// Windows denies it while somebody has one of the two open, if only to read.
func rename(from, to string) error {
	const pause = 10 * time.Millisecond
	for end := time.Now().Add(renameWait); ; time.Sleep(pause) {
		err := os.Rename(from, to)
		inUse := errors.Is(err, windows.ERROR_ACCESS_DENIED) || errors.Is(err, windows.ERROR_SHARING_VIOLATION)
		if !inUse || time.Now().After(end) {
			return err
		}
	}
}

// renameHeld is [rename] of a folder with a lock in it, which is let go: Windows denies it
// while a file in it is open. What is in the lock file goes too, so that nobody takes the
// folder for one that was left.
func renameHeld(from, to string, lock *flock.Flock) error {
	return errors.Join(lock.Unlock(), os.Truncate(lock.Path(), 0), rename(from, to))
}
