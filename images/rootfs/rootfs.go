// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package rootfs holds what vpnami lays down in an image: the files of this
// folder, each at the path that it has in the image, with the modes, owners and
// links of manifest.yaml.
//
// It runs nowhere by itself. The provisioner embeds it and lays [Tree] down; the
// boot verification compares an image with it.
package rootfs

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// "all:" keeps the names that start with a dot or an underscore.
//
//go:embed all:etc all:usr
var files embed.FS

//go:embed manifest.yaml
var manifest []byte

// Entry is one file, folder or link of the image.
type Entry struct {
	// Path is where it stands in the image, absolute.
	Path string
	// Mode has the permission bits, and the type bits of a folder
	// ([fs.ModeDir]) or a link ([fs.ModeSymlink]); a file has none.
	Mode fs.FileMode
	// Owner and Group are names, not numbers: the image decides the numbers.
	Owner, Group string
	// Data is the content of a file.
	Data []byte
	// Target is what a link points to.
	Target string
	// Why tells the reason for what is not ordinary about the entry.
	Why string
}

// Tree returns all entries, sorted by path, so that a folder stands before what
// is in it. The error tells of a manifest that does not fit the files, which a
// build with passing tests cannot have.
func Tree() ([]Entry, error) {
	return tree(files, manifest)
}

type rules struct {
	Files   map[string]modeRule `yaml:"files"`
	Folders map[string]modeRule `yaml:"folders"`
	Links   map[string]linkRule `yaml:"links"`
}

type modeRule struct {
	Mode uint32 `yaml:"mode"`
	Why  string `yaml:"why"`
}

type linkRule struct {
	Target string `yaml:"target"`
	Why    string `yaml:"why"`
}

func tree(files fs.FS, manifest []byte) ([]Entry, error) {
	r, err := parseRules(manifest)
	if err != nil {
		return nil, fmt.Errorf("parsing manifest.yaml: %w", err)
	}
	entries := map[string]Entry{}
	add := func(e Entry) error {
		if path.Clean(e.Path) != e.Path || !path.IsAbs(e.Path) {
			return fmt.Errorf("laying out %q: not a clean absolute path", e.Path)
		}
		if _, twice := entries[e.Path]; twice {
			return fmt.Errorf("laying out %q: it is there twice", e.Path)
		}
		e.Owner, e.Group = "root", "root"
		entries[e.Path] = e
		return nil
	}

	err = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		e := Entry{Path: "/" + name, Mode: 0o644, Data: data}
		if m, ok := r.Files[e.Path]; ok {
			e.Mode, e.Why = fs.FileMode(m.Mode), m.Why
			delete(r.Files, e.Path)
		}
		return add(e)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the embedded files: %w", err)
	}
	if left := slices.Sorted(maps.Keys(r.Files)); len(left) > 0 {
		return nil, fmt.Errorf("reading manifest.yaml: no such files in the tree: %s", strings.Join(left, ", "))
	}
	for p, m := range r.Folders {
		if err := add(Entry{Path: p, Mode: fs.ModeDir | fs.FileMode(m.Mode), Why: m.Why}); err != nil {
			return nil, err
		}
	}
	for p, l := range r.Links {
		if l.Target == "" {
			return nil, fmt.Errorf("reading manifest.yaml: link %q has no target", p)
		}
		if err := add(Entry{Path: p, Mode: fs.ModeSymlink | 0o777, Target: l.Target, Why: l.Why}); err != nil {
			return nil, err
		}
	}
	byPath := func(a, b Entry) int { return strings.Compare(a.Path, b.Path) }
	return slices.SortedFunc(maps.Values(entries), byPath), nil
}

func parseRules(manifest []byte) (rules, error) {
	var r rules
	d := yaml.NewDecoder(strings.NewReader(string(manifest)))
	d.KnownFields(true)
	if err := d.Decode(&r); err != nil {
		return rules{}, err
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return rules{}, errors.New("a second document follows the first")
	}
	return r, nil
}
