// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDiskFaults are the cells of the matrix that take a disk of their own: it is
// full, or read-only, as a broken one becomes. What stands goes on, nothing new
// comes into force, SSH stays as it is, and it passes with the fault.
func TestDiskFaults(t *testing.T) {
	need(t)
	for name, c := range map[string]struct {
		words       string
		spoil, mend func(t *testing.T, folder string)
	}{
		"full": {"no space left on device",
			func(t *testing.T, folder string) {
				t.Helper()
				file, err := os.Create(filepath.Join(folder, "ballast"))
				if err != nil {
					t.Fatal(err)
				}
				defer file.Close()
				for err == nil {
					_, err = file.Write(make([]byte, 4096))
				}
				if !strings.Contains(err.Error(), "no space left") {
					t.Fatal(err)
				}
			},
			func(t *testing.T, folder string) {
				t.Helper()
				if err := os.Remove(filepath.Join(folder, "ballast")); err != nil {
					t.Fatal(err)
				}
			}},
		"read-only": {"read-only file system",
			func(t *testing.T, folder string) { t.Helper(); remount(t, folder, unix.MS_RDONLY) },
			func(t *testing.T, folder string) { t.Helper(); remount(t, folder, 0) }},
	} {
		for _, m := range moments() {
			t.Run(name+" "+m.name, func(t *testing.T) {
				g := newGateway(t, vpnDocument)
				folder := g.machine.layout.state()
				// 1 MiB is some four generations of the article's launch.
				if err := unix.Mount("tmpfs", folder, "tmpfs", 0, "size=1m,mode=755"); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := unix.Unmount(folder, 0); err != nil {
						t.Error(err)
					}
				})
				m.prepare(g)
				stood := m.name != "first boot"
				before, _ := g.machine.store.read(g.machine.layout.current())
				c.spoil(t, folder)
				g.console.Reset()
				var said bytes.Buffer
				state := Refused
				if m.name != "sync" {
					state = g.program().run(t.Context()).State
				} else if g.program().sync(t.Context(), io.Discard, &said) == exitReady {
					state = Ready
				}
				console := g.console.String() + said.String()
				if state == Ready {
					t.Errorf("reported ready, and not so:\n%s", console)
				}
				if !strings.Contains(console, c.words) {
					t.Errorf("no word of %q:\n%s", c.words, console)
				}
				ssh := slices.ContainsFunc(g.cloud.rules, func(r Rule) bool { return r.ID == "sgr-0ssh" })
				if running := g.systemd.states[openvpnUnit] == "active"; running != stood || !ssh && !running {
					t.Errorf("the daemon runs: %v, SSH is open: %v\n%s", running, ssh, console)
				}
				if now, _ := g.machine.store.read(g.machine.layout.current()); now.Files != before.Files {
					t.Errorf("in force is %+v", now)
				}
				c.mend(t, folder)
				g.want(g.boot(), Ready, "")
			})
		}
	}
}

func remount(t *testing.T, folder string, flags uintptr) {
	t.Helper()
	if err := unix.Mount("", folder, "", unix.MS_REMOUNT|flags, "size=1m,mode=755"); err != nil {
		t.Fatal(err)
	}
}
