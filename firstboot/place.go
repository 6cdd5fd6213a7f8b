// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// recordFile stands in each generation and says what it is.
const recordFile = "generation.json"

// record is what a later boot needs to know of a generation.
type record struct {
	Schema   int    `json:"schema"`
	Instance string `json:"instance"`
	Role     Role   `json:"role"`
	Version  string `json:"version"`
	// Files, Daemon and Rules are digests: of all files, of those that the
	// daemon reads at its start, and of the packet filter's.
	Files  string `json:"files"`
	Daemon string `json:"daemon"`
	Rules  string `json:"rules"`
	// Machine is the firmware's name of the machine, for a boot at which the
	// metadata service does not answer.
	Machine string `json:"machine,omitempty"`
	// What a gateway serves: a later boot may have another launch before it.
	Network netip.Prefix `json:"network,omitzero"`
	Proto   string       `json:"proto,omitempty"`
	Port    uint16       `json:"port,omitempty"`
	Server  ServerEnd    `json:"server,omitzero"`
	CRL     CRLEnd       `json:"crl,omitzero"`
	// PreviousCRL is there while one CA replaces another.
	PreviousCRL CRLEnd  `json:"previous_crl,omitzero"`
	Own         *OwnEnd `json:"own,omitempty"` // with nat: per-client
}

const recordSchema = 1

// store lays generations down and knows which is in force.
type store struct {
	layout layout
	group  int // of the daemon
	bootID string
}

// generation is one complete set of files on the disk.
type generation struct {
	Name string // the folder's name, a number
	record
}

// sweep removes what a crash left unfinished.
func (s store) sweep() error {
	for _, folder := range []string{s.layout.state(), s.layout.generations(), s.layout.rules()} {
		if err := sweepTemps(folder); err != nil {
			return err
		}
	}
	return s.forgetOtherBoots()
}

// read returns the generation that a link points to; ok is false when there is
// none that is whole.
func (s store) read(link string) (g generation, ok bool) {
	target, err := os.Readlink(link)
	if err != nil {
		return generation{}, false
	}
	g.Name = filepath.Base(target)
	data, err := os.ReadFile(filepath.Join(s.folder(g), recordFile))
	if err != nil || json.Unmarshal(data, &g.record) != nil || g.Schema != recordSchema {
		return generation{}, false
	}
	return g, true
}

func (s store) folder(g generation) string { return filepath.Join(s.layout.generations(), g.Name) }

// place makes files the generation in force, all of them or none. When the one
// in force has the same files already, nothing is written.
func (s store) place(ctx context.Context, files []File, r record) (generation, error) {
	r.Schema, r.Files = recordSchema, digest(files)
	r.Daemon, r.Rules = digest(files, daemonFiles()...), digest(files, rules4, rules6)
	now, ok := s.read(s.layout.current())
	if ok && now.same(r) && s.whole(now, files) {
		if r.Version = now.Version; !reflect.DeepEqual(now.record, r) {
			// The same files of another secret: a list with a higher number.
			now.record = r
			if err := s.describe(now); err != nil {
				return generation{}, err
			}
		}
		// The rules files lie outside; somebody may have changed them.
		return now, s.enforce(now)
	}
	g := generation{Name: strconv.Itoa(s.highest() + 1), record: r}
	if err := s.write(ctx, g, files); err != nil {
		return generation{}, err
	}
	return g, s.enforce(g)
}

// same leaves the version out: a new program that renders the same files has
// nothing to write.
func (r record) same(other record) bool {
	return r.Instance == other.Instance && r.Role == other.Role && r.Files == other.Files
}

// whole tells whether a generation on the disk has exactly these files and no
// other: an interrupted disk, or a person, may have changed one.
func (s store) whole(g generation, files []File) bool {
	want := map[string]File{".": {".", folderMode, nil}, recordFile: {}}
	for _, f := range files {
		want[f.Path] = f
	}
	err := filepath.WalkDir(s.folder(g), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(s.folder(g), path)
		if err != nil {
			return err
		}
		f, ok := want[name]
		delete(want, name)
		if name == recordFile {
			return nil // root's alone to read, and read already
		}
		if !ok || !s.placed(path, entry, f) {
			return fmt.Errorf("%q is not as it was placed", name)
		}
		return nil
	})
	return err == nil && len(want) == 0
}

