// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSettle(t *testing.T) {
	root := t.TempDir()
	epoch := time.Date(2025, 11, 15, 9, 30, 12, 0, time.UTC) // day 20407
	old := time.Date(2024, 1, 2, 3, 4, 5, 600, time.UTC)
	write(t, filepath.Join(root, "etc", "shadow"), "root:*:20400:0:99999:7:::\nnew:!:20500:0:99999:7:::\nnone:!*::::::\n")
	write(t, filepath.Join(root, "usr", "old.py"), "x")
	if err := os.Chmod(filepath.Join(root, "etc", "shadow"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(root, "usr", "old.py"), time.Time{}, old); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", filepath.Join(root, "usr", "link")); err != nil {
		t.Fatal(err)
	}
	if err := settle(root, epoch); err != nil {
		t.Fatal(err)
	}
	shadow, err := os.ReadFile(filepath.Join(root, "etc", "shadow"))
	if want := "root:*:20400:0:99999:7:::\nnew:!:20407:0:99999:7:::\nnone:!*::::::\n"; err != nil || string(shadow) != want {
		t.Errorf("shadow is %q, %v; want %q", shadow, err, want)
	}
	for name, want := range map[string]time.Time{
		".": epoch, "etc": epoch, "etc/shadow": epoch, "usr/link": epoch,
		"usr/old.py": old.Truncate(time.Second), // as tar has it
	} {
		info, err := os.Lstat(filepath.Join(root, name))
		if err != nil || !info.ModTime().Equal(want) {
			t.Errorf("%s is of %s, %v; want %s", name, info.ModTime(), err, want)
		}
	}
	if info, err := os.Stat(filepath.Join(root, "etc", "shadow")); err != nil || info.Mode() != 0o640 {
		t.Errorf("shadow has mode %s, %v", info.Mode(), err)
	}
}
