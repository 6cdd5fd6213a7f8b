// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestListOfAnotherDesk puts the files of a CA there that another copy of the folder has
// signed since, with a number that is as high, or higher: whom this one revoked does not
// come in again.
func TestListOfAnotherDesk(t *testing.T) {
	for name, more := range map[string]int{"as high": 0, "higher": 2} {
		t.Run(name, func(t *testing.T) {
			folder := newFolder(t)
			ann, bob := added(t, folder, "ann"), added(t, folder, "bob")
			path := filepath.Join(t.TempDir(), "office")
			if err := os.CopyFS(path, os.DirFS(folder.Path())); err != nil {
				t.Fatal(err)
			}
			other, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := folder.Revoke([]Issuer{unlock(t, folder, now)}, KeyCompromise, revocableOf(t, folder, ann.Pair.Certificate)); err != nil {
				t.Fatal(err)
			}
			if err := folder.CheckListed(); err != nil {
				t.Errorf("its own list: %v", err)
			}
			if err := other.Revoke([]Issuer{unlock(t, other, now)}, Unspecified, revocableOf(t, other, bob.Pair.Certificate)); err != nil {
				t.Fatal(err)
			}
			for range more {
				if _, err := other.SignCRL(unlock(t, other, now)); err != nil {
					t.Fatal(err)
				}
			}
			for _, file := range []string{"crl.pem", "revoked.tsv"} {
				raw, err := os.ReadFile(filepath.Join(path, "ca/1", file))
				if err == nil {
					err = os.WriteFile(filepath.Join(folder.Path(), "ca/1", file), raw, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if _, err := folder.CRLs(now); err == nil || !strings.Contains(err.Error(), "lacks what log.jsonl has") {
				t.Errorf("it is not noticed: %v", err)
			}
			number, err := folder.SignCRL(unlock(t, folder, now))
			if err != nil || number.Int64() != int64(3+more) {
				t.Fatalf("number %v, %v", number, err)
			}
			lists, err := folder.CRLs(now)
			if err != nil || len(lists[0].RevokedCertificateEntries) != 2 {
				t.Errorf("%+v, %v", lists, err)
			}
		})
	}
}

// TestLogThatBeganAnewAndAnotherDesk: what such a log lacks stands in the list that was
// there when it began, and not in that of another copy.
func TestLogThatBeganAnewAndAnotherDesk(t *testing.T) {
	list := func(number int64, hash string) loggedCRL { return loggedCRL{big.NewInt(number), hash} }
	since := logged{lists: []loggedCRL{list(6, "a"), list(7, "b"), list(8, "")}}
	for want, lists := range map[bool][]loggedCRL{
		true:  {list(5, "x"), list(6, "a"), list(7, "b"), list(8, "x")},
		false: {list(4, "x"), list(6, "x"), list(7, "x"), list(9, "x")},
	} {
		for _, l := range lists {
			if got := since.goesBackTo(l); got != want {
				t.Errorf("to number %s, %q: %v", l.number, l.hash, got)
			}
		}
	}
	if (logged{}).goesBackTo(list(0, "")) {
		t.Error("a log that tells of none goes back")
	}
}