// placed tells whether a file or folder is as place makes it.
func (s store) placed(path string, entry fs.DirEntry, f File) bool {
	info, err := entry.Info()
	if err != nil || info.Mode() != f.Mode {
		return false
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !ok || int(owner.Gid) != s.group {
		return false
	}
	if f.Mode.IsDir() {
		return true
	}
	data, err := os.ReadFile(path)
	return err == nil && bytes.Equal(data, f.Data)
}

// highest is the highest number of a generation there is.
func (s store) highest() int {
	entries, err := os.ReadDir(s.layout.generations())
	if err != nil {
		return 0
	}
	highest := 0
	for _, entry := range entries {
		if n, err := strconv.Atoi(entry.Name()); err == nil {
			highest = max(highest, n)
		}
	}
	return highest
}

// write lays a generation down beside those in force.
func (s store) write(ctx context.Context, g generation, files []File) error {
	if err := os.MkdirAll(s.layout.generations(), 0o755); err != nil { //nolint:gosec // what is secret lies deeper, under 0750
		return fmt.Errorf("making the folder of the generations: %w", err)
	}
	// Whatever the umask: the daemon's user passes through it.
	if err := os.Chmod(s.layout.generations(), 0o755); err != nil { //nolint:gosec // as above
		return fmt.Errorf("making the folder of the generations: %w", err)
	}
	description, err := g.description()
	if err != nil {
		return err
	}
	all := append(slices.Clone(files), File{recordFile, fileMode, description})
	temp := filepath.Join(s.layout.generations(), tempPrefix+g.Name)
	if err := os.Mkdir(temp, 0o700); err != nil {
		return fmt.Errorf("making generation %s: %w", g.Name, err)
	}
	if err := s.fillFolder(ctx, temp, all); err != nil {
		return errors.Join(fmt.Errorf("writing generation %s: %w", g.Name, err), os.RemoveAll(temp))
	}
	if err := os.Rename(temp, s.folder(g)); err != nil {
		return fmt.Errorf("writing generation %s: %w", g.Name, err)
	}
	return syncFolder(s.layout.generations())
}

func (g generation) description() ([]byte, error) {
	text, err := json.MarshalIndent(g.record, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("describing generation %s: %w", g.Name, err)
	}
	return append(text, '\n'), nil
}

// describe writes the record of a generation anew.
func (s store) describe(g generation) error {
	text, err := g.description()
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(s.folder(g), recordFile), text, fileMode)
}

// fillFolder writes all files, and then makes them and their folders durable. By
// then the file system has begun to write all of them, so that the first sync
// commits them together; one by one, each would wait for a commit of its own.
func (s store) fillFolder(ctx context.Context, folder string, files []File) error {
	folders := []string{folder}
	var unsynced []string
	for _, f := range files {
		// A revoked set of thousands takes its time.
		if err := ctx.Err(); err != nil {
			return err
		}
		path := filepath.Join(folder, f.Path)
		if f.Mode.IsDir() {
			if err := os.Mkdir(path, 0o700); err != nil {
				return err
			}
			folders = append(folders, path)
			continue
		}
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		err = write(file, f.Data, f.Mode, s.group)
		// A hint: what it cannot do, the sync does.
		_ = unix.SyncFileRange(int(file.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
		if err := errors.Join(err, file.Close()); err != nil {
			return fmt.Errorf("%q: %w", f.Path, err)
		}
		// An empty file has nothing to lose but its name, which is the folder's:
		// a revoked set of thousands stays quick.
		if len(f.Data) > 0 {
			unsynced = append(unsynced, path)
		}
	}
	for _, path := range folders {
		if err := s.open(path); err != nil {
			return err
		}
	}
	for _, path := range append(unsynced, folders...) {
		if err := syncPath(path); err != nil {
			return err
		}
	}
	return nil
}

// open gives a folder its group and mode.
func (s store) open(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(giveTo(folder, s.group), folder.Chmod(folderMode.Perm()), folder.Close())
}

// enforce makes a generation the one in force: rules first, then the link. What
// is changed must be taken up by the packet filter and the daemon; that it is
// pending is written down before, so that a crash in between is noticed.
func (s store) enforce(g generation) error {
	rules := map[string][]byte{}
	changed := false
	for _, name := range []string{rules4, rules6} {
		data, err := os.ReadFile(filepath.Join(s.folder(g), name))
		if err != nil {
			return fmt.Errorf("reading the rules of generation %s: %w", g.Name, err)
		}
		there, err := os.ReadFile(filepath.Join(s.layout.rules(), name))
		if err != nil || !bytes.Equal(there, data) {
			rules[name] = data
		}
	}
	now, ok := s.read(s.layout.current())
	waiting := s.waiting()
	if len(rules) > 0 && !slices.Contains(waiting, filterUnit) {
		waiting, changed = append(waiting, filterUnit), true
	}
	if (!ok || now.Daemon != g.Daemon) && !slices.Contains(waiting, openvpnUnit) {
		waiting, changed = append(waiting, openvpnUnit), true
	}
	if changed {
		if err := s.setWaiting(waiting...); err != nil {
			return err
		}
	}
	for _, name := range []string{rules4, rules6} {
		data, ok := rules[name]
		if !ok {
			continue
		}
		// No group's, whichever this program runs in: nobody but
		// netfilter-persistent, as root, reads them.
		if err := replaceFile(filepath.Join(s.layout.rules(), name), data, 0o600); err != nil {
			return err
		}
	}
	if ok && now.Name == g.Name {
		return nil
	}
	return replaceLink(s.layout.current(), filepath.Join(filepath.Base(s.layout.generations()), g.Name))
}

// keep notes a generation as proven, and removes those that are neither proven
// nor in force.
func (s store) keep(g generation) error {
	if now, ok := s.read(s.layout.proven()); !ok || now.Name != g.Name {
		if err := replaceLink(s.layout.proven(), filepath.Join(filepath.Base(s.layout.generations()), g.Name)); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(s.layout.generations())
	if err != nil {
		return fmt.Errorf("sweeping old generations: %w", err)
	}
	for _, entry := range entries {
		if entry.Name() != g.Name {
			if err := os.RemoveAll(filepath.Join(s.layout.generations(), entry.Name())); err != nil {
				return fmt.Errorf("sweeping old generations: %w", err)
			}
		}
	}
	return nil
}
