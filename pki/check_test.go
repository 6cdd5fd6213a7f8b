// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

// TestCheckForgets is a year after somebody was issued to, and left.
func TestCheckForgets(t *testing.T) {
	keeper := authority.UnderPassphrase{Passphrase: []byte("correct horse")}
	folder, err := authority.Make(authority.Plan{Path: filepath.Join(t.TempDir(), "office"), Name: "office"}, keeper, testNow)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := folder.Unlock(authority.Keys{Passphrase: keeper.Passphrase}, testNow)
	if err != nil {
		t.Fatal(err)
	}
	wrapper, err := folder.Wrapper()
	if err != nil {
		t.Fatal(err)
	}
	client, err := issuer.Issue(authority.Person{Name: "leaver"}, wrapper, authority.ClientLife)
	if err != nil {
		t.Fatal(err)
	}
	if err := folder.Add(client); err != nil {
		t.Fatal(err)
	}
	end := testNow.Add(authority.ClientLife)
	for at, want := range map[time.Time]bool{
		end.Add(-31 * 24 * time.Hour):                false,
		end.Add(-29 * 24 * time.Hour):                true,
		end.Add(authority.EndedFor - time.Hour):      true,
		end.Add(authority.EndedFor + 24*time.Hour):   false,
		end.Add(authority.EndedFor + 2000*time.Hour): false,
	} {
		ends, err := endings(folder, 30*24*time.Hour, at)
		if err != nil {
			t.Fatal(err)
		}
		told := false
		for _, e := range ends {
			told = told || e.Kind == "client" && e.Name == "leaver"
		}
		if told != want {
			t.Errorf("on %s: told is %v, want %v: %v", day(at), told, want, ends)
		}
	}
}
