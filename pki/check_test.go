// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

// madeOffice is an authority, and what keeps its key.
func madeOffice(t *testing.T) (authority.Folder, authority.UnderPassphrase) {
	t.Helper()
	keeper := authority.UnderPassphrase{Passphrase: []byte("correct horse")}
	folder, err := authority.Make(authority.Plan{Path: filepath.Join(t.TempDir(), "office"), Name: "office"}, keeper, testNow)
	if err != nil {
		t.Fatal(err)
	}
	return folder, keeper
}

// checked is what "check" tells at a moment, by kind and name, and what it warns of.
func checked(t *testing.T, folder authority.Folder, at time.Time) (told map[string]ending, warned string) {
	t.Helper()
	var out bytes.Buffer
	d := &desk{err: &out, now: func() time.Time { return at }}
	ends, err := d.check(folder, 30*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	told = map[string]ending{}
	for _, e := range ends {
		told[e.Kind+" "+e.Name] = e
	}
	return told, out.String()
}

func remediesAt(t *testing.T, folder authority.Folder, at time.Time) map[string]string {
	t.Helper()
	told, _ := checked(t, folder, at)
	remedies := map[string]string{}
	for what, e := range told {
		remedies[what] = e.Remedy
	}
	return remedies
}

// TestCheckRemedies looks at an authority shortly before its CA ends: what is to
// be done about what cannot be longer than that is a roll-over, of which the
// first half cannot be done twice.
func TestCheckRemedies(t *testing.T) {
	folder, keeper := madeOffice(t)
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
	const start, end = "vpnami-pki rollover start", "vpnami-pki rollover end"
	want := map[string]string{"ca office CA": start, "server office-vpn": start, "probe vpnami-probe": start, "crl office CA": start, "client ann": start}
	if diff := cmp.Diff(want, remediesAt(t, folder, late)); diff != "" {
		t.Error(diff)
	}
	if folder, err = folder.StartRollover(issuers[0], keeper); err != nil {
		t.Fatal(err)
	}
	want = map[string]string{"ca office CA": end, "server office-vpn": end, "probe vpnami-probe": end, "crl office CA": end, "client ann": "vpnami-pki renew ann"}
	if diff := cmp.Diff(want, remediesAt(t, folder, late)); diff != "" {
		t.Error(diff)
	}
}

// TestCheckForgets is a year after somebody was issued to, and left.
func TestCheckForgets(t *testing.T) {
	folder, keeper := madeOffice(t)
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
		ends, _ := checked(t, folder, at)
		if _, told := ends["client leaver"]; told != want {
			t.Errorf("on %s: told is %v, want %v: %v", day(at), told, want, ends)
		}
	}
}

// TestCheckTellsWhatHasNotBegun: the clock was a month ahead when it was made.
func TestCheckTellsWhatHasNotBegun(t *testing.T) {
	folder, keeper := madeOffice(t)
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
	told, _ := checked(t, folder, testNow)
	if e := told["client ann"]; len(told) != 1 || e.NotBefore == nil || e.Remedy != "vpnami-pki renew ann" {
		t.Errorf("told %+v", told)
	}
	people, standing, _, err := everybody(folder, testNow)
	if err != nil {
		t.Fatal(err)
	}
	if names := whose(standing, people, early); !slices.Equal(names, []string{"ann"}) {
		t.Errorf("early: %q", names)
	}
}

// TestCheckTellsOfAListThatHasNotBegun: the same of the signed list, which "crl" signs
// anew, or nobody, where its CA is being replaced and its key is lost.
func TestCheckTellsOfAListThatHasNotBegun(t *testing.T) {
	folder, keeper := madeOffice(t)
	keys := authority.Keys{Passphrase: keeper.Passphrase}
	sign := func(at time.Time) {
		t.Helper()
		issuers, err := folder.UnlockThose(keys, at, folder.Places())
		if err != nil {
			t.Fatal(err)
		}
		for _, issuer := range issuers {
			if _, err := folder.SignCRL(issuer); err != nil {
				t.Fatal(err)
			}
		}
	}
	ahead := testNow.AddDate(0, 1, 0)
	sign(ahead)
	told, _ := checked(t, folder, testNow)
	if e := told["crl office CA"]; len(told) != 1 || e.NotBefore == nil || e.NotBefore.Before(ahead.AddDate(0, 0, -2)) || e.Remedy != "vpnami-pki crl" {
		t.Errorf("told %+v", told)
	}
	sign(testNow)
	if told, _ := checked(t, folder, testNow); len(told) != 0 {
		t.Errorf("signed anew, told %+v", told)
	}
	issuer, err := folder.Unlock(keys, testNow)
	if err != nil {
		t.Fatal(err)
	}
	if folder, err = folder.StartRollover(issuer, keeper); err != nil {
		t.Fatal(err)
	}
	sign(ahead)
	if err := os.Remove(filepath.Join(folder.Path(), "ca", "1", "ca.key")); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"crl office CA": "vpnami-pki rollover end", "crl office CA 2": "vpnami-pki crl"}
	if diff := cmp.Diff(want, remediesAt(t, folder, testNow)); diff != "" {
		t.Error(diff)
	}
}

