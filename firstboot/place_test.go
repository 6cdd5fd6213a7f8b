// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func someFiles(text string) []File {
	return []File{
		{"ccd", folderMode, nil},
		{"ccd/client1", fileMode, nil},
		{"revoked", folderMode, nil},
		{"rules.v4", fileMode, []byte("four " + text)},
		{"rules.v6", fileMode, []byte("six")},
		{"serials", folderMode, nil},
		{"server.conf", fileMode, []byte("conf " + text)},
		{"server.key", fileMode, []byte("key")},
	}
}

// tree is every path under a folder, with its mode.
func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		name, _ := filepath.Rel(root, path)
		out[name] = info.Mode().String()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func place(t *testing.T, m machine, text string) generation {
	t.Helper()
	g, err := m.store.place(t.Context(), someFiles(text), record{Instance: "i-1", Role: RoleVPN})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestPlace(t *testing.T) {
	m := newMachine(t)
	g := place(t, m, "one")
	want := map[string]string{
		".": "drwxr-xr-x", "current": "Lrwxrwxrwx", "generations": "drwxr-xr-x",
		"pending-" + filterUnit: "-rw-r--r--", "pending-" + openvpnUnit: "-rw-r--r--",
		"generations/1":                 "drwxr-x---",
		"generations/1/ccd":             "drwxr-x---",
		"generations/1/ccd/client1":     "-rw-r-----",
		"generations/1/generation.json": "-rw-r-----",
		"generations/1/revoked":         "drwxr-x---",
		"generations/1/rules.v4":        "-rw-r-----",
		"generations/1/rules.v6":        "-rw-r-----",
		"generations/1/serials":         "drwxr-x---",
		"generations/1/server.conf":     "-rw-r-----",
		"generations/1/server.key":      "-rw-r-----",
	}
	if diff := cmp.Diff(want, tree(t, m.layout.state())); diff != "" {
		t.Error(diff)
	}
	if text, err := os.ReadFile(filepath.Join(m.layout.current(), "server.conf")); err != nil || string(text) != "conf one" {
		t.Errorf("got %q, %v", text, err)
	}
	if text, err := os.ReadFile(filepath.Join(m.layout.rules(), rules4)); err != nil || string(text) != "four one" {
		t.Errorf("got %q, %v", text, err)
	}
	if diff := cmp.Diff([]string{filterUnit, openvpnUnit}, m.store.waiting()); diff != "" {
		t.Error(diff)
	}
	if got, ok := m.store.read(m.layout.current()); !ok || got != g {
		t.Errorf("got %+v, want %+v", got, g)
	}
}

func TestPlaceAgain(t *testing.T) {
	m := newMachine(t)
	first := place(t, m, "one")
	if err := m.store.setWaiting(); err != nil {
		t.Fatal(err)
	}
	before := stamps(t, m)
	if again := place(t, m, "one"); again != first {
		t.Errorf("got %+v, want %+v", again, first)
	}
	if diff := cmp.Diff(before, stamps(t, m)); diff != "" {
		t.Errorf("something was written: %s", diff)
	}
	second := place(t, m, "two")
	if second.Name != "2" {
		t.Errorf("got %+v", second)
	}
	if err := m.store.keep(second); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(m.store.folder(first)); err == nil {
		t.Error("the old generation is still there")
	}
	if got, ok := m.store.read(m.layout.proven()); !ok || got != second {
		t.Errorf("got %+v", got)
	}
}

// stamps tells of every file when it was written.
func stamps(t *testing.T, m machine) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, folder := range []string{m.layout.state(), m.layout.rules()} {
		for name := range tree(t, folder) {
			info, err := os.Lstat(filepath.Join(folder, name))
			if err != nil {
				t.Fatal(err)
			}
			out[filepath.Join(folder, name)] = info.ModTime().String()
		}
	}
	return out
}

