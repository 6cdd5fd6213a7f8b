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
	"strconv"
	"strings"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// leftAfter is when what is still temporary was left by a kill: a file is
// temporary for milliseconds.
const leftAfter = time.Minute

// SweepProfiles removes from a folder the profiles that a kill left half
// written: each may hold a person's key. It returns their paths.
func SweepProfiles(folder string, now time.Time) ([]string, error) {
	found, err := find(folder, func(name string, info fs.FileInfo) bool {
		if now.Sub(info.ModTime()) < leftAfter {
			return false
		}
		if info.IsDir() {
			return isProfile(filepath.Join(folder, info.Name()), strings.TrimSuffix(name, ".tblk"))
		}
		return info.Mode().IsRegular() && (strings.HasSuffix(name, ".ovpn") || strings.HasSuffix(name, ".p12"))
	})
	swept, failed := removeAll(found)
	return swept, errors.Join(err, failed)
}

// isProfile tells whether a folder has files of the profile of somebody and nothing
// else: those with their name, and those that are called the same for everybody. It
// may have none yet: a kill can come before the first.
func isProfile(path, person string) bool {
	entries, err := os.ReadDir(path)
	return err == nil && bundle.CheckPersonName(person) == nil && !slices.ContainsFunc(entries, func(entry fs.DirEntry) bool {
		name, temporary := temporaryOf(entry.Name())
		if !temporary {
			name = entry.Name()
		}
		theirs := strings.HasPrefix(name, person+".") || slices.Contains([]string{"config.ovpn", "ca.crt", "authority.crt"}, name)
		return entry.IsDir() || !theirs || !slices.Contains([]string{".ovpn", ".crt", ".key"}, filepath.Ext(name))
	})
}

// find goes through what has the form of a temporary name.
func find(folder string, ours func(name string, info fs.FileInfo) bool) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for what a broken-off command left: %w", err)
	}
	var found []string
	for _, entry := range entries {
		name, temporary := temporaryOf(entry.Name())
		if !temporary {
			continue
		}
		info, err := entry.Info()
		if err != nil || !ours(name, info) {
			continue // gone, or being written now, or somebody else's
		}
		found = append(found, filepath.Join(folder, entry.Name()))
	}
	return found, nil
}

// removeAll returns what it could remove.
func removeAll(paths []string) ([]string, error) {
	var removed []string
	var failed error
	for _, path := range paths {
		if err := os.RemoveAll(path); err != nil {
			failed = errors.Join(failed, fmt.Errorf("removing what a broken-off command left: %w", err))
			continue
		}
		removed = append(removed, path)
	}
	return removed, failed
}

// temporaryOf is the name that a temporary one stands for: os.CreateTemp and
// os.MkdirTemp put digits in place of the star.
func temporaryOf(name string) (string, bool) {
	name, dot := strings.CutPrefix(name, ".")
	name, tmp := strings.CutSuffix(name, ".tmp")
	i := strings.LastIndexByte(name, '.')
	if !dot || !tmp || i < 1 || i == len(name)-1 || strings.Trim(name[i+1:], "0123456789") != "" {
		return "", false
	}
	return name[:i], true
}

// unfinishedAfter is when a numbered folder that lacks something was left by a kill.
// Before that it may be one that another machine has made and a synchronised folder
// has not brought whole: to remove it would remove it there as well.
const unfinishedAfter = 24 * time.Hour

// Sweep removes what a broken-off command left in the folder: temporary files,
// a CA or a set of the gateway's keys that never came into force, and sets that
// are no longer in force. Only the holder of the lock may call it. It returns the
// paths of the CAs and sets that never came into force; the log tells of what was signed
// in them.
//
// It passes over the two folders with a file for each person and certificate:
// to list a hundred thousand takes longer than to issue, and nothing in them is
// secret. [Folder.SweepAll] does not.
func (f Folder) Sweep(now time.Time) ([]string, error) { return f.sweep(now, ".") }

// SweepAll is [Folder.Sweep] of all folders.
func (f Folder) SweepAll(now time.Time) ([]string, error) {
	return f.sweep(now, ".", "certificates", "people")
}

