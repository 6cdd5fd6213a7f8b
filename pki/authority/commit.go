// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// named is what a mark needs before it is in force.
type named struct {
	folder       string // with a number, within the authority's; empty: none
	inside       []NewFile
	certificates []made // for the record
}

// commit puts another mark in force, and before it what that names. All of it is on the
// disk, under temporary names, before the log tells of it: a full disk changes nothing.
// What fails after that is taken back, and the log says so in a second line of each.
func (f Folder) commit(now time.Time, changed mark, with named, entries ...Entry) (Folder, error) {
	laid, err := f.lay(changed, with)
	if err != nil {
		return Folder{}, err
	}
	if err := f.Log(now, entries...); err != nil {
		return Folder{}, errors.Join(err, laid.discard())
	}
	if err := laid.create(); err != nil {
		return Folder{}, errors.Join(err, f.Log(now, undone(entries)...))
	}
	if err := laid.mark.Replace(); err != nil {
		if laid.mark.mayBeThere() {
			return Folder{}, doneAllTheSame(err)
		}
		return Folder{}, errors.Join(err, laid.remove(), f.Log(now, undone(entries)...))
	}
	return f.Reopen()
}

// replaceLogged replaces a file of the folder, of which the log tells before: as [Folder.commit].
func (f Folder) replaceLogged(now time.Time, file NewFile, entry Entry) error {
	prepared, err := Prepare([]NewFile{file})
	if err != nil {
		return err
	}
	if err := f.Log(now, entry); err != nil {
		return errors.Join(err, prepared.Discard())
	}
	if err := prepared.Replace(); err != nil {
		if prepared.mayBeThere() {
			return doneAllTheSame(err)
		}
		return errors.Join(err, f.Log(now, undone([]Entry{entry})...))
	}
	return nil
}

func doneAllTheSame(err error) error {
	return fmt.Errorf("%w: it is done all the same, and lost if the machine stops before the disk has it", err)
}

// mayBeThere tells, where files could not be replaced, whether one was: it has its name,
// and the disk alone does not say that it has it. Of one that cannot be read nobody knows.
func (p Prepared) mayBeThere() bool {
	return slices.ContainsFunc(p.files, func(file NewFile) bool {
		there, err := os.ReadFile(file.Path)
		return bytes.Equal(there, file.Data) || err != nil && !errors.Is(err, fs.ErrNotExist)
	})
}

// undone tell of what entries tell of that it did not come into force.
func undone(entries []Entry) []Entry {
	out := slices.Clone(entries)
	for i := range out {
		out[i].Action += "-failed"
	}
	return out
}

// laid is what a mark needs, and the mark, on the disk under temporary names.
type laid struct {
	folders []PreparedFolder // one, or none
	record  Prepared
	mark    Prepared
}

func (f Folder) lay(changed mark, with named) (laid, error) {
	raw, err := encode(changed)
	if err != nil {
		return laid{}, err
	}
	var l laid
	if with.folder != "" {
		staged, err := StageFolder(f.at(with.folder), with.inside)
		if err != nil {
			return laid{}, err
		}
		folder, err := staged.Flush()
		if err != nil {
			return laid{}, err
		}
		l.folders = append(l.folders, folder)
	}
	var files []NewFile
	for _, c := range with.certificates {
		files = append(files, NewFile{f.at(certificateFile(c.certificate)), publicFile, bundle.CertificatesPEM(c.certificate)})
	}
	if l.record, err = Prepare(files); err == nil {
		l.mark, err = Prepare([]NewFile{{f.at(markFile), publicFile, raw}})
	}
	if err != nil {
		return laid{}, errors.Join(err, l.discard())
	}
	return l, nil
}

// discard removes what has no name yet.
func (l laid) discard() error {
	return errors.Join(l.record.Discard(), l.mark.Discard(), l.discardFolders())
}

func (l laid) discardFolders() error {
	var failed error
	for _, folder := range l.folders {
		failed = errors.Join(failed, folder.Discard())
	}
	return failed
}

// create gives all but the mark their names. Where one fails, nothing is left.
func (l laid) create() error {
	if err := l.record.Create(); err != nil {
		return errors.Join(err, l.discardFolders(), l.mark.Discard())
	}
	for _, folder := range l.folders {
		if err := folder.Create(); err != nil {
			return errors.Join(err, remove([]Prepared{l.record}), l.mark.Discard())
		}
	}
	return nil
}

// remove takes away what [laid.create] gave names.
func (l laid) remove() error {
	failed := remove([]Prepared{l.record})
	for _, folder := range l.folders {
		failed = errors.Join(failed, folder.remove())
	}
	return failed
}