// TestPlaceRepairs: what somebody has changed on the disk is laid down anew.
func TestPlaceRepairs(t *testing.T) {
	for name, spoil := range map[string]func(m machine) error{
		"a file": func(m machine) error {
			return os.WriteFile(filepath.Join(m.layout.current(), "server.conf"), []byte("x"), 0o640)
		},
		"a mode":  func(m machine) error { return os.Chmod(filepath.Join(m.layout.current(), "server.key"), 0o644) },
		"missing": func(m machine) error { return os.Remove(filepath.Join(m.layout.current(), "ccd/client1")) },
		"another": func(m machine) error {
			return os.WriteFile(filepath.Join(m.layout.current(), "ccd/mallory"), []byte("any\n"), 0o640)
		},
		"another folder":  func(m machine) error { return os.Mkdir(filepath.Join(m.layout.current(), "more"), 0o750) },
		"a folder's mode": func(m machine) error { return os.Chmod(filepath.Join(m.layout.current(), "ccd"), 0o755) },
		"a group": func(m machine) error {
			return os.Chown(filepath.Join(m.layout.current(), "server.key"), -1, otherGroup(m))
		},
		"no record": func(m machine) error { return os.Remove(filepath.Join(m.layout.current(), recordFile)) },
		"the rules": func(m machine) error { return os.WriteFile(filepath.Join(m.layout.rules(), rules4), nil, 0o640) },
		"the link":  func(m machine) error { return os.Remove(m.layout.current()) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			place(t, m, "one")
			wanted := tree(t, m.layout.current()+"/.")
			if err := spoil(m); err != nil {
				t.Fatal(err)
			}
			place(t, m, "one")
			if text, err := os.ReadFile(filepath.Join(m.layout.current(), "server.conf")); err != nil || string(text) != "conf one" {
				t.Errorf("got %q, %v", text, err)
			}
			if text, err := os.ReadFile(filepath.Join(m.layout.rules(), rules4)); err != nil || string(text) != "four one" {
				t.Errorf("got %q, %v", text, err)
			}
			now := tree(t, m.layout.current()+"/.")
			if diff := cmp.Diff(wanted, now); diff != "" {
				t.Error(diff)
			}
			info, err := os.Stat(filepath.Join(m.layout.current(), "server.key"))
			if owner, ok := info.Sys().(*syscall.Stat_t); !ok || int(owner.Gid) != m.daemon.gid {
				t.Errorf("the group is %+v", owner)
			}
			if err != nil || info.Mode() != fileMode {
				t.Errorf("got %v, %v", info.Mode(), err)
			}
		})
	}
}

// otherGroup is one that files are not placed with, and may be given to here.
func otherGroup(m machine) int {
	if os.Geteuid() == 0 {
		return 0
	}
	return m.daemon.gid
}

// TestPlaceEnds: a run that is over leaves nothing half placed.
func TestPlaceEnds(t *testing.T) {
	m := newMachine(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.store.place(ctx, someFiles("one"), record{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if left := tree(t, m.layout.generations()); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
	place(t, m, "one")
}

// TestDaemonFilesOnly: a change of who may come in restarts nothing.
func TestDaemonFilesOnly(t *testing.T) {
	m := newMachine(t)
	place(t, m, "one")
	if err := m.store.setWaiting(); err != nil {
		t.Fatal(err)
	}
	files := append(someFiles("one"), File{"revoked/17", fileMode, nil})
	g, err := m.store.place(t.Context(), files, record{Instance: "i-1", Role: RoleVPN})
	if err != nil || g.Name != "2" {
		t.Fatalf("got %+v, %v", g, err)
	}
	if got := m.store.waiting(); len(got) != 0 {
		t.Errorf("restarts %q", got)
	}
}

func TestSweep(t *testing.T) {
	m := newMachine(t)
	place(t, m, "one")
	for _, path := range []string{m.layout.state() + "/.vpnami-123", m.layout.rules() + "/.vpnami-9"} {
		if err := os.WriteFile(path, []byte("key"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	left := m.layout.generations() + "/.vpnami-2/probe"
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(left+"/client.key", []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.store.sweep(); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{m.layout.state(), m.layout.rules()} {
		for name := range tree(t, folder) {
			if strings.Contains(name, tempPrefix) {
				t.Errorf("left: %s", name)
			}
		}
	}
}

func TestWipe(t *testing.T) {
	m := newMachine(t)
	if err := m.store.keep(place(t, m, "one")); err != nil {
		t.Fatal(err)
	}
	if err := m.store.wipe(); err != nil {
		t.Fatal(err)
	}
	left := tree(t, m.layout.state())
	if diff := cmp.Diff(map[string]string{".": "drwxr-xr-x", "pending-" + filterUnit: "-rw-r--r--"}, left); diff != "" {
		t.Error(diff)
	}
	if text, err := os.ReadFile(filepath.Join(m.layout.rules(), rules4)); err != nil || !slices.Equal(text, baseRules()) {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestFindAccount(t *testing.T) {
	m := newMachine(t)
	if got, err := findAccount(m.layout.passwd(), daemonAccount); err != nil || got != m.daemon {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := findAccount(m.layout.passwd(), "vpnami"); err == nil {
		t.Error("finds somebody who is not there")
	}
}
