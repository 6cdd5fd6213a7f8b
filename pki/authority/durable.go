// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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

// createPlainly is for file systems that know none of the ways of [nameNew].
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
	if err := os.Mkdir(path, folderMode); err != nil {
		// Another may have made it meanwhile; a link to nowhere is there as well.
		if info, gone := os.Stat(path); gone != nil || !info.IsDir() {
			return err
		}
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

// Staged are files whose content is written, each under a temporary name beside
// the one that it is to have, and not on the disk yet: what cannot be written in
// that place is known before anything else is done.
type Staged struct {
	files []NewFile
	open  []*os.File
}

// Stage writes the content of files. Where one fails, nothing is left.
func Stage(files []NewFile) (Staged, error) {
	s := Staged{files: files, open: make([]*os.File, len(files))}
	err := each(files, func(i int, file NewFile) (err error) {
		s.open[i], err = writeTemporary(file)
		return err
	})
	if err != nil {
		return Staged{}, errors.Join(err, s.Discard())
	}
	return s, nil
}

func writeTemporary(to NewFile) (*os.File, error) {
	file, err := os.CreateTemp(filepath.Dir(to.Path), "."+filepath.Base(to.Path)+".*.tmp")
	if err != nil {
		return nil, fmt.Errorf("writing %q: %w", to.Path, err)
	}
	_, err = file.Write(to.Data)
	if err := errors.Join(err, file.Chmod(to.Mode)); err != nil {
		return nil, errors.Join(fmt.Errorf("writing %q: %w", to.Path, err), file.Close(), os.Remove(file.Name()))
	}
	startWriting(file)
	return file, nil
}

// Flush brings the content to the disk. Where one fails, nothing is left.
func (s Staged) Flush() (Prepared, error) {
	p := Prepared{files: s.files, temporaries: make([]string, len(s.files)), named: make([]bool, len(s.files))}
	err := each(s.files, func(i int, file NewFile) error {
		p.temporaries[i] = s.open[i].Name()
		if err := errors.Join(s.open[i].Sync(), s.open[i].Close()); err != nil {
			return fmt.Errorf("writing %q: %w", file.Path, err)
		}
		return nil
	})
	if err != nil {
		return Prepared{}, errors.Join(err, p.Discard())
	}
	return p, nil
}

// Discard removes what was written.
func (s Staged) Discard() error {
	var failed error
	for _, file := range s.open {
		if file != nil {
			failed = errors.Join(failed, file.Close(), os.Remove(file.Name()))
		}
	}
	return failed
}

// Prepared are files whose content is on the disk already, each under a
// temporary name beside the one that it is to have. What is left to do is
// short, so that of several sets, which count one after the other, the content
// can be brought to the disk together.
type Prepared struct {
	files       []NewFile
	temporaries []string
	named       []bool
}

// Prepare writes the content of files. Where one fails, nothing is left.
func Prepare(files []NewFile) (Prepared, error) {
	staged, err := Stage(files)
	if err != nil {
		return Prepared{}, err
	}
	return staged.Flush()
}

// Create gives the files their names, of which none may be there; if one is,
// the error is [fs.ErrExist]. Where one fails, the others are removed again.
func (p Prepared) Create() error { return CreateInOrder(p) }

// CreateInOrder is [Prepared.Create] of one set after the other: when a file of
// one set is there, all of those before are. Their names reach the disk
// together, in no order. Where one fails, those of all sets are removed again.
func CreateInOrder(sets ...Prepared) error {
	for i, set := range sets {
		if err := set.create(); err != nil {
			for _, later := range sets[i+1:] {
				err = errors.Join(err, later.Discard())
			}
			return errors.Join(err, remove(sets[:i+1]))
		}
	}
	if err := syncFolders(sets); err != nil {
		return errors.Join(err, remove(sets))
	}
	return nil
}

func (p Prepared) create() error {
	return each(p.files, func(i int, file NewFile) error {
		err := create(p.temporaries[i], file)
		p.named[i] = err == nil
		return err
	})
}

// remove takes away the names that [Prepared.create] gave.
func remove(sets []Prepared) error {
	var failed error
	for _, set := range sets {
		for i, file := range set.files {
			if set.named[i] {
				failed = errors.Join(failed, os.Remove(file.Path))
			}
		}
	}
	return errors.Join(failed, syncFolders(sets))
}

// Replace gives the files their names, in the place of what has them.
func (p Prepared) Replace() error {
	err := each(p.files, func(i int, file NewFile) error {
		if err := rename(p.temporaries[i], file.Path); err != nil {
			return errors.Join(fmt.Errorf("writing %q: %w", file.Path, err), os.Remove(p.temporaries[i]))
		}
		return nil
	})
	return errors.Join(err, syncFolders([]Prepared{p}))
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

// syncFolders brings the names of files to the disk, each folder once.
func syncFolders(sets []Prepared) error {
	var folders []string
	for _, set := range sets {
		for _, file := range set.files {
			if folder := filepath.Dir(file.Path); !slices.Contains(folders, folder) {
				folders = append(folders, folder)
			}
		}
	}
	return each(folders, func(_ int, folder string) error { return syncFolder(folder) })
}

func create(temporary string, file NewFile) error {
	err := nameNew(temporary, file.Path)
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrExist) {
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

// each does something with all of several, many at a time; the first is done by
// the caller itself.
func each[T any](all []T, do func(int, T) error) error {
	if len(all) == 0 {
		return nil
	}
	var wait sync.WaitGroup
	failed := make([]error, len(all))
	turn := make(chan struct{}, together)
	for i, one := range all[1:] {
		turn <- struct{}{}
		wait.Go(func() {
			failed[i+1] = do(i+1, one)
			<-turn
		})
	}
	failed[0] = do(0, all[0])
	wait.Wait()
	return told(failed)
}

// several are errors of one kind: a full disk has one for each file.
type several []error

// Error tells the first, and how many there are.
func (s several) Error() string { return fmt.Sprintf("%v (and %d more like it)", s[0], len(s)-1) }

func (s several) Unwrap() []error { return s }

// told is [errors.Join], and tells of many only the first.
func told(failed []error) error {
	failed = slices.DeleteFunc(failed, func(err error) bool { return err == nil })
	if len(failed) <= 1 {
		return errors.Join(failed...)
	}
	return several(failed)
}