// TestCheckRemediesWithoutTheOldKey: what only a CA that is being replaced could sign, and
// whose key is lost, is mended by taking it out of force.
func TestCheckRemediesWithoutTheOldKey(t *testing.T) {
	folder, keeper := madeOffice(t)
	issuer, err := folder.Unlock(authority.Keys{Passphrase: keeper.Passphrase}, testNow)
	if err != nil {
		t.Fatal(err)
	}
	if folder, err = folder.StartRollover(issuer, keeper); err != nil {
		t.Fatal(err)
	}
	const crl, server, end = "vpnami-pki crl", "vpnami-pki renew-server", "vpnami-pki rollover end"
	late, later := testNow.AddDate(0, 11, 20), testNow.Add(authority.ServerLife-10*24*time.Hour)
	want := map[time.Time]map[string]string{
		late:  {"crl office CA": crl, "crl office CA 2": crl},
		later: {"crl office CA": crl, "crl office CA 2": crl, "server office-vpn": server, "probe vpnami-probe": server},
	}
	for at, want := range want {
		if diff := cmp.Diff(want, remediesAt(t, folder, at)); diff != "" {
			t.Errorf("on %s, with the key: %s", day(at), diff)
		}
	}
	if err := os.Remove(filepath.Join(folder.Path(), "ca", "1", "ca.key")); err != nil {
		t.Fatal(err)
	}
	for at, want := range want {
		for what := range want {
			if what != "crl office CA 2" {
				want[what] = end
			}
		}
		if diff := cmp.Diff(want, remediesAt(t, folder, at)); diff != "" {
			t.Errorf("on %s: %s", day(at), diff)
		}
	}
}

// TestCheckBesideARollover has another command change what is in force once "check" has
// opened the authority: what it has read by then is no damage.
func TestCheckBesideARollover(t *testing.T) {
	folder, keeper := madeOffice(t)
	unlocked := func() authority.Issuer {
		t.Helper()
		issuer, err := folder.Unlock(authority.Keys{Passphrase: keeper.Passphrase}, testNow)
		if err != nil {
			t.Fatal(err)
		}
		return issuer
	}
	opened := folder
	quiet := func(after string) {
		t.Helper()
		if told, warned := checked(t, opened, testNow); len(told) != 0 || warned != "" {
			t.Errorf("after %s: told %v, warned %q", after, told, warned)
		}
	}
	var err error
	if folder, err = folder.StartRollover(unlocked(), keeper); err != nil {
		t.Fatal(err)
	}
	wrapper, err := folder.Wrapper()
	if err != nil {
		t.Fatal(err)
	}
	client, err := unlocked().Issue(authority.Person{Name: "bob"}, wrapper, authority.ClientLife)
	if err == nil {
		err = folder.Add(client)
	}
	if err != nil {
		t.Fatal(err)
	}
	quiet("the second CA issued to somebody")
	opened = folder
	if folder, err = folder.EndRollover(unlocked()); err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Sweep(testNow); err != nil {
		t.Fatal(err)
	}
	quiet("the gateway's keys of before were removed")
}

// TestForemostIsTheOneInUse: an older certificate that ends later must not hide
// that the profile in use ends.
func TestForemostIsTheOneInUse(t *testing.T) {
	long := authority.Issued{CA: 1, Serial: "1", Profile: authority.Unwrapped, NotAfter: testNow.AddDate(2, 0, 0)}
	short := authority.Issued{CA: 1, Serial: "2", NotAfter: testNow.AddDate(0, 0, 20)}
	folder, _ := madeOffice(t)
	standing, err := folder.Standing(testNow)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := foremost(standing, authority.Person{Certificates: []authority.Issued{long, short}}); !ok || got.Serial != "2" {
		t.Errorf("got %+v", got)
	}
}
