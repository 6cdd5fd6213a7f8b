// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

const (
	privateFile fs.FileMode = 0o600
	publicFile  fs.FileMode = 0o644
	folderMode  fs.FileMode = 0o700
)

// Replace writes a file so that a reader, or the next start after a crash,
// sees the old content or the new one, whole.
func Replace(path string, mode fs.FileMode, data []byte) error {
	temporary, err := writeTemporary(path, mode, data)
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return errors.Join(fmt.Errorf("writing %q: %w", path, err), os.Remove(temporary))
	}
	return syncFolder(filepath.Dir(path))
}

// Create is [Replace] of a file that must not be there; if it is, the error is
// [fs.ErrExist].
func Create(path string, mode fs.FileMode, data []byte) error {
	if err := createUnsynced(path, mode, data); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// createUnsynced leaves it to the caller to make the name durable; what is in
// the file is.
func createUnsynced(path string, mode fs.FileMode, data []byte) error {
	temporary, err := writeTemporary(path, mode, data)
	if err != nil {
		return err
	}
	// A link, unlike a rename, never replaces.
	err = os.Link(temporary, path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = createPlainly(path, mode, data)
	}
	if gone := os.Remove(temporary); err == nil {
		err = gone
	}
	if err != nil {
		return fmt.Errorf("writing %q: %w", path, err)
	}
	return nil
}

// createPlainly is for file systems without hard links, such as that of a USB
// stick.
func createPlainly(path string, mode fs.FileMode, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func writeTemporary(path string, mode fs.FileMode, data []byte) (string, error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return "", fmt.Errorf("writing %q: %w", path, err)
	}
	_, err = file.Write(data)
	if err := errors.Join(err, file.Chmod(mode), file.Sync(), file.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("writing %q: %w", path, err), os.Remove(file.Name()))
	}
	return file.Name(), nil
}

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

// CreateFolder makes a folder with files in it, which must not be there; it
// appears whole or not at all. The paths of the files are within it.
func CreateFolder(path string, files []NewFile) error {
	building, err := startBuilding(path)
	if err != nil {
		return fmt.Errorf("making the folder %q: %w", path, err)
	}
	inside := make([]NewFile, len(files))
	for i, file := range files {
		inside[i] = file
		inside[i].Path = filepath.Join(building, file.Path)
	}
	if err := CreateAll(inside); err != nil {
		return errors.Join(err, os.RemoveAll(building))
	}
	// A rename onto a folder that has something in it fails.
	if err := os.Rename(building, path); err != nil {
		return errors.Join(fmt.Errorf("making the folder %q: %w", path, err), os.RemoveAll(building))
	}
	return syncFolder(filepath.Dir(path))
}

// NewFile is a file to be made.
type NewFile struct {
	Path string
	Mode fs.FileMode
	Data []byte
}

// together is how many files [CreateAll] writes at a time: a disk ends several
// waiting fsyncs with one flush, and beyond some sixteen there is nothing left
// to gain (measured with a thousand certificates on ext4).
const together = 16

// CreateAll is [Create] of many files, which reach the disk together. Where one
// fails, the others are removed again.
func CreateAll(files []NewFile) error {
	if len(files) == 1 {
		return Create(files[0].Path, files[0].Mode, files[0].Data)
	}
	var wait sync.WaitGroup
	failed := make([]error, len(files))
	turn := make(chan struct{}, together)
	for i, file := range files {
		turn <- struct{}{}
		wait.Go(func() {
			failed[i] = createUnsynced(file.Path, file.Mode, file.Data)
			<-turn
		})
	}
	wait.Wait()
	err := errors.Join(failed...)
	for i, file := range files {
		if err != nil && failed[i] == nil {
			err = errors.Join(err, os.Remove(file.Path))
		}
	}
	folders := map[string]bool{}
	for _, file := range files {
		folders[filepath.Dir(file.Path)] = true
	}
	for folder := range folders {
		err = errors.Join(err, syncFolder(folder))
	}
	return err
}
