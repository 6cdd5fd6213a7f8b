// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !windows

package authority

import (
	"errors"
	"fmt"
	"os"

	"github.com/gofrs/flock"
)

// syncFolder brings the names in a folder to the disk.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("making the writes in %q durable: %w", path, err)
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return fmt.Errorf("making the writes in %q durable: %w", path, err)
	}
	return nil
}

// rename gives a file or a folder its name, in the place of a file that has it.
func rename(from, to string) error { return os.Rename(from, to) }

// renameHeld is [rename] of a folder with a lock in it, which stays held.
func renameHeld(from, to string, _ *flock.Flock) error { return rename(from, to) }
