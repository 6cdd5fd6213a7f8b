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
	prepared, err := s.inside.Flush()
	if err == nil {
		err = prepared.Create()
	}
	if err == nil {
		// A rename onto a folder that has something in it fails.
		err = rename(s.building, s.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("making the folder %q: %w", s.path, err), os.RemoveAll(s.building))
	}
	return syncFolder(filepath.Dir(s.path))
}

// Discard removes what was made.
func (s StagedFolder) Discard() error {
	return errors.Join(s.inside.Discard(), os.RemoveAll(s.building))
}