func (f Folder) sweep(now time.Time, folders ...string) ([]string, error) {
	if err := f.checkNewest(); err != nil {
		return nil, err
	}
	unfinished, kept, err := f.above(now)
	temporary := func(name string) bool { _, is := temporaryOf(name); return is }
	for _, folder := range []string{"ca", "server"} {
		more, failed := f.look(folder, temporary)
		unfinished, err = append(unfinished, more...), errors.Join(err, failed)
	}
	folders = append(folders, filepath.Join("server", strconv.Itoa(f.mark.Server)))
	for _, number := range f.mark.numbers() {
		folders = append(folders, filepath.Join("ca", strconv.Itoa(number)))
	}
	var stale []string
	for _, folder := range append(folders, kept...) {
		more, failed := f.look(folder, temporary)
		stale, err = append(stale, more...), errors.Join(err, failed)
	}
	// A CA that was replaced stays, as the record that it is.
	more, failed := f.look("server", func(name string) bool { n, err := strconv.Atoi(name); return err == nil && n < f.mark.Server })
	err = errors.Join(err, failed)
	for _, path := range append(stale, more...) {
		err = errors.Join(err, os.RemoveAll(path))
	}
	if failed := f.logLeft(now, unfinished); failed != nil {
		return nil, errors.Join(err, failed)
	}
	unfinished, failed = removeAll(unfinished)
	return unfinished, errors.Join(err, failed)
}

// look finds what is stale in a folder.
func (f Folder) look(folder string, isStale func(name string) bool) ([]string, error) {
	entries, err := os.ReadDir(f.at(folder))
	if err != nil {
		return nil, fmt.Errorf("looking for what a broken-off command left: %w", err)
	}
	var stale []string
	for _, entry := range entries {
		if isStale(entry.Name()) {
			stale = append(stale, f.at(folder, entry.Name()))
		}
	}
	return stale, nil
}

// above finds the numbered folders that never were in force by authority.json, most of
// them above those that are: those that a kill left unfinished, and the rest, which are
// kept.
func (f Folder) above(now time.Time) (unfinished, kept []string, err error) {
	skipped := map[string][]int{"ca": f.mark.Skipped}
	for folder, inForce := range map[string]int{"ca": f.mark.Signing, "server": f.mark.Server} {
		found, failed := f.look(folder, func(name string) bool {
			n, err := strconv.Atoi(name)
			return err == nil && (n > inForce || slices.Contains(skipped[folder], n))
		})
		err = errors.Join(err, failed)
		for _, path := range found {
			info, failed := os.Stat(path)
			if failed != nil || !info.IsDir() {
				continue // none of ours
			}
			if now.Sub(info.ModTime()) > unfinishedAfter && !f.whole(path) {
				unfinished = append(unfinished, path)
				continue
			}
			kept = append(kept, filepath.Join(folder, filepath.Base(path)))
		}
	}
	slices.Sort(unfinished)
	return unfinished, kept, err
}

// whole tells whether a numbered folder that was never in force has all that it must
// have. Such a one may have been in force, where an older authority.json, or the
// whole of an older copy, has been put back: it stays, and is never written over.
func (f Folder) whole(path string) bool {
	wanted := [][]string{{"ca.crt"}, {"crl.pem"}, {"revoked.tsv"}, {lockedKeyFile, heldKeyFile}}
	if filepath.Base(filepath.Dir(path)) == "server" {
		wanted = [][]string{{"server.crt"}, {"server.key"}, {"tls-crypt-v2.key"}, {"probe.crt"}, {"probe.key"}, {"probe-tls-crypt-v2.key"}}
	}
	for _, either := range wanted {
		if !slices.ContainsFunc(either, func(name string) bool { _, err := os.Stat(filepath.Join(path, name)); return err == nil }) {
			return false
		}
	}
	return true
}

// nextNumber is that of the next folder in ca or server: none that is there is
// written over.
func (f Folder) nextNumber(folder string, inForce int) (int, error) {
	entries, err := os.ReadDir(f.at(folder))
	if err != nil {
		return 0, fmt.Errorf("looking for the next number: %w", err)
	}
	for _, entry := range entries {
		if n, err := strconv.Atoi(entry.Name()); err == nil {
			inForce = max(inForce, n)
		}
	}
	return inForce + 1, nil
}

// checkNewest refuses to go on with an authority.json that is older than the rest,
// put back after damage, whose keys of the gateway are gone.
func (f Folder) checkNewest() error {
	path := f.at("server", strconv.Itoa(f.mark.Server))
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	later, err := f.look("server", func(name string) bool { n, err := strconv.Atoi(name); return err == nil && n > f.mark.Server })
	if err == nil && len(later) > 0 {
		return fmt.Errorf("looking for what a broken-off command left: %q is gone, which %s names: that is older than the rest: put the newest one back; if there is none, restore your newest copy whole, into an empty place", path, markFile)
	}
	return fmt.Errorf("looking for the gateway's keys: %q is gone, which %s names: put that one folder back from your newest copy", path, markFile)
}
