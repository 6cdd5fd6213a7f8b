// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKernelOf(t *testing.T) {
	root := t.TempDir()
	boot := filepath.Join(root, "boot")
	if err := os.Mkdir(boot, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := kernelOf(root); err == nil || !strings.Contains(err.Error(), "vmlinuz-*") {
		t.Errorf("no kernel: %v", err)
	}
	touch := func(name string) {
		if err := os.WriteFile(filepath.Join(boot, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	touch("vmlinuz-6.9.12-cloud-amd64")
	touch("vmlinuz-6.12.9-cloud-amd64")
	touch("vmlinuz-6.12.10-cloud-amd64")
	if _, err := kernelOf(root); err == nil || !strings.Contains(err.Error(), "6.12.10-cloud-amd64") {
		t.Errorf("no initrd: %v", err)
	}
	touch("initrd.img-6.12.10-cloud-amd64")
	if v, err := kernelOf(root); err != nil || v != "6.12.10-cloud-amd64" {
		t.Errorf("got %q, %v", v, err)
	}
}

func FuzzCompareVersions(f *testing.F) {
	f.Add("6.9", "6.12")
	f.Add("", "0")
	f.Add("6.012", "6.12")
	f.Fuzz(func(t *testing.T, a, b string) {
		ab, ba := compareVersions(a, b), compareVersions(b, a)
		if (ab < 0) != (ba > 0) || (ab == 0) != (ba == 0) {
			t.Errorf("compareVersions(%q, %q) = %d, and the other way %d", a, b, ab, ba)
		}
	})
}

// The partitions touch neither each other nor the second partition table, at the
// least size and the largest.
func TestDiskLayout(t *testing.T) {
	for _, size := range []string{"1G", "2G", "16T"} {
		c, err := prepare(t, map[string]any{"disk_size": size, "architecture": "amd64"})
		if err != nil {
			t.Fatal(err)
		}
		d := newDisk(c)
		if d.rootStart()%mib != 0 || d.rootStart() < espStart+espSize {
			t.Errorf("%s: the root starts at %d", size, d.rootStart())
		}
		if end := d.rootStart() + d.rootSize(); end%mib != 0 || end > d.size-33*sector {
			t.Errorf("%s: the root ends at %d of %d", size, end, d.size)
		}
	}
}

// Names are of the inputs: the same twice, and others for another release.
func TestDiskNames(t *testing.T) {
	of := func(release string) disk {
		c, err := prepare(t, map[string]any{"release": release})
		if err != nil {
			t.Fatal(err)
		}
		return newDisk(c)
	}
	if first, second := of("trixie"), of("trixie"); first != second {
		t.Error("two bakes of the same inputs have other names")
	}
	if of("trixie").rootID == of("bookworm").rootID {
		t.Error("two releases have the same UUID")
	}
}
