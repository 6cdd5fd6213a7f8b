// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/profile"
)

// stagedBatch is what is written of the profiles of a batch, and has no name
// yet.
type stagedBatch struct {
	files   authority.Staged
	folders []authority.StagedFolder
}

// stageBatch writes profiles before anything else is: they lie where the
// operator said, which may be anywhere.
func stageBatch(out string, files []authority.NewFile, folders []profile.Laid) (stagedBatch, error) {
	var batch stagedBatch
	var err error
	if batch.files, err = authority.Stage(files); err != nil {
		return stagedBatch{}, err
	}
	for _, laid := range folders {
		var inside []authority.NewFile
		for _, file := range laid.Files {
			inside = append(inside, authority.NewFile{Path: filepath.Base(file.Path), Mode: profileMode, Data: file.Data})
		}
		staged, err := authority.StageFolder(filepath.Join(out, laid.Folder), inside)
		if err != nil {
			return stagedBatch{}, errors.Join(err, batch.discard())
		}
		batch.folders = append(batch.folders, staged)
	}
	return batch, nil
}

func (b stagedBatch) discard() error { return errors.Join(b.files.Discard(), b.discardFolders(0)) }

func (b stagedBatch) discardFolders(from int) error {
	var failed error
	for _, folder := range b.folders[from:] {
		failed = errors.Join(failed, folder.Discard())
	}
	return failed
}

// handOut records the certificates, gives the profiles their names, and last
// adds the people to the roster. What has to reach the disk for it does so while
// the record does: a disk is done with several files as soon as with one. There
// are two threads for it: each one more takes longer to come and go than a disk
// takes (measured with one certificate on ext4).
func (b stagedBatch) handOut(folder authority.Folder, order issuing, clients []authority.Client) error {
	var record, profiles authority.Prepared
	var joining authority.Joining
	var wait sync.WaitGroup
	var failed [2]error
	wait.Go(func() {
		joining, failed[1] = folder.PrepareJoining(clients...)
		profiles, failed[0] = b.files.Flush()
	})
	record, err := folder.PrepareRecord(order.now, clients...)
	wait.Wait()
	if err = errors.Join(err, failed[0], failed[1]); err != nil {
		return errors.Join(err, record.Discard(), profiles.Discard(), joining.Discard(), b.discardFolders(0))
	}
	if err := authority.CreateInOrder(record, profiles); err != nil {
		return errors.Join(err, joining.Discard(), b.discardFolders(0))
	}
	for i, laid := range b.folders {
		if err := laid.Create(); err != nil {
			return errors.Join(err, joining.Discard(), b.discardFolders(i+1), removeOrphans(folder, order, clients[:i]))
		}
	}
	if err := joining.Add(); err != nil {
		return errors.Join(err, removeOrphans(folder, order, clients))
	}
	return nil
}

// inRoster are the names of those who got into the roster, or of whom it cannot be
// told, with why.
func inRoster(folder authority.Folder, clients []authority.Client) ([]string, error) {
	var in []string
	var failed error
	for _, c := range clients {
		person, _, err := folder.Person(c.Name)
		failed = errors.Join(failed, err)
		if last, ok := person.Last(); err != nil || ok && last.Serial == c.Pair.Certificate.SerialNumber.String() {
			in = append(in, c.Name)
		}
	}
	return in, failed
}

// removeOrphans removes the profiles of those who did not get into the roster.
func removeOrphans(folder authority.Folder, order issuing, clients []authority.Client) error {
	in, failed := inRoster(folder, clients)
	for _, c := range clients {
		if slices.Contains(in, c.Name) {
			continue
		}
		for _, path := range order.paths(c.Name) {
			failed = errors.Join(failed, os.RemoveAll(path))
		}
	}
	return failed
}
