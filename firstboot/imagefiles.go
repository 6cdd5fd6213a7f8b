// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
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
	return i.those(func(_ string, info fs.FileInfo) bool {
		mode := info.Mode()
		return mode.Perm()&0o002 != 0 && (mode.IsRegular() || mode.IsDir() && mode&fs.ModeSticky == 0)
	})
}

// mayRaise are the programs that need to give their callers more rights, in the
// images of Debian and Ubuntu; /bin and /sbin are links there. The bake takes the
// bits of all others (plugin/provisioner/scripts/harden.sh).
func mayRaise() []string {
	return []string{
		"sudo", "sudo.ws", "passwd", // the way to root; a password for those whose owner wants one
		"unix_chkpwd", "pam_extrausers_chkpwd", "chage", "expiry", // read the shadow file, by group
		"ssh-agent",                                                                  // by group, so that nobody traces it
		"dbus-daemon-launch-helper",                                                  // for its own group only
		"polkit-agent-helper-1", "pkexec", "snap-confine", "fusermount3", "utempter", // Ubuntu
		"crontab", // by group
	}
}

func (i image) setuid() ([]string, error) {
	return i.those(func(inside string, info fs.FileInfo) bool {
		if !info.Mode().IsRegular() || info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) == 0 {
			return false
		}
		known := strings.HasPrefix(inside, "usr/") && !strings.HasPrefix(inside, "usr/local/") && slices.Contains(mayRaise(), filepath.Base(inside))
		return !known
	})
}

// logs finds logs with something in them. A running guest's journal and the
// files of its daemons are not among them: sudo writes there while this runs.
func (i image) logs() ([]string, error) {
	rotated := func(name string) bool {
		last := filepath.Ext(name)
		return last == ".gz" || last == ".old" || len(last) == 2 && last >= ".0" && last <= ".9"
	}
	return i.those(func(inside string, info fs.FileInfo) bool {
		name, is := strings.CutPrefix(inside, "var/log/")
		if !is || !info.Mode().IsRegular() {
			return false
		}
		installed := strings.HasPrefix(name, "apt/") || strings.HasPrefix(name, "cloud-init") || name == "dpkg.log" || name == "bootstrap.log"
		return rotated(name) || installed && info.Size() > 0
	})
}

func (i image) those(want func(inside string, info fs.FileInfo) bool) ([]string, error) {
	var found []string
	for _, f := range i.files {
		if want(f.path, f.info) {
			found = append(found, "/"+f.path)
		}
	}
	return found, nil
}
