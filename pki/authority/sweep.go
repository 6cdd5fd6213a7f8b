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
	"strings"
	"time"
)

// leftAfter is when what is still temporary was left by a kill: a file is
// temporary for milliseconds, an authority for a second.
const leftAfter = time.Minute

// SweepProfiles removes from a folder the profiles that a kill left half
// written: each may hold a person's key. It returns their paths.
func SweepProfiles(folder string, now time.Time) ([]string, error) {
	return sweep(folder, now, func(name string, info fs.FileInfo) bool {
		return info.Mode().IsRegular() && strings.HasSuffix(name, ".ovpn")
	})
}

// SweepBuilding removes what a kill left of making an authority at path: it
// may hold a CA's key. It returns the paths.
func SweepBuilding(path string, now time.Time) ([]string, error) {
	path = filepath.Clean(path)
	parent := filepath.Dir(path)
	return sweep(parent, now, func(name string, info fs.FileInfo) bool {
		return name == filepath.Base(path) && info.IsDir() && isBuilding(filepath.Join(parent, info.Name()))
	})
}

// isBuilding tells whether there is nothing in a folder but what [Make] puts
// there first.
func isBuilding(path string) bool {
	entries, err := os.ReadDir(path)
	return err == nil && !slices.ContainsFunc(entries, func(entry fs.DirEntry) bool {
		known := []string{"ca", "server", "people", "certificates", "lock", "log.jsonl", markFile}
		_, temporary := temporaryOf(entry.Name())
		return !temporary && !slices.Contains(known, entry.Name())
	})
}

// sweep goes through what has the form of a temporary name.
func sweep(folder string, now time.Time, ours func(name string, info fs.FileInfo) bool) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for what a broken-off command left: %w", err)
	}
	var swept []string
	var failed error
	for _, entry := range entries {
		name, temporary := temporaryOf(entry.Name())
		if !temporary {
			continue
		}
		info, err := entry.Info()
		if err != nil || now.Sub(info.ModTime()) < leftAfter || !ours(name, info) {
			continue // gone, or being written now, or somebody else's
		}
		path := filepath.Join(folder, entry.Name())
		if err := os.RemoveAll(path); err != nil {
			failed = errors.Join(failed, fmt.Errorf("removing what a broken-off command left: %w", err))
			continue
		}
		swept = append(swept, path)
	}
	return swept, failed
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
