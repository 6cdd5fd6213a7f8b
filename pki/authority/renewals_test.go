// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRenewedWithoutTheOldList: the list of a CA that is being replaced is lost, and its
// key, so that only its end is left; who depends on it is to be renewed before that. The
// log tells who was revoked, also where revoked.tsv is of an older copy.
func TestRenewedWithoutTheOldList(t *testing.T) {
	folder := newFolder(t)
	ann, _ := added(t, folder, "ann"), added(t, folder, "bob")
	older, err := os.ReadFile(folder.at(caFile(1, "revoked.tsv")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Revoke([]Issuer{unlock(t, folder, now)}, KeyCompromise, revocableOf(t, folder, ann.Pair.Certificate)); err != nil {
		t.Fatal(err)
	}
	if folder, err = folder.StartRollover(unlock(t, folder, now), UnderPassphrase{Passphrase: passphrase}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(folder.at(caFile(1, "crl.pem"))), os.Remove(folder.at(caFile(1, "ca.key")))); err != nil {
		t.Fatal(err)
	}
	const out = "they were revoked on "
	check := func(name, want string) {
		t.Helper()
		p, _, err := folder.Person(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := renewable(folder, p, now); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	tsv, log := folder.at(caFile(1, "revoked.tsv")), folder.at("log.jsonl")
	whole, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	_, cut, _ := bytes.Cut(whole, []byte("\n"))
	write := func(path string, raw []byte) {
		t.Helper()
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // while it is being replaced, and once it is
		bob, _, err := folder.Person("bob")
		if err != nil {
			t.Fatal(err)
		}
		if standing, err := folder.Standing(now); err != nil || standing.Unread(bob) != nil {
			t.Errorf("what the log has told is in doubt: %v, %v", standing.Unread(bob), err)
		}
		check("bob", "")
		check("ann", out)
		write(tsv, older)
		check("bob", "")
		check("ann", out)
		if err := os.Remove(tsv); err != nil {
			t.Fatal(err)
		}
		check("bob", "")
		check("ann", out)
		unknown := "nothing can be signed in its place"
		if !folder.RollingOver() {
			unknown = "whether they were revoked is not known"
		}
		// One that is damaged may have more than the log of an older copy.
		write(tsv, []byte("# vpnami"))
		check("bob", unknown)
		write(tsv, older)
		// Nor does a log that was cut tell.
		write(log, cut)
		check("bob", unknown)
		write(log, whole)
		if folder.RollingOver() {
			if folder, err = folder.EndRollover(unlock(t, folder, now)); err != nil {
				t.Fatal(err)
			}
			if whole, err = os.ReadFile(log); err != nil {
				t.Fatal(err)
			}
			_, cut, _ = bytes.Cut(whole, []byte("\n"))
		}
	}
	// What the CA that signs has lost is mended first.
	if err := os.Remove(folder.at(caFile(2, "crl.pem"))); err != nil {
		t.Fatal(err)
	}
	check("bob", "sign above the number that was published last")
}

// TestRenewedWhoWasImported: easy-rsa's "renew" gives another certificate, and the old one
// is revoked after that, for any reason. It never was in the roster, and its revocation
// took nobody out; that of a newer one did.
func TestRenewedWhoWasImported(t *testing.T) {
	keeper := UnderPassphrase{Passphrase: passphrase}
	key, _, _, err := keeper.newKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const aDay = 24 * time.Hour
	theirs, err := newIssuer("old ca", 1, key, now.Add(-400*aDay), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(days, life int) *x509.Certificate {
		t.Helper()
		i := theirs
		i.now = now.AddDate(0, 0, days)
		pair, err := i.pair("ann", x509.ExtKeyUsageClientAuth, i.until(time.Duration(life)*aDay))
		if err != nil {
			t.Fatal(err)
		}
		return pair.Certificate
	}
	older, good, newer := signed(-300, 330), signed(-20, 50), signed(-10, 40)
	for name, c := range map[string]struct {
		revoked *x509.Certificate
		reason  Reason
		want    string
	}{
		"superseded":      {older, Superseded, ""},
		"without reason":  {older, Unspecified, ""},
		"the one after":   {newer, KeyCompromise, "which was newer than those that were taken over of theirs, was revoked on 2026-"},
		"the one after 2": {newer, Superseded, `"issue" lets them in again`},
	} {
		adopted := &Adopted{
			CA: theirs.certificate, People: []AdoptedPerson{{Name: "ann", Certificates: []*x509.Certificate{good}}}, Others: []*x509.Certificate{c.revoked},
			Revoked: []Revocation{{Serial: c.revoked.SerialNumber, NotAfter: c.revoked.NotAfter, At: now, Reason: c.reason}},
		}
		folder, err := Make(Plan{Path: filepath.Join(t.TempDir(), "office"), Name: "office", ServerName: "vpn.example.com", Adopted: adopted}, AdoptedKey{Key: key, Passphrase: passphrase}, now)
		if err != nil {
			t.Fatal(err)
		}
		p, _, err := folder.Person("ann")
		if err != nil {
			t.Fatal(err)
		}
		if err := renewable(folder, p, now); err != nil {
			t.Errorf("%s: while the other is good: %v", name, err)
		}
		err = renewable(folder, p, now.Add(60*aDay))
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "older copy")) {
			t.Errorf("%s: once it has ended: %v, want %q", name, err, c.want)
		}
	}
}
