// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestSweepKnowsItsOwn has the names that a write and a making really give.
func TestSweepKnowsItsOwn(t *testing.T) {
	folder := t.TempDir()
	written, err := writeTemporary(NewFile{filepath.Join(folder, "client1.ovpn"), privateFile, []byte("key")})
	if err != nil {
		t.Fatal(err)
	}
	profile := written.Name()
	if err := written.Close(); err != nil {
		t.Fatal(err)
	}
	building, err := startBuilding(filepath.Join(folder, "office"))
	if err != nil {
		t.Fatal(err)
	}
	plan := Plan{Path: filepath.Join(folder, "office"), Name: "office", ServerName: "office-vpn", Network: "10.0.255.0/24"}
	if err := fill(building, plan, UnderPassphrase{Passphrase: passphrase}, now); err != nil {
		t.Fatal(err)
	}
	// Killed before the first file was in it.
	empty, err := startBuilding(filepath.Join(folder, "client1.tblk"))
	if err != nil {
		t.Fatal(err)
	}
	sweep := func(at time.Time) {
		t.Helper()
		if _, err := SweepProfiles(folder, at); err != nil {
			t.Fatal(err)
		}
		if _, err := SweepBuilding(plan.Path, at); err != nil {
			t.Fatal(err)
		}
	}
	left := func() int {
		t.Helper()
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	if sweep(time.Now()); left() != 3 {
		t.Errorf("what is being written was swept: %d of %q, %q, %q left", left(), profile, building, empty)
	}
	if sweep(time.Now().Add(2 * leftAfter)); left() != 0 {
		t.Errorf("%d of %q, %q, %q left", left(), profile, building, empty)
	}
	if swept, err := SweepProfiles(filepath.Join(folder, "none"), now); err != nil || swept != nil {
		t.Errorf("a folder that is not there: %q, %v", swept, err)
	}
}
