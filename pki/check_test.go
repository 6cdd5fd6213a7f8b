// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

// TestCheckRemedies looks at an authority shortly before its CA ends: what is to
// be done about what cannot be longer than that is a roll-over, of which the
// first half cannot be done twice.
func TestCheckRemedies(t *testing.T) {
	keeper := authority.UnderPassphrase{Passphrase: []byte("correct horse")}
	folder, err := authority.Make(authority.Plan{Path: filepath.Join(t.TempDir(), "office"), Name: "office"}, keeper, testNow)
	if err != nil {
		t.Fatal(err)
	}
	late := folder.CA().NotAfter.Add(-10 * 24 * time.Hour)
	keys := authority.Keys{Passphrase: keeper.Passphrase}
	issuers, err := folder.UnlockThose(keys, late, folder.Places())
	if err != nil {
		t.Fatal(err)
	}
	if folder, err = folder.RenewServer(issuers); err != nil {
		t.Fatal(err)
	}
	if _, err := folder.SignCRL(issuers[0]); err != nil {
		t.Fatal(err)
	}
	wrapper, err := folder.Wrapper()
	if err != nil {
		t.Fatal(err)
	}
	client, err := issuers[0].Issue(authority.Person{Name: "ann"}, wrapper, authority.ClientLife)
	if err != nil {
		t.Fatal(err)
	}
	if err := folder.Add(client); err != nil {
		t.Fatal(err)
	}
	told := func() map[string]string {
		t.Helper()
		standing, err := folder.Standing(late)
		if err != nil {
			t.Fatal(err)
		}
		people, err := folder.People()
		if err != nil {
			t.Fatal(err)
		}
		ends, err := endings(folder, people, standing, 30*24*time.Hour, late)
		if err != nil {
			t.Fatal(err)
		}
		remedies := map[string]string{}
		for _, e := range ends {
			remedies[e.Kind+" "+e.Name] = e.Remedy
		}
		return remedies
	}
	const start, end = "vpnami-pki rollover start", "vpnami-pki rollover end"
	want := map[string]string{"ca office CA": start, "server office-vpn": start, "probe vpnami-probe": start, "crl office CA": start, "client ann": start}
	if diff := cmp.Diff(want, told()); diff != "" {
		t.Error(diff)
	}
	if folder, err = folder.StartRollover(issuers[0], keeper); err != nil {
		t.Fatal(err)
	}
	want = map[string]string{"ca office CA": end, "server office-vpn": end, "probe vpnami-probe": end, "crl office CA": end, "client ann": "vpnami-pki renew ann"}
	if diff := cmp.Diff(want, told()); diff != "" {
		t.Error(diff)
	}
}

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
		standing, err := folder.Standing(at)
		if err != nil {
			t.Fatal(err)
		}
		people, err := folder.People()
		if err != nil {
			t.Fatal(err)
		}
		ends, err := endings(folder, people, standing, 30*24*time.Hour, at)
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

// TestCheckTellsWhatHasNotBegun: the clock was a month ahead when it was made.
func TestCheckTellsWhatHasNotBegun(t *testing.T) {
	keeper := authority.UnderPassphrase{Passphrase: []byte("correct horse")}
	folder, err := authority.Make(authority.Plan{Path: filepath.Join(t.TempDir(), "office"), Name: "office"}, keeper, testNow)
	if err != nil {
		t.Fatal(err)
	}
	wrapper, err := folder.Wrapper()
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]time.Time{"ann": testNow.AddDate(0, 1, 0), "bob": testNow} {
		issuer, err := folder.Unlock(authority.Keys{Passphrase: keeper.Passphrase}, at)
		if err != nil {
			t.Fatal(err)
		}
		client, err := issuer.Issue(authority.Person{Name: name}, wrapper, authority.ClientLife)
		if err == nil {
			err = folder.Add(client)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	people, err := folder.People()
	if err != nil {
		t.Fatal(err)
	}
	standing, err := folder.Standing(testNow)
	if err != nil {
		t.Fatal(err)
	}
	ends, err := endings(folder, people, standing, 30*24*time.Hour, testNow)
	if err != nil || len(ends) != 1 || ends[0].Name != "ann" || ends[0].NotBefore == nil || ends[0].Remedy != "vpnami-pki renew ann" {
		t.Errorf("told %+v, %v", ends, err)
	}
	if names := whose(standing, people, early); !slices.Equal(names, []string{"ann"}) {
		t.Errorf("early: %q", names)
	}
}

// TestForemostIsTheOneInUse: an older certificate that ends later must not hide
// that the profile in use ends.
func TestForemostIsTheOneInUse(t *testing.T) {
	long := authority.Issued{CA: 1, Serial: "1", Profile: authority.Unwrapped, NotAfter: testNow.AddDate(2, 0, 0)}
	short := authority.Issued{CA: 1, Serial: "2", NotAfter: testNow.AddDate(0, 0, 20)}
	keeper := authority.UnderPassphrase{Passphrase: []byte("correct horse")}
	folder, err := authority.Make(authority.Plan{Path: filepath.Join(t.TempDir(), "office"), Name: "office"}, keeper, testNow)
	if err != nil {
		t.Fatal(err)
	}
	standing, err := folder.Standing(testNow)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := foremost(standing, authority.Person{Certificates: []authority.Issued{long, short}}); !ok || got.Serial != "2" {
		t.Errorf("got %+v", got)
	}
}
