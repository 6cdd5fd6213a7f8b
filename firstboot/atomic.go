// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// tempPrefix begins the name of everything that is not finished. What bears
// it when the program starts was left by a crash, and may hold a key.
const tempPrefix = ".vpnami-"

// keepOwner leaves the owner or group that the process gives.
const keepOwner = -1

// replaceFile writes a whole file or nothing: a reader, or a machine that lost
// its power, sees the old content or the new one.
func replaceFile(path string, data []byte, mode fs.FileMode) error {
	folder := filepath.Dir(path)
	temp, err := os.CreateTemp(folder, tempPrefix)
	if err != nil {
		return fmt.Errorf("writing %q: %w", path, err)
	}
	defer os.Remove(temp.Name())
	if err := fill(temp, data, mode, keepOwner); err != nil {
		return fmt.Errorf("writing %q: %w", path, err)
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return fmt.Errorf("writing %q: %w", path, err)
	}
	return syncFolder(folder)
}

// fill writes, makes durable and closes a file.
func fill(file *os.File, data []byte, mode fs.FileMode, group int) error {
	err := write(file, data, mode, group)
	if err == nil && len(data) > 0 {
		// An empty file has nothing to lose but its name, which is the folder's.
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// write gives a file what is to be in it, and to whom it belongs.
func write(file *os.File, data []byte, mode fs.FileMode, group int) error {
	err := errors.Join(giveTo(file, group), file.Chmod(mode))
	if err == nil {
		_, err = file.Write(data)
	}
	return err
}

// giveTo gives a file or folder to a group, where it is another's. The units run
// in the daemon's group, so that their files are given already, and may chown
// nothing; a person's root shell may, and must.
func giveTo(file *os.File, group int) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); group == keepOwner || ok && int(owner.Gid) == group {
		return nil
	}
	return file.Chown(keepOwner, group)
}

// replaceLink lets a symbolic link point elsewhere in one step.
func replaceLink(path, target string) error {
	folder := filepath.Dir(path)
	temp := filepath.Join(folder, tempPrefix+filepath.Base(path))
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pointing %q to %q: %w", path, target, err)
	}
	if err := os.Symlink(target, temp); err != nil {
		return fmt.Errorf("pointing %q to %q: %w", path, target, err)
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("pointing %q to %q: %w", path, target, err)
	}
	return syncFolder(folder)
}

// syncFolder makes the names in a folder durable.
func syncFolder(path string) error {
	if err := syncPath(path); err != nil {
		return fmt.Errorf("syncing the folder %q: %w", path, err)
	}
	return nil
}

// syncPath makes what was written to a file, or the names in a folder, durable.
func syncPath(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// sweepTemps removes what a crash left unfinished in a folder.
func sweepTemps(folder string) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sweeping %q: %w", folder, err)
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), tempPrefix) {
			if err := os.RemoveAll(filepath.Join(folder, entry.Name())); err != nil {
				return fmt.Errorf("sweeping %q: %w", folder, err)
			}
		}
	}
	return nil
}
