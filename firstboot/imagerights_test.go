// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHardenNamesTheSame: what the bake leaves its rights to, the check leaves them.
func TestHardenNamesTheSame(t *testing.T) {
	script, err := os.ReadFile("../plugin/provisioner/scripts/harden.sh")
	if err != nil {
		t.Fatal(err)
	}
	var raise, have []string
	for _, names := range regexp.MustCompile(`(?m)^\t+([a-z].*)\) continue ;;$`).FindAllStringSubmatch(string(script), -1) {
		if words := strings.Split(names[1], " | "); slices.Contains(words, "ping") {
			have = append(have, words...)
		} else {
			raise = append(raise, words...)
		}
	}
	slices.Sort(raise)
	slices.Sort(have)
	want := mayRaise()
	slices.Sort(want)
	if !slices.Equal(raise, want) {
		t.Errorf("harden.sh leaves the bits of %q, check-image of %q", raise, want)
	}
	if want := slices.Sorted(maps.Keys(mayHave())); !slices.Equal(have, want) {
		t.Errorf("harden.sh leaves the capabilities of %q, check-image of %q", have, want)
	}
}

// TestCheckImageForeignSetuid has programs with the name of one that may.
func TestCheckImageForeignSetuid(t *testing.T) {
	const path = "usr/lib/x/passwd"
	for name, c := range map[string]struct{ list, want string }{
		"no package's":    {"", "/" + path + " (is no package's)"},
		"another":         {sumOf([]byte("passwd")) + "  " + path + "\n", "/" + path + " (is not as its package has it)"},
		"another's lines": {sumOf([]byte("a shell")) + "  " + path + ".old\n", "/" + path + " (is no package's)"},
		"its package's":   {sumOf([]byte("a shell")) + "  " + path + "\n", ""},
		"from before":     {sumOf([]byte("a shell")) + "  lib/x/passwd\n", ""}, // Debian 12 has sbin/unix_chkpwd
		"taken over":      {sumOf([]byte("old")) + "  " + path + "\n" + sumOf([]byte("a shell")) + "  " + path + "\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			root := cleanImage(t)
			put(t, root, path, "a shell")
			put(t, root, "var/lib/dpkg/info/x.md5sums", c.list)
			if err := os.Chmod(filepath.Join(root, path), 0o755|os.ModeSetuid); err != nil {
				t.Fatal(err)
			}
			finds(t, root, "foreign-setuid", c.want)
		})
	}
}

// TestCheckImageCapabilities gives files capabilities, as setcap does.
func TestCheckImageCapabilities(t *testing.T) {
	const setuid, raw, admin = 1 << unix.CAP_SETUID, 1 << unix.CAP_NET_RAW, 1 << unix.CAP_SYS_ADMIN
	for name, c := range map[string]struct {
		path                   string
		permitted, inheritable uint64
		packaged               bool
		want                   string
	}{
		"a copy of python":            {"srv/python3", setuid, 0, false, "/srv/python3"},
		"python itself":               {"usr/bin/python3", setuid, 0, true, "/usr/bin/python3"},
		"kept by who has it":          {"usr/bin/python3", 0, setuid, true, "/usr/bin/python3"},
		"of the upper half":           {"usr/bin/python3", 1 << unix.CAP_BPF, 0, true, "/usr/bin/python3"},
		"none, but said":              {"usr/bin/python3", 0, 0, true, ""},
		"ping":                        {"usr/bin/ping", raw, 0, true, ""},
		"a ping of somebody's":        {"usr/bin/ping", raw, 0, false, "/usr/bin/ping (is no package's)"},
		"a ping elsewhere":            {"usr/local/bin/ping", raw, 0, true, "/usr/local/bin/ping"},
		"a ping that may do more":     {"usr/bin/ping", raw | admin, 0, true, "/usr/bin/ping"},
		"snapd's":                     {"usr/lib/snapd/snap-confine", admin | setuid | 1<<unix.CAP_BPF, 0, true, ""},
		"a program of another's name": {"usr/bin/snap-confine", admin, 0, false, "/usr/bin/snap-confine (is no package's)"},
	} {
		t.Run(name, func(t *testing.T) {
			root := cleanImage(t)
			put(t, root, c.path, "a program")
			if c.packaged {
				put(t, root, "var/lib/dpkg/info/x.md5sums", sumOf([]byte("a program"))+"  "+c.path+"\n")
			}
			data := make([]byte, 20) // struct vfs_cap_data, revision 2, effective
			for at, word := range []uint64{0x02000001, c.permitted & math.MaxUint32, c.inheritable & math.MaxUint32, c.permitted >> 32, c.inheritable >> 32} {
				binary.LittleEndian.PutUint32(data[4*at:], uint32(word))
			}
			err := unix.Setxattr(filepath.Join(root, c.path), "security.capability", data, 0)
			if errors.Is(err, unix.EPERM) && os.Getenv("VPNAMI_REQUIRE") == "" {
				t.Skip("only root gives capabilities")
			}
			if err != nil {
				t.Fatal(err)
			}
			finds(t, root, "file-capability", c.want)
		})
	}
}
