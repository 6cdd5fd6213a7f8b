// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
	plan := Plan{Path: filepath.Join(folder, "office"), Name: "office", ServerName: "office-vpn", Network: "10.0.255.0/24"}
	building, lock := startedBuilding(t, plan)
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
		if _, _, err := SweepBuilding(plan.Path, at); err != nil {
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
	if sweep(time.Now().Add(2 * leftAfter)); left() != 1 { // the one may take long
		t.Errorf("an authority that is being made was swept: %d left", left())
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if sweep(time.Now()); left() != 0 {
		t.Errorf("%d of %q, %q, %q left", left(), profile, building, empty)
	}
	if swept, err := SweepProfiles(filepath.Join(folder, "none"), now); err != nil || swept != nil {
		t.Errorf("a folder that is not there: %q, %v", swept, err)
	}
}

// TestSweepLeavesWhatIsAnothers: names and content only look like those of a profile.
func TestSweepLeavesWhatIsAnothers(t *testing.T) {
	folder := t.TempDir()
	for name, swept := range map[string]bool{
		".client1.123.tmp/client1.key":              true,
		".client2.123.tmp/client2.tls-crypt-v2.key": true,
		".client3.tblk.123.tmp/config.ovpn":         true,
		".client4.123.tmp/.client4.key.456.tmp":     true,
		".client5.123.tmp/ca.crt":                   true,
		".client6.123.tmp/theirs.key":               false,
		".client7.123.tmp/client7.txt":              false,
		".my own keys.123.tmp/my own keys.key":      false,
		".vpnami-probe.123.tmp/vpnami-probe.key":    false,
		".client8.123.tmp/client8.key/client8.key":  false,
	} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), folderMode); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, privateFile); err != nil {
			t.Fatal(err)
		}
		if _, err := SweepProfiles(folder, time.Now().Add(2*leftAfter)); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); os.IsNotExist(err) != swept {
			t.Errorf("%s: swept is %v", name, !swept)
		}
	}
}

