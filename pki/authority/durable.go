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
	prepared, err := Prepare([]NewFile{{path, mode, data}})
	if err != nil {
		return err
	}
	return prepared.Replace()
}

// Create is [Replace] of a file that must not be there; if it is, the error is
// [fs.ErrExist].
func Create(path string, mode fs.FileMode, data []byte) error {
	return CreateAll([]NewFile{{path, mode, data}})
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

// MakeFolders makes a folder, and those above it, where they are not there.
func MakeFolders(path string) error {
	path = filepath.Clean(path)
	info, err := os.Stat(path)
	if err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%q is not a folder", path)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := MakeFolders(filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Mkdir(path, folderMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(filepath.Dir(path))
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

// CreateAll is [Create] of many files, which reach the disk together. Where one
// fails, the others are removed again.
func CreateAll(files []NewFile) error {
	prepared, err := Prepare(files)
	if err != nil {
		return err
	}
	return prepared.Create()
}

// Prepared are files whose content is on the disk already, each under a
// temporary name beside the one that it is to have. What is left to do is
// short, so that of several sets, which count one after the other, the content
// can be brought to the disk together.
type Prepared struct {
	files       []NewFile
	temporaries []string
}

// Prepare writes the content of files. Where one fails, nothing is left.
func Prepare(files []NewFile) (Prepared, error) {
	p := Prepared{files: files, temporaries: make([]string, len(files))}
	err := each(files, func(i int, file NewFile) (err error) {
		p.temporaries[i], err = writeTemporary(file.Path, file.Mode, file.Data)
		return err
	})
	if err != nil {
		return Prepared{}, errors.Join(err, p.Discard())
	}
	return p, nil
}

// Create gives the files their names, of which none may be there; if one is,
// the error is [fs.ErrExist]. Where one fails, the others are removed again.
func (p Prepared) Create() error {
	created := make([]bool, len(p.files))
	err := each(p.files, func(i int, file NewFile) error {
		err := create(p.temporaries[i], file)
		created[i] = err == nil
		return err
	})
	if err != nil {
		for i, file := range p.files {
			if created[i] {
				err = errors.Join(err, os.Remove(file.Path))
			}
		}
	}
	return errors.Join(err, p.syncFolders())
}

// Replace gives the files their names, in the place of what has them.
func (p Prepared) Replace() error {
	err := each(p.files, func(i int, file NewFile) error {
		if err := os.Rename(p.temporaries[i], file.Path); err != nil {
			return errors.Join(fmt.Errorf("writing %q: %w", file.Path, err), os.Remove(p.temporaries[i]))
		}
		return nil
	})
	return errors.Join(err, p.syncFolders())
}

// Discard removes what was prepared and was not given a name.
func (p Prepared) Discard() error {
	var failed error
	for _, temporary := range p.temporaries {
		if temporary != "" {
			failed = errors.Join(failed, os.Remove(temporary))
		}
	}
	return failed
}

func (p Prepared) syncFolders() error {
	var err error
	synced := map[string]bool{}
	for _, file := range p.files {
		if folder := filepath.Dir(file.Path); !synced[folder] {
			synced[folder] = true
			err = errors.Join(err, syncFolder(folder))
		}
	}
	return err
}

func create(temporary string, file NewFile) error {
	// A link, unlike a rename, never replaces.
	err := os.Link(temporary, file.Path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = createPlainly(file.Path, file.Mode, file.Data)
	}
	if gone := os.Remove(temporary); err == nil {
		err = gone
	}
	if err != nil {
		return fmt.Errorf("writing %q: %w", file.Path, err)
	}
	return nil
}

// together is how many files are written at a time: a disk ends several waiting
// fsyncs with one flush, and beyond some sixteen there is nothing left to gain
// (measured with a thousand certificates on ext4).
const together = 16

// each does something with all files, several at a time; one is done by the
// caller itself.
func each(files []NewFile, do func(int, NewFile) error) error {
	if len(files) == 1 {
		return do(0, files[0])
	}
	var wait sync.WaitGroup
	failed := make([]error, len(files))
	turn := make(chan struct{}, together)
	for i, file := range files {
		turn <- struct{}{}
		wait.Go(func() {
			failed[i] = do(i, file)
			<-turn
		})
	}
	wait.Wait()
	return errors.Join(failed...)
}
