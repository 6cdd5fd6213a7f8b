// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestArchivesOf(t *testing.T) {
	root := t.TempDir()
	lists := filepath.Join(root, aptLists)
	write(t, filepath.Join(lists, "lock"), "")
	if _, err := archivesOf(root); err == nil || !strings.Contains(err.Error(), "no InRelease") {
		t.Errorf("no archive: %v", err)
	}
	write(t, filepath.Join(lists, "mirror_debian_dists_trixie_InRelease"), "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nOrigin: Debian\nDate: Sat, 15 Nov 2025 09:30:12 UTC\n")
	write(t, filepath.Join(lists, "mirror_debian_dists_trixie-updates_Release"), "Date: Sun, 16 Nov 2025 02:00:00 UTC\n")
	write(t, filepath.Join(lists, "mirror_debian_dists_trixie_main_binary-amd64_Packages"), "Date: never read\n")
	got, err := archivesOf(root)
	if err != nil {
		t.Fatal(err)
	}
	// The order of os.ReadDir.
	if len(got) != 2 || got[0].Name != "mirror_debian_dists_trixie-updates" || got[1].Name != "mirror_debian_dists_trixie" || got[0].SHA256 == got[1].SHA256 || len(got[1].SHA256) != 64 {
		t.Errorf("got %+v", got)
	}
	if epoch := epochOf(got); !epoch.Equal(time.Date(2025, 11, 16, 2, 0, 0, 0, time.UTC)) {
		t.Errorf("the image is of %s, and the newest archive is not", epoch)
	}
	write(t, filepath.Join(lists, "x_InRelease"), "Origin: x\n")
	if _, err := archivesOf(root); err == nil || !strings.Contains(err.Error(), `"x"`) {
		t.Errorf("an archive without a date: %v", err)
	}
}

func FuzzReleaseDate(f *testing.F) {
	f.Add("Date: Sat, 15 Nov 2025 09:30:12 UTC\n")
	f.Add("Date: Sat,  5 Jul 2025 09:30:12 UTC\n")
	f.Add("Date:\n")
	f.Add("Date: Thu, 01 Jan 1970 00:00:00 UTC\n")
	f.Fuzz(func(t *testing.T, release string) {
		date, err := releaseDate(release)
		if err == nil && (date.Unix() < 1 || date.Location() != time.UTC) {
			t.Errorf("%q is of %s", release, date)
		}
	})
}