// TestOlderMarkRemovesNothing: an authority.json from before a roll-over, or from
// before the gateway's keys were renewed, does not make the next command remove what
// came since.
func TestOlderMarkRemovesNothing(t *testing.T) {
	mark := func(folder Folder) []byte {
		t.Helper()
		raw, err := os.ReadFile(folder.at(markFile))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	with := func(folder Folder, raw []byte) Folder {
		t.Helper()
		if err := os.WriteFile(folder.at(markFile), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		opened, err := Open(folder.Path())
		if err != nil {
			t.Fatal(err)
		}
		return opened
	}
	t.Run("a second CA", func(t *testing.T) {
		folder := newFolder(t)
		old := mark(folder)
		folder, err := folder.StartRollover(unlock(t, folder, now), UnderPassphrase{Passphrase: passphrase})
		if err != nil {
			t.Fatal(err)
		}
		client := added(t, folder, "ann")
		newest := mark(folder)
		// Yesterday's people and log, too: nothing but the folder itself tells.
		for _, path := range []string{"log.jsonl", "people/ann.json"} {
			if err := os.Rename(folder.at(path), filepath.Join(t.TempDir(), "gone")); err != nil {
				t.Fatal(err)
			}
		}
		before := tree(t, folder.Path())
		if _, err := with(folder, old).Sweep(now); err != nil {
			t.Error(err)
		}
		folder = with(folder, newest)
		if _, err := folder.Sweep(now); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(before, tree(t, folder.Path())); diff != "" {
			t.Error(diff)
		}
		if err := folder.CheckRevocable(revocableOf(t, folder, client.Pair.Certificate)); err != nil {
			t.Error(err)
		}
	})
	t.Run("a second CA of which nobody has a certificate", func(t *testing.T) {
		folder := newFolder(t)
		old := mark(folder)
		folder, err := folder.StartRollover(unlock(t, folder, now), UnderPassphrase{Passphrase: passphrase})
		if err != nil {
			t.Fatal(err)
		}
		if folder, err = folder.RenewServer([]Issuer{unlock(t, folder, now)}); err != nil {
			t.Fatal(err)
		}
		newest, second := mark(folder), folder.CA()
		older := with(folder, old)
		if _, err := older.Sweep(now); err != nil {
			t.Error(err)
		}
		// Nor is it written over.
		third, err := older.StartRollover(unlock(t, older, now), UnderPassphrase{Passphrase: passphrase})
		if err != nil {
			t.Fatal(err)
		}
		// What a kill left half written in what stays is swept all the same.
		left, err := writeTemporary(NewFile{older.at(caFile(2, "revoked.tsv")), privateFile, nil})
		if err == nil {
			_, swept := older.Sweep(now)
			err = errors.Join(left.Close(), swept)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(left.Name()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q is left: %v", left.Name(), err)
		}
		if third.CA().Equal(second) {
			t.Error("the second CA is taken for the third")
		}
		if folder = with(folder, newest); !folder.CA().Equal(second) {
			t.Error("the second CA is another")
		}
		if _, err := folder.Server(); err != nil {
			t.Error(err)
		}
	})
	t.Run("other keys of the gateway", func(t *testing.T) {
		folder := newFolder(t)
		old := mark(folder)
		folder, err := folder.RenewServer([]Issuer{unlock(t, folder, now)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := folder.Sweep(now); err != nil { // the set before is gone
			t.Fatal(err)
		}
		before := tree(t, folder.Path())
		if _, err := with(folder, old).Sweep(now); err == nil || !strings.Contains(err.Error(), "is gone, which authority.json names") {
			t.Errorf("error %v", err)
		}
		if diff := cmp.Diff(before, tree(t, folder.Path())); diff != "" {
			t.Error(diff)
		}
	})
}

// tree are the paths below a folder.
func tree(t *testing.T, folder string) []string {
	t.Helper()
	var paths []string
	if err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return paths
}

// TestUnfinishedIsSweptOnceItIsOld: a synchronised folder brings a second CA, and the
// gateway's keys, file by file; a command meanwhile must not remove what is there, here
// and on the machine that made it.
func TestUnfinishedIsSweptOnceItIsOld(t *testing.T) {
	folder := newFolder(t)
	var half []string
	for _, name := range []string{caFile(2, lockedKeyFile), serverFile(2, "server.key")} {
		path := folder.at(name)
		if err := os.Mkdir(filepath.Dir(path), folderMode); err != nil {
			t.Fatal(err)
		}
		if err := Create(path, privateFile, []byte("key")); err != nil {
			t.Fatal(err)
		}
		half = append(half, filepath.Dir(path))
	}
	if swept, err := folder.Sweep(time.Now()); err != nil || len(swept) > 0 {
		t.Errorf("swept %q, %v", swept, err)
	}
	for _, path := range half {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	swept, err := folder.Sweep(time.Now().Add(unfinishedAfter + time.Minute))
	if err != nil || !slices.Equal(swept, half) {
		t.Errorf("swept %q, want %q, %v", swept, half, err)
	}
	for _, path := range half {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
}

// TestUnfinishedIsSweptBelowTheNext: what a kill left of a second CA is swept, and read
// by nobody, also once a third was made; one that is whole stays.
func TestUnfinishedIsSweptBelowTheNext(t *testing.T) {
	folder := newFolder(t)
	for _, name := range []string{"ca.crt", lockedKeyFile} {
		raw, err := os.ReadFile(folder.at(caFile(1, name)))
		if err == nil {
			err = os.MkdirAll(folder.at("ca/2"), folderMode)
		}
		if err == nil {
			err = Create(folder.at(caFile(2, name)), privateFile, raw)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(folder.at("ca/3"), os.DirFS(folder.at("ca/1"))); err != nil {
		t.Fatal(err)
	}
	folder, err := folder.StartRollover(unlock(t, folder, now), UnderPassphrase{Passphrase: passphrase})
	if err != nil {
		t.Fatal(err)
	}
	standing, err := folder.Standing(now)
	if err != nil || standing.Unread(Person{Certificates: []Issued{{CA: 2}}}) != nil {
		t.Errorf("what is half a CA is read: %v, %v", standing.unread, err)
	}
	if swept, err := folder.Sweep(time.Now()); err != nil || len(swept) > 0 {
		t.Errorf("swept %q, %v", swept, err)
	}
	swept, err := folder.Sweep(time.Now().Add(unfinishedAfter + time.Minute))
	if err != nil || !slices.Equal(swept, []string{folder.at("ca/2")}) {
		t.Errorf("swept %q, %v", swept, err)
	}
	if folder, err = folder.EndRollover(unlock(t, folder, now)); err != nil {
		t.Fatal(err)
	}
	// A CA that was in force is the record that it is, whatever became of its files.
	if err := os.Remove(folder.at(caFile(1, "crl.pem"))); err != nil {
		t.Fatal(err)
	}
	if swept, err := folder.Sweep(time.Now().Add(unfinishedAfter + time.Minute)); err != nil || len(swept) > 0 {
		t.Errorf("swept %q, %v", swept, err)
	}
}
