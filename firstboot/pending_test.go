// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestPending: what a crash kept from being taken up is remembered until the
// next boot, which takes up everything.
func TestPending(t *testing.T) {
	m := newMachine(t)
	place(t, m, "one")
	place(t, m, "one")
	if diff := cmp.Diff([]string{filterUnit, openvpnUnit}, m.store.waiting()); diff != "" {
		t.Error(diff)
	}
	if err := m.store.taken(filterUnit); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{openvpnUnit}, m.store.waiting()); diff != "" {
		t.Error(diff)
	}
	m.reboot(t)
	if got := m.store.waiting(); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}

// TestTakenOnAFullDisk: where the disk fills once everything is laid down, what the
// units take up can still be noted. The daemon waits for the filter's note to go.
func TestTakenOnAFullDisk(t *testing.T) {
	need(t)
	m := newMachine(t)
	if err := unix.Mount("tmpfs", m.layout.state(), "tmpfs", 0, disk); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(m.layout.state(), 0); err != nil {
			t.Error(err)
		}
	})
	place(t, m, "one")
	fillDisk(t, filepath.Join(m.layout.state(), "ballast"))
	if err := m.store.taken(filterUnit); err != nil {
		t.Fatal(err)
	}
	if err := awaitFilter(t.Context(), m.layout, 20*time.Millisecond); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{openvpnUnit}, m.store.waiting()); diff != "" {
		t.Error(diff)
	}
}

// TestAwaitFilter: the wait has an end, and what another boot wrote is no reason
// to wait once a run has begun.
func TestAwaitFilter(t *testing.T) {
	m := newMachine(t)
	place(t, m, "one")
	if err := awaitFilter(t.Context(), m.layout, 20*time.Millisecond); err == nil || !strings.Contains(err.Error(), "were not loaded within 20ms") {
		t.Errorf("got %v", err)
	}
	if err := m.store.sweep(); err != nil || len(m.store.waiting()) == 0 {
		t.Errorf("what this boot wrote is forgotten: %v", err)
	}
	later := m.store
	later.bootID = "boot-two"
	if err := later.sweep(); err != nil {
		t.Fatal(err)
	}
	if err := awaitFilter(t.Context(), m.layout, 20*time.Millisecond); err != nil {
		t.Error(err)
	}
	// What cannot be read is not taken for nothing.
	if err := os.Mkdir(m.layout.pending(filterUnit), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := awaitFilter(t.Context(), m.layout, 20*time.Millisecond); err == nil {
		t.Error("a note that cannot be read is taken for none")
	}
}
