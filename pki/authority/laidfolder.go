// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// StagedFolder is a folder with files in it that has a temporary name, and is
// not on the disk yet.
type StagedFolder struct {
	path, building string
	inside         Staged
}

// StageFolder makes a folder that is to be at path, beside that. The paths of
// the files are within it.
func StageFolder(path string, files []NewFile) (StagedFolder, error) {
	building, err := startBuilding(path)
	if err != nil {
		return StagedFolder{}, fmt.Errorf("making the folder %q: %w", path, err)
	}
	inside := make([]NewFile, len(files))
	for i, file := range files {
		inside[i] = file
		inside[i].Path = filepath.Join(building, file.Path)
	}
	staged, err := Stage(inside)
	if err != nil {
		return StagedFolder{}, errors.Join(err, os.RemoveAll(building))
	}
	return StagedFolder{path: path, building: building, inside: staged}, nil
}

// Create gives the folder its name, which must not be there: it appears whole
// or not at all.
func (s StagedFolder) Create() error {
	prepared, err := s.Flush()
	if err != nil {
		return err
	}
	return prepared.Create()
}

// Discard removes what was made.
func (s StagedFolder) Discard() error {
	return errors.Join(s.inside.Discard(), os.RemoveAll(s.building))
}

// PreparedFolder is a folder that is on the disk with all that is in it, and has a
// temporary name.
type PreparedFolder struct{ path, building string }

// Flush brings what is in the folder to the disk. Where it fails, nothing is left.
func (s StagedFolder) Flush() (PreparedFolder, error) {
	prepared, err := s.inside.Flush()
	if err == nil {
		err = prepared.Create()
	}
	if err != nil {
		return PreparedFolder{}, errors.Join(fmt.Errorf("making the folder %q: %w", s.path, err), os.RemoveAll(s.building))
	}
	return PreparedFolder{s.path, s.building}, nil
}

// Create gives the folder its name, which must not be there. Where it fails, nothing is
// left.
func (p PreparedFolder) Create() error {
	// A rename onto a folder that has something in it fails.
	if err := rename(p.building, p.path); err != nil {
		return errors.Join(fmt.Errorf("making the folder %q: %w", p.path, err), p.Discard())
	}
	if err := syncFolder(filepath.Dir(p.path)); err != nil {
		return errors.Join(err, p.remove())
	}
	return nil
}

// Discard removes what was made.
func (p PreparedFolder) Discard() error { return os.RemoveAll(p.building) }

// remove takes away what [PreparedFolder.Create] gave a name.
func (p PreparedFolder) remove() error {
	return errors.Join(os.RemoveAll(p.path), syncFolder(filepath.Dir(p.path)))
}
