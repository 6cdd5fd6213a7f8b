// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
)

// lookAt finds every file and folder that is part of an image.
func lookAt(root string) (image, error) {
	i := image{root: filepath.Clean(root)}
	err := filepath.WalkDir(i.root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != i.root {
			return nil // gone in between, on a running machine
		}
		if err != nil {
			return err
		}
		inside := strings.TrimPrefix(i.inside(path), "/")
		if entry.IsDir() && skipped(inside) {
			return fs.SkipDir
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		i.files = append(i.files, imageFile{inside, info})
		return nil
	})
	return i, err
}

// worldWritable finds what everybody may change. In a folder with the sticky
// bit everybody may make files and change her own only.
func (i image) worldWritable() ([]string, error) {
	return i.those(func(f imageFile) bool {
		mode := f.info.Mode()
		return mode.Perm()&0o002 != 0 && (mode.IsRegular() || mode.IsDir() && mode&fs.ModeSticky == 0)
	})
}

// logs finds logs with something in them. A running guest's journal and the
// files of its daemons are not among them: sudo writes there while this runs.
func (i image) logs() ([]string, error) {
	rotated := func(name string) bool {
		last := filepath.Ext(name)
		return last == ".gz" || last == ".old" || len(last) == 2 && last >= ".0" && last <= ".9"
	}
	return i.those(func(f imageFile) bool {
		name, is := strings.CutPrefix(f.path, "var/log/")
		if !is || !f.info.Mode().IsRegular() {
			return false
		}
		installed := strings.HasPrefix(name, "apt/") || strings.HasPrefix(name, "cloud-init") || name == "dpkg.log" || name == "bootstrap.log"
		return rotated(name) || installed && f.info.Size() > 0
	})
}

func (i image) those(want func(imageFile) bool) ([]string, error) {
	var found []string
	for _, f := range i.files {
		if want(f) {
			found = append(found, "/"+f.path)
		}
	}
	return found, nil
}
